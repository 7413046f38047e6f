package relay

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/gateway/internal/connectauth"
	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/gateway/internal/transport"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// TestRacingGateways: of several connections that come back at once with the same pid, one at most is recovered.
func TestRacingGateways(t *testing.T) {
	f := newFleet(t, nil)
	g1, g2 := f.start("g1"), f.start("g2")
	one := 0
	for i := range 8 {
		room := fmt.Sprint("r", i)
		a := f.guest("a", g1)
		a.joins(room)
		a.drops()
		f.commit(room)
		back := make([]*guest, 4)
		for n := range back {
			back[n] = &guest{t: t}
			back[n].Conn, _ = sessiontest.Open([]*fleetGateway{g1, g2}[n%2].sessions, session.Headers{})
		}
		var wg sync.WaitGroup
		for _, b := range back {
			wg.Go(func() { b.Say(`40{"token":"a","pid":"` + a.pid + `"}`) })
		}
		wg.Wait()
		won := 0
		for _, b := range back {
			sessiontest.Eventually(t, func() bool { // a connection may be replaced by the next one before its reply
				_, _, ended := b.Ended()
				return ended || slices.ContainsFunc(b.Packets(), func(p string) bool { return strings.HasPrefix(p, "40{") })
			}, func() string { return fmt.Sprintf("a connection is neither answered nor ended: %q", b.Queued()) })
		}
		has := func(b *guest) bool {
			_, _, ended := b.Ended()
			return !ended && slices.ContainsFunc(b.Packets(), func(p string) bool { return strings.HasPrefix(p, "40{") && strings.Contains(p, a.pid) })
		}
		// A gateway that is too slow to let go of its connection ends it later.
		sessiontest.Eventually(t, func() bool {
			won = 0
			for _, b := range back {
				if has(b) {
					won++
				}
			}
			return won <= 1
		}, func() string { return fmt.Sprintf("%d connections have the socket, want one at most", won) })
		for _, b := range back {
			if has(b) {
				b.wantEvents(room, 1)
			}
		}
		one += won
		holders := func() int { return len(g1.relay.holders.Of(a.pid)) + len(g2.relay.holders.Of(a.pid)) }
		sessiontest.Eventually(t, func() bool { return holders() <= 1 }, func() string {
			return fmt.Sprintf("%d gateways hold the socket, want one at most", holders())
		})
	}
	if one == 0 {
		t.Error("nobody was ever recovered")
	}
}

// TestStateWrittenWhileItIsRead: a socket's state changes between the moment when it was read and the one when it is adopted.
// The old gateway's last write does not cost the recovery; a connection that was faster keeps the socket, and is not ended.
func TestStateWrittenWhileItIsRead(t *testing.T) {
	f := newFleet(t, nil)
	g1, g2 := f.start("g1"), f.start("g2")
	// while does something after the state of the guest that comes back was read; it gives the guest's new connection.
	while := func(a *guest, do func()) *guest {
		t.Helper()
		reached, goOn := make(chan struct{}), make(chan struct{})
		hold := func() {
			f.chat.headsAsked.Store(nil)
			close(reached)
			<-goOn
		}
		f.chat.headsAsked.Store(&hold)
		back := make(chan *guest, 1)
		go func() { back <- a.comes(g2) }()
		<-reached
		do()
		close(goOn)
		select {
		case b := <-back:
			return b
		case <-time.After(sessiontest.Patience):
			t.Fatal("no answer to the CONNECT")
			return nil
		}
	}
	for name, again := range map[string]func(a *guest){
		"once":        func(a *guest) { rewrite(f, a) },
		"three times": func(a *guest) { rewrite(f, a); rewrite(f, a); rewrite(f, a) },
	} {
		a := f.guest("a", g1)
		a.joins("r")
		a.drops()
		b := while(a, func() { again(a) })
		if b.sid != a.sid {
			t.Errorf("a state that its gateway wrote %s more: not recovered", name)
		}
		b.drops()
	}
	a := f.guest("a", g1)
	a.joins("r")
	a.drops()
	var faster *guest
	slower := while(a, func() { faster = a.comes(g1) })
	faster.wantRecovered(a, true)
	slower.wantRecovered(a, false)
	f.publish("r")
	faster.wantEvents("r", 1)
	if _, reason, ended := faster.Ended(); ended {
		t.Errorf("the connection that was faster was ended (%s)", reason)
	}
}

