package clientevents

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/chat-service/internal/usecases"
	"github.com/starling-chat/starling/platform/bus/bustest"
	"github.com/starling-chat/starling/platform/eventserver"
	"github.com/starling-chat/starling/proto/fault/faulttest"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// TestRepeats: a gateway's repeat of an event that does harm twice is taken with a key only; of others without one as well, and a key that is
// none is refused.
func TestRepeats(t *testing.T) {
	for _, test := range []struct {
		args          string
		attempt       uint32
		careful, free string // what the two kinds of event say
	}{
		{`["r"]`, 0, "ok ", "ok "},
		{`["r"]`, 1, "silence", "ok "},
		{`[{"roomId":"r"}]`, 2, "silence", "ok "},
		{`[{"roomId":"r","key":"k"}]`, 0, "ok k", "ok k"},
		{`[{"roomId":"r","key":"k"}]`, 3, "ok k", "ok k"},
		{`[{"roomId":"r","key":""}]`, 0, "invalid", "invalid"},
		{`[{"roomId":"r","key":7}]`, 1, "invalid", "invalid"},
	} {
		r := &eventserver.Request{Args: []byte(test.args), Attempt: test.attempt, User: eventserver.User{ID: "ann"}, Namespace: "/"}
		said := func(who func(*eventserver.Request) (usecases.Caller, error)) string {
			c, err := who(r)
			switch {
			case errors.Is(err, eventserver.ErrNotRepeatable):
				return "silence"
			case err == nil:
				return "ok " + c.RequestKey
			}
			return faulttest.Word(err)
		}
		if careful, free := said(repeatedByKey), said(keyed); careful != test.careful || free != test.free {
			t.Errorf("%s, attempt %d = %q and %q, want %q and %q", test.args, test.attempt, careful, free, test.careful, test.free)
		}
	}
}

// TestMistakesAreLogged has mistakes of the service reach the client as an id, and the log under the same id.
func TestMistakesAreLogged(t *testing.T) {
	var log faulttest.Log
	broker := bustest.Server(t)
	gateway := bustest.Connect(t, broker)
	mistaken := &usecases.Service{} // everything is missing
	server, err := eventserver.New(bustest.Connect(t, broker), eventserver.Service{Name: "chat-service", Routes: Routes(mistaken)},
		eventserver.Limits{Stall: time.Hour}, nil, log.Logger())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	for _, e := range []*eventv1.ClientEvent{
		{Event: "room:list"}, {Event: "message:send", Args: []byte(`[{"roomId":"r","content":"c"}]`)},
	} {
		e.SocketId, e.Namespace, e.Identity = "s", "/", &eventv1.Identity{UserId: "ann"}
		to, err := subject.ClientEvent(e.GetNamespace(), e.GetEvent())
		if err != nil {
			t.Fatal(err)
		}
		raw, err := proto.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		var answer eventv1.ClientReply
		for deadline := time.Now().Add(30 * time.Second); ; {
			m, err := gateway.Request(to, raw, 30*time.Second)
			if err == nil {
				err = proto.Unmarshal(m.Data, &answer)
			}
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s has no answer: %v", e.GetEvent(), err)
			}
		}
		if answer.GetFault().GetCode() != "internal" {
			t.Errorf("%s = %v, want internal", e.GetEvent(), &answer)
		}
		log.WantID(t, answer.GetFault().GetMessage())
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
}
