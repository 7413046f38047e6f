package evictor

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/platform/bus/bustest"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// TestEvictAwaitsThoseWhoLive: every gateway with a lease has let go before Evict returns, and one whose lease ended is not waited for.
func TestEvictAwaitsThoseWhoLive(t *testing.T) {
	broker := bustest.Server(t)
	gateways := bustest.Connect(t, broker)
	e := New(bustest.Connect(t, broker), slog.New(slog.DiscardHandler))
	e.started = time.Now().Add(-time.Hour) // all leases have been heard
	e.heard(&eventv1.PresenceLease{GatewayId: "a"})
	e.heard(&eventv1.PresenceLease{GatewayId: "b"})
	e.heard(&eventv1.PresenceLease{GatewayId: "gone"})
	e.heard(&eventv1.PresenceLease{GatewayId: "gone", Ending: true})

	var out atomic.Int32
	answer := make(chan *nats.Msg, 8)
	if _, err := gateways.ChanSubscribe(subject.Evict, answer); err != nil {
		t.Fatal(err)
	}
	if err := gateways.Flush(); err != nil {
		t.Fatal(err)
	}
	go func() {
		for msg := range answer {
			for _, id := range []string{"a", "a", "b"} { // a repeats itself
				out.Add(1)
				raw, _ := proto.Marshal(&eventv1.EvictionReply{GatewayId: id})
				_ = msg.Respond(raw)
			}
		}
	}()
	forgotten := make(chan []chat.UserID, 8)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = e.Run(ctx, func(_ chat.RoomID, users []chat.UserID) { forgotten <- users })
	}()
	for told := false; !told; { // Run may not listen yet
		out.Store(0)
		e.Evict(t.Context(), "r", []chat.UserID{"ann", "bob"}, 7)
		if n := out.Load(); n != 3 {
			t.Fatalf("Evict returned after %d of 3 answers", n)
		}
		select {
		case users := <-forgotten:
			if told = slices.Equal(users, []chat.UserID{"ann", "bob"}); !told {
				t.Fatalf("forgotten %v, want ann and bob", users)
			}
		case <-time.After(50 * time.Millisecond):
		}
	}
	cancel()
	<-done
}