// rewrite writes a socket's state once more, as its gateway does.
func rewrite(f *fleet, a *guest) {
	f.t.Helper()
	raw, err := proto.Marshal(state(f, a))
	if err == nil {
		_, err = f.bucket().Put(f.t.Context(), subject.SessionState(a.pid), raw)
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// TestRecoveryThatBreaksOff: the services are away in the middle. The client comes again and loses nothing.
func TestRecoveryThatBreaksOff(t *testing.T) {
	f := newFleet(t, nil)
	g1, g2 := f.start("g1"), f.start("g2")
	a := f.guest("a", g1)
	a.joins("r")
	a.drops()
	f.commit("r")
	// The room's subject cannot be had: the gateway has just lost its bus.
	c, s := sessiontest.Open(g2.sessions, session.Headers{})
	s.Close(transport.CodeNormal, transport.ReasonLost)
	c.WaitEnded(t)
	if got := g2.relay.resume(s, "/", &eventv1.Identity{UserId: "a"}, connectauth.Auth{Recovery: true, PID: a.pid}); got != lost {
		t.Errorf("recover on an ended session = %v, want lost", got)
	}
	if got := g2.relay.hub.Members("r"); len(got) > 0 {
		t.Errorf("a recovery that broke off leaves %d members", len(got))
	}
	wantRefs(t, g2.relay, "r", 0)
	g2.stored()
	b := a.comes(g1)
	b.wantRecovered(a, true)
	b.wantEvents("r", 1)
}

// TestLiveEventsDuringReplay: events come all the time while a client wanders between gateways. It sees each one once and
// in order, whether replayed, kept back or live, also with the old connection still open.
func TestLiveEventsDuringReplay(t *testing.T) {
	f := newFleet(t, func(c *settings) { c.Recovery.MaxEvents = 100_000 })
	gateways := []*fleetGateway{f.start("g1"), f.start("g2")}
	for _, g := range gateways { // somebody who stays, so that the rooms go on at both
		f.guest("stays", g).joins("r")
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	sent := map[string]int{}
	wg.Go(func() {
		for i := 0; !stop.Load(); i++ {
			room := []string{"r", "s"}[i%2]
			f.publish(room)
			sent[room]++
			if i%8 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
	})
	a := f.guest("a", gateways[0])
	a.joins("r")
	a.joins("s")
	next := map[string]int{}
	check := func(u *guest) {
		t.Helper()
		for _, e := range u.got() {
			var seq int
			room := e[8:9]
			if _, err := fmt.Sscanf(e[11:], "%d]", &seq); err != nil {
				t.Fatalf("event %s: %v", e, err)
			}
			if want, known := next[room]; known && seq != want {
				t.Fatalf("room %s: event %d comes when %d is due", room, seq, want)
			}
			next[room] = seq + 1
		}
	}
	first := a.sid
	for i := range 16 {
		time.Sleep(time.Duration(i%4) * 3 * time.Millisecond)
		if i%3 != 0 {
			a.Close(transport.CodeNormal, transport.ReasonLost)
			a.WaitEnded(t)
		} // otherwise half open: what still goes out there is lost
		a.gateway.stored()
		check(a)
		old := a
		if a = a.comes(gateways[i%2]); a.sid != first {
			t.Fatalf("round %d: not recovered", i)
		}
		old.WaitEnded(t)
	}
	stop.Store(true)
	wg.Wait()
	sessiontest.Eventually(t, func() bool {
		got := a.got()
		done := 0
		for room, n := range sent {
			if slices.Contains(got, fmt.Sprintf(`42["e","%s",%d]`, room, n)) || next[room] == n+1 {
				done++
			}
		}
		return done == len(sent)
	}, func() string { return "the last events do not come" })
	check(a)
	for room, n := range sent {
		if next[room] != n+1 {
			t.Errorf("room %s: %d events were sent, and the last seen is %d", room, n, next[room]-1)
		}
	}
}

// TestJoinThatEndsAfterTakeover: a join of the old connection must not write the state over the new one's.
func TestJoinThatEndsAfterTakeover(t *testing.T) {
	f := newFleet(t, nil)
	g1, g2 := f.start("g1"), f.start("g2")
	a := f.guest("a", g1)
	a.joins("r")
	g1.stored()
	sessiontest.Eventually(t, func() bool { return len(g1.relay.registry.User("a")) == 1 }, func() string { return "not registered" })
	old := g1.relay.registry.User("a")[0].State.(*client)
	b := a.comes(g2)
	b.wantRecovered(a, true)
	a.WaitEnded(t)
	g1.relay.save(old) // as a join under way, or an eviction, does
	g1.stored()
	if st := state(f, b); st.GetGatewayId() != "g2" || len(st.GetRooms()) != 1 {
		t.Errorf("the state is of %s with the rooms %v, want g2's with r", st.GetGatewayId(), st.GetRooms())
	}
	if n := len(g1.relay.holders.Of(b.pid)); n != 0 {
		t.Errorf("the old gateway still holds %d sockets, want none", n)
	}
}

// TestLateRecovery: what was begun for a connection that has gone does not end the one that came after it.
func TestLateRecovery(t *testing.T) {
	f := newFleet(t, nil)
	g1 := f.start("g1")
	a := f.guest("a", g1)
	a.drops()
	b := a.comes(g1)
	b.wantRecovered(a, true)
	gone, s := sessiontest.Open(g1.sessions, session.Headers{})
	gone.Close(transport.CodeNormal, transport.ReasonLost)
	gone.WaitEnded(t)
	sessiontest.Eventually(t, s.Ended, func() string { return "the session does not end" })
	if got := g1.relay.resume(s, "/", &eventv1.Identity{UserId: "a"}, connectauth.Auth{Recovery: true, PID: a.pid}); got != lost {
		t.Errorf("recovery of a session that ended = %v, want lost", got)
	}
	if _, reason, ended := b.Ended(); ended {
		t.Errorf("the client's connection was ended (%s), want it to go on", reason)
	}
}
