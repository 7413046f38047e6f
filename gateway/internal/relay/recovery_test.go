package relay

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/gateway/internal/transport"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// TestRecovery: in every way in which a client can come back, it gets what it missed before the CONNECT reply, keeps its
// socket and its rooms, and goes on.
func TestRecovery(t *testing.T) {
	f := newFleet(t, nil)
	g1, g2 := f.start("g1"), f.start("g2")
	for name, back := range map[string]struct {
		to    *fleetGateway
		drops bool
	}{
		"same gateway":                {g1, true},
		"other gateway":               {g2, true},
		"same gateway, old one lives": {g1, false}, "other gateway, old one lives": {g2, false},
	} {
		room := strings.ReplaceAll(name, " ", "-")
		a := f.guest("a", g1)
		a.joins(room)
		f.publish(room)
		a.wantEvents(room, 1)
		if back.drops {
			a.drops()
		} else {
			f.service.Flush() //nolint:errcheck // the events below come or not
			g1.stored()
		}
		f.commit(room) // and nobody hears of it
		f.commit(room)
		b := a.comes(back.to)
		b.wantRecovered(a, true)
		if want := []string{fmt.Sprintf(`42["e","%s",2]`, room), fmt.Sprintf(`42["e","%s",3]`, room)}; !slices.Equal(b.before, want) {
			t.Errorf("%s: %q before the CONNECT reply, want %q", name, b.before, want)
		}
		if !back.drops {
			if _, reason := a.WaitEnded(t); reason != transport.ReasonReplaced {
				t.Errorf("%s: the old connection ended with %s, want replaced", name, reason)
			}
		}
		f.publish(room)
		b.wantEvents(room, 2, 3, 4)
		f.publish(room, func(e *eventv1.RoomEvent) { e.ExceptSocketId = a.sid }) // the same socket
		f.publish(room)
		b.wantEvents(room, 2, 3, 4, 6)

		b.drops() // and once more, the other way
		f.commit(room)
		c := b.comes(g2)
		c.wantRecovered(a, true)
		c.wantEvents(room, 7)
		c.Close(transport.CodeNormal, transport.ReasonLost)
		c.WaitEnded(t)
	}
}

func TestRecoveryOfSeveralRooms(t *testing.T) {
	f := newFleet(t, nil)
	g1, g2 := f.start("g1"), f.start("g2")
	f.commit("old")
	a := f.guest("a", g1)
	for _, room := range []string{"x", "old", "y", "left"} {
		a.joins(room)
	}
	f.publish("y")
	a.wantEvents("y", 1)
	respondTo(t, f, "room:leave")
	a.Say(`422["room:leave","left"]`)
	a.WaitFor(t, "432")
	a.drops()
	for _, room := range []string{"x", "old", "y", "left", "x"} {
		f.commit(room)
	}
	b := a.comes(g2)
	b.wantRecovered(a, true)
	slices.Sort(b.before)
	want := []string{`42["e","old",2]`, `42["e","x",1]`, `42["e","x",2]`, `42["e","y",2]`}
	if !slices.Equal(b.before, want) {
		t.Errorf("missed events are %q, want %q", b.before, want)
	}
	b.got()
	b.Forget()
	b.joins("left")
	b.joins("x") // is in it: nothing twice
	f.publish("left")
	f.publish("x")
	sessiontest.Eventually(t, func() bool { return len(b.got()) >= 2 }, func() string { return "no live events" })
	if got := b.got(); !slices.Contains(got, `42["e","left",2]`) || !slices.Contains(got, `42["e","x",3]`) {
		t.Errorf("live events are %q, want left 2 and x 3", got)
	}
	b.drops()
	f.commit("left")
	c := b.comes(g1)
	c.wantEvents("left", 3)
}

// TestRecoveryWithoutRooms keeps the socket.
func TestRecoveryWithoutRooms(t *testing.T) {
	f := newFleet(t, nil)
	g1, g2 := f.start("g1"), f.start("g2")
	a := f.guest("a", g1)
	a.drops()
	b := a.comes(g2)
	b.wantRecovered(a, true)
	b.joins("r")
	f.publish("r")
	b.wantEvents("r", 1)
}

