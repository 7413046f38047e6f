package announcer

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/auth-service/internal/auth"
	"github.com/starling-chat/starling/platform/bus/bustest"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

func TestAnnounceAndCount(t *testing.T) {
	server := bustest.Server(t)
	gateway := bustest.Connect(t, server)
	a := New(bustest.Connect(t, server), slog.New(slog.DiscardHandler))
	revocation := auth.Revocation{ID: 7, UserID: "ann", LoginID: "l", RevokedAt: time.UnixMilli(1_900_000_000_123).UTC()}

	begin := time.Now()
	if got, err := a.AnnounceAndCount(t.Context(), revocation); got != 0 || err != nil || time.Since(begin) > replyTotal {
		t.Errorf("AnnounceAndCount() without gateways = %d, %v after %v, want 0 at once", got, err, time.Since(begin))
	}

	// One gateway never stops answering; nobody waits for it longer than replyTotal.
	stop := make(chan struct{})
	defer close(stop)
	if _, err := gateway.Subscribe(subject.Revoked, func(msg *nats.Msg) {
		go func() {
			raw, _ := proto.Marshal(&eventv1.RevocationReply{GatewayId: "g", Closed: 2})
			for {
				_ = msg.Respond(raw)
				select {
				case <-stop:
					return
				case <-time.After(50 * time.Millisecond):
				}
			}
		}()
	}); err != nil {
		t.Fatal(err)
	}
	if err := gateway.Flush(); err != nil {
		t.Fatal(err)
	}
	begin = time.Now()
	got, err := a.AnnounceAndCount(t.Context(), revocation)
	if took := time.Since(begin); got != 2 || err != nil || took < replyTotal || took > 2*replyTotal {
		t.Errorf("AnnounceAndCount() = %d, %v after %v, want 2 after %v", got, err, took, replyTotal)
	}
}

func TestRunForgets(t *testing.T) {
	server := bustest.Server(t)
	nc := bustest.Connect(t, server)
	a := New(nc, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	forgotten := make(chan auth.Revocation, 100)
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx, func(r auth.Revocation) { forgotten <- r }) }()
	if err := nc.Publish(subject.Revoked, []byte("\xffgarbage")); err != nil {
		t.Fatal(err)
	}
	want := auth.Revocation{ID: 7, UserID: "ann", LoginID: "l", RevokedAt: time.UnixMilli(1_900_000_000_123).UTC()}
	other := New(bustest.Connect(t, server), slog.New(slog.DiscardHandler))
	for deadline := time.After(30 * time.Second); ; {
		if err := other.Announce(t.Context(), want); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-forgotten:
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("forgotten (-want +got):\n%s", diff)
			}
		case <-time.After(20 * time.Millisecond): // not subscribed yet
			continue
		case <-deadline:
			t.Fatal("nothing was forgotten in 3s")
		}
		break
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run() = %v, want nil", err)
	}
	nc.Close()
	if err := New(nc, slog.New(slog.DiscardHandler)).Announce(t.Context(), want); err == nil {
		t.Error("Announce() without NATS = nil, want an error")
	}
}
