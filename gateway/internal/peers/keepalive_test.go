package peers

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/starling-chat/starling/gateway/internal/engineio"
	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/proto/subject"
)

// hang has the gateway go on listening and say nothing any more, as a process that is stopped.
func (g *gateway) hang() {
	g.t.Helper()
	_, err := g.fleet.bus.Subscribe(subject.Engine(g.id), func(*nats.Msg) {})
	if err == nil {
		err = g.fleet.bus.Flush()
	}
	if err != nil {
		g.t.Fatal(err)
	}
	g.nc.Close()
}

// TestTunnelsOfAHangingGateway end when it does not answer for long; others go on.
func TestTunnelsOfAHangingGateway(t *testing.T) {
	f := newFleet(t)
	g1, g2, g3 := f.start("g1"), f.start("g2"), f.start("g3")
	_, stays := upgraded(t, g1, g3, "b")
	_, w := upgraded(t, g1, g2, "a")
	g2.hang()
	ask := func(g *gateway) {
		for _, tunnels := range g.peers.tunnelsByGateway() {
			g.peers.askTunnels(t.Context(), tunnels, time.Now())
		}
	}
	ask(g1)
	if n := g1.tunnels(); n != 2 {
		t.Fatalf("%d tunnels after a short silence, want 2", n)
	}
	g1.silence()
	ask(g1)
	sessiontest.Eventually(t, func() bool { return g1.tunnels() == 1 && len(g1.app.user("a")) == 0 }, func() string { return "the hanging gateway's tunnel goes on" })
	stays.say(`421["echo"]`)
	stays.wants("3probe", `431[]`)

	// Its own side ends as well, when it cannot reach the owner.
	g2.silence()
	g2.peers.askTunnels(t.Context(), []*tunnel{g2.theTunnel()}, time.Now())
	w.wantsEnd()
}

// sooner wants what happens in a fleet of its own to take less time than that. A machine that stands meanwhile may have it take longer,
// and is given another try.
func sooner(t *testing.T, than time.Duration, happens func(*fleet) time.Duration) {
	t.Helper()
	var took []time.Duration
	for range 5 {
		d := happens(newFleet(t))
		if d < than {
			return
		}
		took = append(took, d)
	}
	t.Errorf("it took %v, want less than %v", took, than)
}

// TestOwnerIsKilled: that nobody listens for the owner any more is an answer. The client is told to come back long before the
// silence alone would have said so.
func TestOwnerIsKilled(t *testing.T) {
	var w *webSocket
	sooner(t, keepaliveLost, func(f *fleet) time.Duration {
		g1, g2 := f.start("g1"), f.start("g2")
		_, w = upgraded(t, g1, g2, "a")
		start := time.Now()
		g1.kill()
		w.wantsEnd()
		return time.Since(start)
	})
	if got := w.packets(); !slices.Contains(got, "close:1013") {
		t.Errorf("the WebSocket got %q, want a close frame: the client's link is well", got)
	}
}

// TestCarrierIsKilled: the owner's session ends, so that nothing more is queued for a client that is elsewhere.
func TestCarrierIsKilled(t *testing.T) {
	sooner(t, keepaliveLost, func(f *fleet) time.Duration {
		g1, g2 := f.start("g1"), f.start("g2")
		_, _ = upgraded(t, g1, g2, "a")
		start := time.Now()
		g2.kill()
		sessiontest.Eventually(t, func() bool { return g1.sessions.Count() == 0 && g1.tunnels() == 0 }, func() string { return "the session goes on" })
		return time.Since(start)
	})
}

// TestGatewayComesBack: after a break of NATS some gateways listen again sooner than others. That ends no tunnel.
func TestGatewayComesBack(t *testing.T) {
	f := newFleet(t)
	g := f.start("g1")
	// Within the time that it has; on a machine that has stood meanwhile, another one is in time.
	isBack := func(late string) bool {
		if _, err := g.peers.askTunnel(t.Context(), late, ""); !errors.Is(err, nats.ErrNoResponders) {
			t.Fatalf("askTunnel of nobody = %v, want no responders", err)
		}
		subscribed := make(chan error, 1)
		time.AfterFunc(goneWait/2, func() {
			_, err := f.bus.Subscribe(subject.Engine(late), func(m *nats.Msg) { _ = m.Respond(nil) })
			subscribed <- err
		})
		gone := g.peers.gone(t.Context(), late)
		if err := <-subscribed; err != nil {
			t.Fatal(err)
		}
		return !gone
	}
	tries := 0
	for !isBack(fmt.Sprint("late", tries)) {
		if tries++; tries == 10 {
			t.Fatal("gone = true of gateways that were back, want false")
		}
	}
	if !g.peers.gone(t.Context(), "nobody") {
		t.Error("gone = false of nobody, want true")
	}
}

// TestPostToAGatewayThatIsKilled: the answer of a POST that was held back is lost with its gateway, and is not waited for.
func TestPostToAGatewayThatIsKilled(t *testing.T) {
	sooner(t, postTimeout, func(f *fleet) time.Duration {
		g1, g2 := f.start("g1"), f.start("g2")
		p := pollThrough(t, g1, g2)
		p.enter("a")
		g1.app.user("a")[0].PauseRead()
		failed := make(chan error, 1)
		start := time.Now()
		go func() {
			_, err := g2.peers.Poll(t.Context(), "g1", session.PollRequest{
				Method: http.MethodPost, Body: []byte(`42["echo"]`), Query: engineio.Query{Transport: engineio.TransportPolling, SID: p.SID},
			})
			failed <- err
		}()
		sessiontest.Eventually(t, func() bool { return g1.app.count() == 1 }, func() string { return "the POST does not come" })
		g1.kill()
		select {
		case err := <-failed:
			if err == nil {
				t.Error("Poll = nil, want an error")
			}
		case <-time.After(sessiontest.Patience):
			t.Error("the POST goes on")
		}
		return time.Since(start)
	})
}
