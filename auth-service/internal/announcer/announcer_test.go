package announcer

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
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
	a := New(bustest.Connect(t, server), nil, slog.New(slog.DiscardHandler))
	revocation := auth.Revocation{ID: 7, UserID: "ann", LoginID: "l", RevokedAt: time.UnixMilli(1_900_000_000_123).UTC(), Generation: 5}

	if got, err := a.AnnounceAndCount(t.Context(), revocation); got != 0 || err != nil {
		t.Errorf("AnnounceAndCount() without gateways = %d, %v, want 0", got, err)
	}

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
	got := 0
	for end := time.Now().Add(30 * time.Second); got == 0 && time.Now().Before(end); { // again where the first answer comes too late
		var err error
		if got, err = a.AnnounceAndCount(t.Context(), revocation); err != nil {
			t.Fatal(err)
		}
	}
	if got != 2 { // a repeated answer counts once
		t.Errorf("AnnounceAndCount() = %d, want 2", got)
	}
}

// TestCollect: nobody waits for long after the last answer, nor for a gateway that never stops answering.
func TestCollect(t *testing.T) {
	raw, err := proto.Marshal(&eventv1.RevocationReply{GatewayId: "g", Closed: 2})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		answers int
		pause   time.Duration // before each
		took    time.Duration
		want    int
	}{
		"no gateway":       {0, 0, replyQuiet, 0},
		"one answer":       {1, replyQuiet / 2, replyQuiet/2 + replyQuiet, 2},
		"answers for ever": {1000, replyQuiet / 3, replyTotal, 2},
	} {
		synctest.Test(t, func(t *testing.T) {
			replies := make(chan *nats.Msg)
			ctx, stop := context.WithCancel(t.Context())
			go func() {
				for range tc.answers {
					time.Sleep(tc.pause)
					select {
					case replies <- &nats.Msg{Data: raw}:
					case <-ctx.Done():
						return
					}
				}
			}()
			begin := time.Now()
			got := (&Announcer{}).collect(ctx, replies)
			if took := time.Since(begin); got != tc.want || took != tc.took {
				t.Errorf("%s: collect() = %d after %v, want %d after %v", name, got, took, tc.want, tc.took)
			}
			stop()
		})
	}
}

func TestRunForgets(t *testing.T) {
	server := bustest.Server(t)
	nc := bustest.Connect(t, server)
	a := New(nc, nil, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	forgotten := make(chan auth.Revocation, 100)
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx, func(r auth.Revocation) { forgotten <- r }) }()
	if err := nc.Publish(subject.Revoked, []byte("\xffgarbage")); err != nil {
		t.Fatal(err)
	}
	want := auth.Revocation{ID: 7, UserID: "ann", LoginID: "l", RevokedAt: time.UnixMilli(1_900_000_000_123).UTC(), Generation: 5}
	other := New(bustest.Connect(t, server), nil, slog.New(slog.DiscardHandler))
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
			t.Fatal("nothing was forgotten")
		}
		break
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run() = %v, want nil", err)
	}
	nc.Close()
	if err := New(nc, nil, slog.New(slog.DiscardHandler)).Announce(t.Context(), want); err == nil {
		t.Error("Announce() without NATS = nil, want an error")
	}
}
