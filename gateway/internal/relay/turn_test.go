package relay

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/gateway/internal/transport"
	"github.com/starling-chat/starling/proto/fault"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// TestJoinTakesItsTurn: a join from elsewhere neither overtakes what the client has asked before nor is overtaken by what it
// asks afterwards.
func TestJoinTakesItsTurn(t *testing.T) {
	w := newWorld(t, nil)
	hold := make(chan struct{})
	answer := sync.OnceFunc(func() { close(hold) })
	t.Cleanup(answer)
	w.respond(t, "slow", func(e *eventv1.ClientEvent) *eventv1.ClientReply {
		<-hold
		return ok(e)
	})
	w.respond(t, "later", ok)
	asked, granted := make(chan struct{}), make(chan struct{})
	grant := sync.OnceFunc(func() { close(granted) })
	t.Cleanup(grant)
	w.chat.mu.Lock()
	w.chat.joining = func(context.Context, *eventv1.ClientEvent) error {
		close(asked)
		<-granted
		return nil
	}
	w.chat.mu.Unlock()
	conn := w.connect(t, "ann")
	socket := w.socket(t, "ann", conn)
	conn.Say(`421["slow"]`)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	joined := make(chan error, 1)
	go func() { joined <- w.relay.Join(ctx, socket, "r") }()
	c := socket.State.(*client)
	sessiontest.Eventually(t, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.events.waiting) == 1
	}, func() string { return "the join does not wait for the client event before it" })
	conn.Say(`422["later"]`)
	answer()
	select {
	case <-asked:
	case err := <-joined:
		t.Fatalf("Join = %v before chat-service is asked", err)
	case <-time.After(sessiontest.Patience):
		t.Fatalf("chat-service is not asked; the client got %q", conn.Queued())
	}
	conn.WaitFor(t, "431")
	if got := w.relay.Rooms(socket); len(got) > 0 || slices.Contains(conn.Queued(), `432[{"ok":true}]`) {
		t.Errorf("in rooms %q, and got %q, before the join is granted", got, conn.Queued())
	}
	grant()
	if err := <-joined; err != nil {
		t.Fatalf("Join = %v", err)
	}
	conn.WaitFor(t, "432")
	if diff := cmp.Diff([]string{`431[{"ok":true}]`, `42["room:history",0]`, `432[{"ok":true}]`}, conn.Packets()); diff != "" {
		t.Errorf("the client got (-want +got):\n%s", diff)
	}
	if got := w.relay.Rooms(socket); !slices.Equal(got, []string{"r"}) {
		t.Errorf("Rooms = %q, want r", got)
	}
	for _, want := range []bool{true, false} {
		if was, err := w.relay.Leave(t.Context(), socket, "r"); err != nil || was != want {
			t.Errorf("Leave = %v, %v, want %v", was, err, want)
		}
	}
	if got := w.relay.Rooms(socket); len(got) > 0 {
		t.Errorf("Rooms = %q after Leave, want none", got)
	}
}

func TestJoinIsRefused(t *testing.T) {
	w := newWorld(t, nil)
	hold := make(chan struct{})
	answer := sync.OnceFunc(func() { close(hold) })
	t.Cleanup(answer)
	w.respond(t, "slow", func(e *eventv1.ClientEvent) *eventv1.ClientReply {
		<-hold
		return ok(e)
	})
	conn := w.connect(t, "ann")
	socket := w.socket(t, "ann", conn)
	wantKind := func(what string, err error, want fault.Kind) {
		t.Helper()
		if got := fault.KindOf(err); got != want {
			t.Errorf("Join %s = %v, want %s", what, err, want)
		}
	}
	all, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	wantKind("of a room that is closed", w.relay.Join(all, socket, "secret"), fault.Forbidden)

	conn.Say(`40/notifications,{"token":"ann"}`)
	conn.WaitFor(t, "40/notifications,")
	other := socket
	sessiontest.Eventually(t, func() bool {
		for _, s := range w.relay.registry.User("ann") {
			if s != socket {
				other = s
			}
		}
		return other != socket
	}, func() string { return "no socket in /notifications" })
	wantKind("in a namespace without rooms", w.relay.Join(all, other, "r"), fault.Invalid)

	conn.Say(`421["slow"]`)
	ctx, cancel := context.WithCancel(all)
	cancel()
	wantKind("whose turn does not come", w.relay.Join(ctx, socket, "r"), fault.Timeout)
	late := make(chan error, 1)
	go func() { late <- w.relay.Join(all, socket, "r") }()
	conn.Close(transport.CodeNormal, transport.ReasonLost)
	wantKind("of a client that goes", <-late, fault.Unavailable)
	answer()
	if got := w.relay.Rooms(socket); len(got) > 0 {
		t.Errorf("Rooms = %q, want none", got)
	}
}
