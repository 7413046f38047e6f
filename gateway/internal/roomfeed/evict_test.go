package roomfeed

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/gateway/internal/transport"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// evict asks the gateway to confirm that u is out of a room, and waits for the answer.
func (w *world) evict(t *testing.T, room string, seq uint64) {
	t.Helper()
	raw, err := proto.Marshal(&eventv1.Eviction{RoomId: room, UserIds: []string{"u"}, Seq: seq})
	if err != nil {
		t.Fatal(err)
	}
	sessiontest.Eventually(t, func() bool { // the feed may not listen yet
		msg, err := w.service.Request(subject.Evict, raw, 30*time.Second)
		var reply eventv1.EvictionReply
		return err == nil && proto.Unmarshal(msg.Data, &reply) == nil && reply.GetGatewayId() == "g"
	}, func() string { return "the eviction was not confirmed" })
}

// TestEvictionIsConfirmedWhenTheSocketIsOut: also when the event that says so was lost, or is nowhere.
func TestEvictionIsConfirmedWhenTheSocketIsOut(t *testing.T) {
	cfg := patient()
	cfg.Gateway = "g"
	w := newWorld(t, cfg)
	lost, nowhere, rejoined := w.member(t, "lost"), w.member(t, "nowhere"), w.member(t, "rejoined")
	w.evict(t, "of others", 1)
	select {
	case got := <-w.out: // and before it was confirmed
		if got != "of others u" {
			t.Errorf("the listener hears of %q, want the room and the user", got)
		}
	default:
		t.Error("an eviction is confirmed that the listener has not heard of")
	}

	left := w.chat.commit("lost") // never published
	w.chat.mu.Lock()
	left.EvictUserId = "u"
	w.chat.mu.Unlock()
	w.evict(t, "lost", 1)
	if n := len(w.hub.Members("lost")); n != 0 {
		t.Errorf("%d sockets in the room after the eviction was confirmed, want 0", n)
	}
	sees(t, lost, 1) // what took it out

	w.evict(t, "nowhere", 1) // chat-service does not give the event
	if n := len(w.hub.Members("nowhere")); n != 0 {
		t.Errorf("%d sockets in the room after the eviction was confirmed, want 0", n)
	}
	w.publish(t, w.chat.commit("nowhere"), 0)

	for len(w.out) > 0 {
		<-w.out
	}
	w.evict(t, "rejoined", 0) // it joined behind the eviction
	if len(w.out) > 0 {
		t.Error("the listener hears that somebody is out who was muted")
	}
	w.publish(t, w.chat.commit("rejoined"), 0)
	sees(t, rejoined, 1)
	sees(t, nowhere, 0)
}

// TestEvictionBarsWhoJoins: the eviction is confirmed, and then a join that was under way comes with what was read before it.
func TestEvictionBarsWhoJoins(t *testing.T) {
	cfg := patient()
	cfg.Gateway = "g"
	w := newWorld(t, cfg)
	s, c := w.sockets.New(t, "/", "u")
	w.hub.BeginJoin(s, "r", 0)
	w.acquire(t, "r")
	w.evict(t, "r", 1)
	var flushes transport.FlushSet
	if ok, _ := w.hub.CompleteJoin(s, "r", 0, []*transport.Message{transport.TextMessage("history")}, &flushes); ok {
		t.Error("CompleteJoin = true after the eviction was confirmed, want false")
	}
	flushes.Flush()
	sees(t, c, 0)
}

// TestNothingUnstoredOvertakes: what is not stored waits for nobody, and would reach a user whom an event that was missed took out.
func TestNothingUnstoredOvertakes(t *testing.T) {
	w := newWorld(t, patient())
	a := w.member(t, "r")
	unstored := func(arg string) {
		w.publish(t, &eventv1.RoomEvent{RoomId: "r", Emit: &eventv1.Emit{Event: "unstored", Args: []byte("[" + arg + "]")}}, 0)
	}
	w.feed.Lost()
	unstored("1")
	w.publish(t, w.chat.commit("r"), 0)
	sees(t, a, 1) // and not what came before it
	w.chat.commit("r")
	w.feed.Resync()
	sessiontest.Eventually(t, func() bool { return !w.feed.blind.Load() }, func() string { return "the feed is blind for ever" })
	sees(t, a, 2)
	unstored("2")
	sessiontest.Eventually(t, func() bool {
		p := a.Packets()
		return len(p) == 3 && p[2] == `42["unstored",2]`
	}, func() string { return "what is not stored does not arrive any more" })
}
