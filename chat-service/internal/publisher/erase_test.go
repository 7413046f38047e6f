package publisher

import (
	"bytes"
	"testing"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/proto/subject"
)

// streamHas counts the messages of the stream with a string in them.
func (r *rig) streamHas(text string) (n int) {
	r.t.Helper()
	stream, err := r.js.Stream(r.t.Context(), subject.RoomsStream)
	if err != nil {
		r.t.Fatal(err)
	}
	info, err := stream.Info(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	for seq := info.State.FirstSeq; seq <= info.State.LastSeq; seq++ {
		msg, err := stream.GetMsg(r.t.Context(), seq)
		if err == nil && bytes.Contains(msg.Data, []byte(text)) {
			n++
		}
	}
	return n
}

// TestErase: the stream forgets what a deleted message said, and knows the other rooms as before.
func TestErase(t *testing.T) {
	r := newRig(t)
	p, _ := r.run(false)
	eventually(t, "the stream", func() bool { return !p.Degraded() })
	do := func(commands ...rules.Command) []rules.Outcome {
		outcomes, out, err := r.store.Prepare(commands).Commit(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		p.Committed(out)
		return outcomes
	}
	in := func(room chat.RoomID) rules.Origin { return rules.Origin{Room: room, User: "ann"} }
	say := func(room chat.RoomID) chat.MessageID {
		return do(rules.Join{Origin: in(room), Create: access.Public}, rules.Send{Origin: in(room), Content: "secret", Type: "text"})[1].ID
	}
	id := say("r")
	do(rules.Send{Origin: in("r"), Content: "answer", Type: "text", Extras: &chat.Extras{ReplyTo: &chat.Reply{ID: id}}})
	say("other")
	eventually(t, "three events in the stream", func() bool { return r.streamHas("secret") == 3 })
	do(rules.DeleteMessage{Origin: in("r"), Message: id})
	p.Erase()
	eventually(t, "one event in the stream", func() bool { return r.streamHas("secret") == 1 })
	if n := r.streamHas(`"roomId":"other"`); n == 0 {
		t.Error("the stream has forgotten another room")
	}
}

// TestEraseWhenTheStreamComesBack: what could not be told to the stream is told to it later.
func TestEraseWhenTheStreamComesBack(t *testing.T) {
	r := newRig(t)
	_, out, err := r.store.Prepare([]rules.Command{
		rules.Join{Origin: rules.Origin{Room: "r", User: "ann"}, Create: access.Public},
	}).Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	outcomes, sent, err := r.store.Prepare([]rules.Command{rules.Send{Origin: rules.Origin{Room: "r", User: "ann"}, Content: "secret", Type: "text"}}).Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p, stop := r.run(false)
	eventually(t, "the stream", func() bool { return !p.Degraded() })
	p.Committed(out)
	p.Committed(sent)
	eventually(t, "the message in the stream", func() bool { return r.streamHas("secret") == 1 })
	stop()
	if _, _, err := r.store.Prepare([]rules.Command{rules.DeleteMessage{Origin: rules.Origin{Room: "r", User: "ann"}, Message: outcomes[0].ID}}).Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.run(false)
	eventually(t, "nothing of it in the stream", func() bool { return r.streamHas("secret") == 0 })
}
