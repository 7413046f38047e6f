package roomfeed

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/platform/bus/bustest"
	"github.com/starling-chat/starling/proto/subject"
)

// heard tells whether anybody has subscribed to a room.
func (w *world) heard(t *testing.T, room string) bool {
	t.Helper()
	return bustest.HasSubscriber(t, w.service, subject.Room(room))
}

func (w *world) wantHeard(t *testing.T, room string, want bool) {
	t.Helper()
	sessiontest.Eventually(t, func() bool { return w.heard(t, room) == want }, func() string {
		return "subscribed to room " + room + ": " + map[bool]string{true: "no, want yes", false: "yes, want no"}[want]
	})
}

func (w *world) acquire(t *testing.T, room string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := w.feed.Acquire(ctx, room); err != nil {
		t.Fatalf("Acquire(%s) = %v", room, err)
	}
}

// TestSubscription: a room is heard from the first Acquire until Linger after the last Release.
func TestSubscription(t *testing.T) {
	cfg := patient() // which lingers for longer than the test takes
	w := newWorld(t, cfg)
	lingered := func() time.Time { return time.Now().Add(cfg.Linger) }
	w.acquire(t, "r")
	if !w.heard(t, "r") {
		t.Error("Acquire returns before the room is heard")
	}
	w.acquire(t, "r")
	w.feed.Release("r")
	w.feed.subscriptions.sweep(lingered())
	w.wantHeard(t, "r", true)
	w.feed.Release("r")
	w.feed.Release("unknown") // nobody minds
	w.feed.subscriptions.sweep(time.Now())
	if !w.heard(t, "r") {
		t.Error("the room is not heard any more right after its last release, want it to linger")
	}
	w.feed.subscriptions.sweep(lingered())
	w.wantHeard(t, "r", false)
	w.acquire(t, "r")
	w.wantHeard(t, "r", true)
}

// TestSubscriptionsEndByThemselves: the feed looks for rooms that nobody needs any more.
func TestSubscriptionsEndByThemselves(t *testing.T) {
	cfg := patient()
	cfg.Linger = time.Millisecond
	w := newWorld(t, cfg)
	w.acquire(t, "r")
	w.feed.Release("r")
	w.wantHeard(t, "r", false)
}

// TestDiscard: a room that was refused does not linger, unless somebody else needs it.
func TestDiscard(t *testing.T) {
	w := newWorld(t, patient())
	w.acquire(t, "r")
	w.acquire(t, "other")
	w.acquire(t, "other")
	w.feed.Discard("r")
	w.feed.Discard("other")
	w.feed.subscriptions.sweep(time.Now())
	w.wantHeard(t, "r", false)
	if !w.heard(t, "other") {
		t.Error("a room that somebody needs is not heard any more")
	}
}

// TestAcquireGivenUp: who gives up while the server is asked leaves no reference behind.
func TestAcquireGivenUp(t *testing.T) {
	w := newWorld(t, patient())
	room := &subscription{answered: make(chan struct{})} // of an Acquire under way
	w.feed.subscriptions.rooms["r"] = room
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.feed.Acquire(ctx, "r"); !errors.Is(err, context.Canceled) {
		t.Errorf("Acquire = %v, want %v", err, context.Canceled)
	}
	if room.refs != 0 {
		t.Errorf("%d references are left, want none", room.refs)
	}
}

// TestAcquireWithoutBus: a room that cannot be subscribed is an error, and the next one tries again.
func TestAcquireWithoutBus(t *testing.T) {
	w := newWorld(t, patient())
	w.nc.Close()
	for range 2 {
		if err := w.feed.Acquire(t.Context(), "r"); !errors.Is(err, nats.ErrConnectionClosed) {
			t.Errorf("Acquire = %v, want %v", err, nats.ErrConnectionClosed)
		}
	}
	if n := len(w.feed.subscriptions.rooms); n != 0 {
		t.Errorf("%d rooms are kept, want none", n)
	}
}