// TestRecoveryFromAKilledGateway: nothing was written about the end of the connection, and nobody answers.
func TestRecoveryFromAKilledGateway(t *testing.T) {
	f := newFleet(t, nil)
	g1, g2 := f.start("g1"), f.start("g2")
	a := f.guest("a", g1)
	a.joins("r")
	f.publish("r")
	a.wantEvents("r", 1)
	g1.stored()
	g1.kill()
	f.commit("r")
	b := a.comes(g2)
	b.wantRecovered(a, true)
	b.wantEvents("r", 2)

	// A restarted gateway of the same name knows nothing of the old one's sockets.
	g2.stored()
	g2.kill()
	f.commit("r")
	again := f.start("g2")
	c := b.comes(again)
	c.wantRecovered(a, true)
	c.wantEvents("r", 3)
}

// TestRecoveryThatTheClientNeverGot: the link broke again before the missed events arrived. They come once more.
func TestRecoveryThatTheClientNeverGot(t *testing.T) {
	f := newFleet(t, nil)
	g1, g2 := f.start("g1"), f.start("g2")
	for _, seen := range []bool{false, true} {
		room := fmt.Sprint("seen-", seen)
		a := f.guest("a", g1)
		a.joins(room)
		f.publish(room)
		a.wantEvents(room, 1)
		want := []int{2, 3}
		a.drops()
		if !seen {
			a.offset, want = "", []int{1, 2, 3}
		}
		f.commit(room)
		f.commit(room)
		for _, g := range []*fleetGateway{g2, g2, g1} {
			b := a.comes(g) // knows no more than a
			b.wantRecovered(a, true)
			b.wantEvents(room, want...)
			b.drops()
		}
	}
}

// TestLongReplay: more was missed than the send queue holds, and the client is slow. It gets all of it, and is not closed.
func TestLongReplay(t *testing.T) {
	const events = 1500
	f := newFleet(t, func(c *settings) { c.Recovery.MaxEvents = 10_000 })
	g1, g2 := f.start("g1"), f.start("g2")
	a := f.guest("a", g1)
	a.joins("r")
	a.drops()
	filler := strings.Repeat("x", 1000)
	for range events {
		f.chat.commit("r", func(e *eventv1.RoomEvent) {
			e.Emit.Args = fmt.Appendf(nil, `["%s",%d]`, filler, e.GetSeq())
		})
	}
	p := sessiontest.OpenPolling(t, g2.sessions, g2.sockets)
	p.Post(`40{"token":"a","pid":"` + a.pid + `"}`)
	conn := g2.sessions.Refuse()[0].Conn() // gives the sessions that live
	next, most := 1, 0
	for done := false; !done; {
		most = max(most, conn.QueuedBytes())
		for packet := range strings.SplitSeq(p.Get(), "\x1e") {
			switch {
			case strings.HasPrefix(packet, `40{`):
				if done = true; !strings.Contains(packet, a.pid) || next != events+1 {
					t.Errorf("after %d events comes %s, want the old pid after %d", next-1, packet, events)
				}
			case strings.HasPrefix(packet, `42["e","`+filler+`",`):
				var seq int
				if _, err := fmt.Sscanf(packet[len(filler)+10:], "%d,", &seq); err != nil || seq != next {
					t.Fatalf("event %d comes when %d is due: %v", seq, next, err)
				}
				next++
			default:
				t.Fatalf("packet %.80q: want the events, then the CONNECT reply", packet)
			}
		}
		time.Sleep(time.Millisecond)
	}
	if most > 256<<10 || most < 64<<10 {
		t.Errorf("%d bytes were queued at most, want the queue used but below its bound", most)
	}
}

// TestStatesLeaveInOrder: of the states that are written at once the last one counts.
func TestStatesLeaveInOrder(t *testing.T) {
	f := newFleet(t, nil)
	g := f.start("g1")
	a := f.guest("a", g)
	sessiontest.Eventually(t, func() bool { return len(g.relay.registry.User("a")) == 1 }, func() string { return "not registered" })
	c := g.relay.registry.User("a")[0].State.(*client)
	for round := range 300 {
		var joins sync.WaitGroup
		for i := range 4 {
			joins.Go(func() {
				c.addRoom(clientRoom{id: fmt.Sprintf("%d-%d", round, i), index: uint32(4*round + i)}, true)
				g.relay.save(c)
			})
		}
		joins.Wait()
		g.stored()
		if got, want := state(f, a), 4*(round+1); int(got.GetGeneration()) != want || len(got.GetRooms()) != want {
			t.Fatalf("the state is of generation %d, with %d rooms, want %d and as many", got.GetGeneration(), len(got.GetRooms()), want)
		}
	}
	c.mu.Lock()
	c.rooms = nil // none was entered
	c.mu.Unlock()
}
