package peers

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	enginev1 "github.com/starling-chat/starling/proto/gen/starling/engine/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// stall has the gateway take in nothing of what other gateways send, until goOn is called.
func (g *gateway) stall() (goOn func()) {
	g.t.Helper()
	stalled, on := make(chan struct{}), make(chan struct{})
	goOn = sync.OnceFunc(func() { close(on) })
	g.t.Cleanup(goOn)
	g.mu.Lock()
	g.takeover = func(_ string, done func()) { close(stalled); <-on; done() }
	g.mu.Unlock()
	raw, err := proto.Marshal(&enginev1.EngineMessage{Kind: &enginev1.EngineMessage_Takeover{Takeover: &enginev1.Takeover{Pid: "p"}}})
	if err == nil {
		err = g.fleet.bus.Publish(subject.Engine(g.id), raw)
	}
	if err != nil {
		g.t.Fatal(err)
	}
	select {
	case <-stalled:
	case <-time.After(sessiontest.Patience):
		g.t.Fatal("the gateway does not stall")
	}
	return goOn
}

// TestFloodThroughATunnel: one client that sends faster than the owner takes in is held back at the carrier. The inbox that all
// tunnels share does not fill, and nobody loses anything.
func TestFloodThroughATunnel(t *testing.T) {
	f := newFleet(t)
	g1, g2 := f.start("g1"), f.start("g2")
	_, flood := upgraded(t, g1, g2, "a")
	flooding := g2.theTunnel()
	_, other := upgraded(t, g1, g2, "b")
	goOn := g1.stall()
	const n = 30_000 // more than a window and the kernel's buffers hold
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for i := range n {
			flood.say(fmt.Sprintf(`42%d["echo"]`, i))
		}
	}()
	sessiontest.Eventually(t, func() bool {
		flooding.mu.Lock()
		defer flooding.mu.Unlock()
		return flooding.stopped
	}, func() string { return "the flood is not held back" })
	other.say(`421["echo"]`)
	if waiting := len(g1.peers.inbox); waiting > 2*windowSize/messageCost {
		t.Errorf("%d messages wait in the inbox, want the window of each tunnel at most", waiting)
	}
	goOn()
	other.wants("3probe", `431[]`)
	<-sent
	for answered := 0; answered < n; { // it may take as long as it goes on
		before := answered
		sessiontest.Eventually(t, func() bool { answered = flood.count() - 1; return answered > before }, func() string {
			return fmt.Sprintf("%d of %d events were answered", answered, n)
		})
	}
	for i, got := range flood.packets()[1:] {
		if want := fmt.Sprintf("43%d[]", i); got != want {
			t.Fatalf("answer %d is %s, want %s", i, got, want)
		}
	}
}

// burst queues and flushes n events of about 10 KB.
func burst(t *testing.T, s *session.Socket, n int, volatile bool) (taken int) {
	t.Helper()
	for i := range n {
		m, err := session.Emit{Namespace: "/", Event: "e", Args: fmt.Appendf(nil, `[%d,"%s"]`, i, strings.Repeat("x", 10_000)), Volatile: volatile}.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if s.Queue(m) {
			taken++
		}
		s.Flush()
	}
	return taken
}

// TestCarrierThatDoesNotTakeIn: the owner keeps back what the window does not let through, as it would for a slow client; it drops
// volatile events first.
func TestCarrierThatDoesNotTakeIn(t *testing.T) {
	f := newFleet(t)
	g1, g2 := f.start("g1"), f.start("g2")
	_, w := upgraded(t, g1, g2, "a")
	socket := g1.app.user("a")[0]
	goOn := g2.stall()
	if taken := burst(t, socket, 25, false); taken != 25 {
		t.Errorf("%d of 25 events were taken, want all", taken)
	}
	if waiting := len(g2.peers.inbox); waiting > windowSize/messageCost {
		t.Errorf("%d messages wait in the inbox, want a window at most", waiting)
	}
	taken := burst(t, socket, 25, true)
	if taken == 0 || taken == 25 {
		t.Errorf("%d of 25 volatile events were taken, want some", taken)
	}
	goOn()
	sessiontest.Eventually(t, func() bool { return len(w.packets()) == 1+25+taken }, func() string {
		return fmt.Sprintf("%d events came, want %d", len(w.packets())-1, 25+taken)
	})
	for i, got := range w.packets()[1:26] {
		if want := fmt.Sprintf(`42["e",%d,`, i); !strings.HasPrefix(got, want) {
			t.Fatalf("event %d is %.20s, want %s", i, got, want)
		}
	}
	if got := burst(t, socket, 5, false); got != 5 {
		t.Errorf("%d of 5 events were taken afterwards, want all", got)
	}
	sessiontest.Eventually(t, func() bool { return len(w.packets()) == 1+25+taken+5 }, func() string { return "the last events do not come" })
}

// TestSlowThroughATunnel: more than the bound does not wait for a carrier; its client comes back and recovers.
func TestSlowThroughATunnel(t *testing.T) {
	f := newFleet(t)
	g1, g2 := f.start("g1"), f.start("g2")
	_, w := upgraded(t, g1, g2, "a")
	goOn := g2.stall()
	if taken := burst(t, g1.app.user("a")[0], 100, false); taken >= 60 {
		t.Errorf("%d events of 10 KB were taken, want a window and the bound of the send queue at most", taken)
	}
	sessiontest.Eventually(t, func() bool { return g1.sessions.Count() == 0 }, func() string { return "the session goes on" })
	goOn()
	w.wantsEnd()
	wantNothingLeft(t, g1, g2)
}
