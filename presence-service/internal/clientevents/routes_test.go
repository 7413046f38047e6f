package clientevents

import (
	"context"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/platform/bus/bustest"
	"github.com/starling-chat/starling/platform/eventserver"
	"github.com/starling-chat/starling/presence-service/internal/presence"
	"github.com/starling-chat/starling/proto/fault/faulttest"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// TestPanicIsAnAnswer has a mistake in the query neither end the process nor leave the client without an answer.
func TestPanicIsAnAnswer(t *testing.T) {
	var log faulttest.Log
	broker := bustest.Server(t)
	gateway := bustest.Connect(t, broker)
	mistaken := &presence.Query{} // without a registry
	server, err := eventserver.New(bustest.Connect(t, broker), eventserver.Service{Name: "presence-service", Routes: Routes(mistaken)},
		Limits(time.Hour), nil, log.Logger())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	to, err := subject.ClientEvent("/chat", "presence:get")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := proto.Marshal(&eventv1.ClientEvent{
		SocketId: "s", Namespace: "/chat", Event: "presence:get", Args: []byte(`[{"userIds":["bob"]}]`),
		Identity: &eventv1.Identity{UserId: "ann"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second one finds the worker alive
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
				t.Fatalf("presence:get has no answer: %v", err)
			}
		}
		if answer.GetFault().GetCode() != "internal" {
			t.Errorf("presence:get = %v, want internal", &answer)
		}
		log.WantID(t, answer.GetFault().GetMessage())
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
}
