package relay

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/starling-chat/starling/gateway/internal/engineio"
	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/gateway/internal/transport"
	enginev1 "github.com/starling-chat/starling/proto/gen/starling/engine/v1"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
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
			g1.settle()
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

// TestRecoveryWithoutOffset: what counts for a client that kept none is where the join's history ended. One comes with that
// history.
func TestRecoveryWithoutOffset(t *testing.T) {
	f := newFleet(t, nil)
	g1, g2 := f.start("g1"), f.start("g2")
	for range 3 {
		f.commit("r")
	}
	a := f.guest("a", g1)
	a.joins("r")
	a.drops()
	if a.offset == "" {
		t.Fatal("no offset came with the history")
	}
	a.offset = ""
	f.commit("r")
	b := a.comes(g2)
	b.wantRecovered(a, true)
	b.wantEvents("r", 4)
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
	g1.settle()
	g1.kill()
	f.commit("r")
	b := a.comes(g2)
	b.wantRecovered(a, true)
	b.wantEvents("r", 2)

	// A restarted gateway of the same name knows nothing of the old one's sockets.
	g2.settle()
	g2.kill()
	f.commit("r")
	again := f.start("g2")
	c := b.comes(again)
	c.wantRecovered(a, true)
	c.wantEvents("r", 3)
}

// TestKilledLongAgo: the last sign of life of the gateway is older than the window, or gone.
func TestKilledLongAgo(t *testing.T) {
	f := newFleet(t, func(c *Config) { c.RecoveryWindow = 300 * time.Millisecond })
	g1, g2 := f.start("g1"), f.start("g2")
	a, b := f.guest("a", g1), f.guest("b", g1)
	g1.settle()
	g1.kill()
	time.Sleep(f.cfg.RecoveryWindow + 50*time.Millisecond)
	a.comes(g2).wantRecovered(a, false)
	if err := f.bucket().Purge(t.Context(), subject.GatewayAlive("g1", g1.relay.cfg.Incarnation)); err != nil {
		t.Fatal(err)
	}
	b.comes(g2).wantRecovered(b, false)
}

func TestNotRecovered(t *testing.T) {
	f := newFleet(t, func(c *Config) { c.RecoveryEvents = 5 })
	g1, g2 := f.start("g1"), f.start("g2")
	forge := func(change func(auth map[string]any)) func(a *guest) *guest {
		return func(a *guest) *guest {
			auth := map[string]any{"token": "a", "pid": a.pid, "offset": a.offset}
			change(auth)
			return a.says(g2, auth)
		}
	}
	put := func(_ *guest, key string, m proto.Message) {
		raw, _ := proto.Marshal(m)
		if _, err := f.bucket().Put(t.Context(), key, raw); err != nil {
			t.Fatal(err)
		}
	}
	for name, back := range map[string]func(a *guest) *guest{
		"foreign user":      forge(func(auth map[string]any) { auth["token"] = "b" }),
		"unknown pid":       forge(func(auth map[string]any) { auth["pid"] = "unknown" }),
		"empty pid":         forge(func(auth map[string]any) { auth["pid"] = "" }),
		"long pid":          forge(func(auth map[string]any) { auth["pid"] = strings.Repeat("x", 50_000) }),
		"pid of subjects":   forge(func(auth map[string]any) { auth["pid"] = "*.>" }),
		"pid of wrong type": forge(func(auth map[string]any) { auth["pid"] = 7 }),
		"garbage offset":    forge(func(auth map[string]any) { auth["offset"] = "garbage" }),
		"cut offset":        forge(func(auth map[string]any) { auth["offset"] = "o1.A" }),
		"offset above head": forge(func(auth map[string]any) { auth["offset"] = offsetOf(auth["pid"].(string), 1, math.MaxUint64) }),
		"offset one above":  forge(func(auth map[string]any) { auth["offset"] = offsetOf(auth["pid"].(string), 1, 2) }),
		"recovery is off":   forge(func(auth map[string]any) { auth["recovery"] = false }),
		"too much missed": func(a *guest) *guest {
			for range 6 {
				f.commit("too much missed")
			}
			return a.comes(g2)
		},
		"window over": func(a *guest) *guest {
			st := state(f, a)
			put(a, subject.SessionEnd(a.pid), &enginev1.SessionEnd{Nonce: st.GetNonce(), At: timestamppb.New(time.Now().Add(-2 * time.Minute))})
			return a.comes(g2)
		},
		"no state": func(a *guest) *guest {
			if err := f.bucket().Purge(t.Context(), subject.SessionState(a.pid)); err != nil {
				t.Fatal(err)
			}
			return a.comes(g2)
		},
		"state that cannot be read": func(a *guest) *guest {
			if _, err := f.bucket().Put(t.Context(), subject.SessionState(a.pid), []byte{0xff}); err != nil {
				t.Fatal(err)
			}
			return a.comes(g2)
		},
		"other namespace": func(a *guest) *guest {
			next := &guest{t: t, gateway: g2}
			next.Conn, _ = sessiontest.Open(g2.sessions, session.Headers{})
			next.Say(fmt.Sprintf(`40/chat,{"token":"a","pid":"%s","offset":"%s"}`, a.pid, a.offset))
			reply := next.WaitFor(t, "40/chat,")
			if strings.Contains(reply, a.pid) || strings.Contains(reply, a.sid) {
				t.Errorf("CONNECT to another namespace is answered by %s, want a fresh socket", reply)
			}
			next.before = []string{}
			return next
		},
	} {
		room := name
		a := f.guest("a", g1)
		a.joins(room)
		f.publish(room)
		a.wantEvents(room, 1)
		a.drops()
		b := back(a)
		if b.sid == a.sid || b.pid == a.pid || len(b.before) > 0 {
			t.Errorf("%s: recovered as %s, %s with %q, want a fresh socket", name, b.sid, b.pid, b.before)
		}
		f.publish(room) // the fresh socket is in no room
		b.got()
		if name == "other namespace" || name == "recovery is off" || name == "foreign user" {
			continue
		}
		// It is honest and whole: it can be recovered itself.
		b.joins("next")
		f.publish("next")
		sessiontest.Eventually(t, func() bool { return len(b.got()) == 1 }, func() string { return fmt.Sprintf("%s: %q after the join, want one event", name, b.got()) })
		b.drops()
		if c := b.comes(g1); c.pid != b.pid {
			t.Errorf("%s: the fresh socket cannot be recovered", name)
		}
	}
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

// TestOffsetOfAnEarlierSocket: official clients keep it when they get a fresh socket.
func TestOffsetOfAnEarlierSocket(t *testing.T) {
	f := newFleet(t, nil)
	g1, g2 := f.start("g1"), f.start("g2")
	a := f.guest("a", g1)
	a.joins("r")
	for range 5 {
		f.publish("r")
	}
	a.wantEvents("r", 1, 2, 3, 4, 5)
	a.drops()
	b := (&guest{t: t, token: "a", offset: a.offset}).says(g1, map[string]string{"token": "a"})
	b.joins("other") // has number 1, as "r" had
	b.drops()
	for range 7 {
		f.commit("other")
	}
	c := b.comes(g2)
	c.wantRecovered(b, true)
	c.wantEvents("other", 1, 2, 3, 4, 5, 6, 7)
}

func state(f *fleet, a *guest) *enginev1.SessionState {
	f.t.Helper()
	entry, err := f.bucket().Get(f.t.Context(), subject.SessionState(a.pid))
	if err != nil {
		f.t.Fatal(err)
	}
	var st enginev1.SessionState
	if err := proto.Unmarshal(entry.Value(), &st); err != nil {
		f.t.Fatal(err)
	}
	return &st
}

// TestOffsetAboveHeadHurtsNobody: an offset comes from a client. Whatever it says, other members get their events.
func TestOffsetAboveHeadHurtsNobody(t *testing.T) {
	f := newFleet(t, nil)
	g1, g2 := f.start("g1"), f.start("g2")
	a := f.guest("a", g1)
	a.joins("r")
	f.publish("r")
	a.wantEvents("r", 1)
	a.drops()
	a.offset = offsetOf(a.pid, 1, 1<<40)
	a.comes(g2)
	other := f.guest("other", g2)
	other.joins("r")
	f.publish("r")
	other.wantEvents("r", 2)
}

// TestForeignUserHurtsNobody: a refused recovery does not end the connection of whom the pid belongs to.
func TestForeignUserHurtsNobody(t *testing.T) {
	f := newFleet(t, nil)
	g1, g2 := f.start("g1"), f.start("g2")
	a := f.guest("a", g1)
	a.joins("r")
	g1.settle()
	thief := (&guest{t: t, token: "thief", pid: a.pid}).comes(g2)
	thief.wantRecovered(a, false)
	f.publish("r")
	a.wantEvents("r", 1)
	if _, reason, ended := a.Ended(); ended {
		t.Errorf("the connection was ended with %s by a foreign user", reason)
	}
}

// TestLeftForGood: who leaves, or is disconnected by the server, is not recovered.
func TestLeftForGood(t *testing.T) {
	f := newFleet(t, nil)
	g1, g2 := f.start("g1"), f.start("g2")
	for _, g := range []*fleetGateway{g1, g2} {
		a := f.guest("a", g1)
		a.Say("41")
		sessiontest.Eventually(t, func() bool { return len(g1.relay.registry.User("a")) == 0 }, func() string { return "the socket does not leave" })
		g1.settle()
		b := a.comes(g)
		b.wantRecovered(a, false)
		sessiontest.Eventually(t, func() bool { return len(g.relay.registry.User("a")) == 1 }, func() string { return "not registered" })
		g.relay.registry.User("a")[0].Disconnect(transport.ReasonServer)
		b.WaitEnded(t)
		g.settle()
		c := b.comes(g1)
		c.wantRecovered(b, false)
		c.drops()
	}
}

// TestEvictedWhileAway: the events up to the eviction are the member's, and nothing after it.
func TestEvictedWhileAway(t *testing.T) {
	f := newFleet(t, nil)
	g1, g2 := f.start("g1"), f.start("g2")
	a := f.guest("a", g1)
	a.joins("r")
	a.joins("s")
	a.drops()
	f.commit("r")
	f.commit("r", func(e *eventv1.RoomEvent) { e.EvictUserId = "a" })
	f.commit("r")
	f.commit("s")
	b := a.comes(g2)
	b.wantRecovered(a, true)
	slices.Sort(b.before)
	if want := []string{`42["e","r",1]`, `42["e","r",2]`, `42["e","s",1]`}; !slices.Equal(b.before, want) {
		t.Errorf("missed events are %q, want %q", b.before, want)
	}
	f.publish("r")
	f.publish("s")
	sessiontest.Eventually(t, func() bool { return slices.Contains(b.got(), `42["e","s",2]`) }, func() string { return "no live event" })
	if got := b.got(); slices.Contains(got, `42["e","r",4]`) || len(got) != 4 {
		t.Errorf("an evicted member got %q", got)
	}
	b.drops()
	c := b.comes(g1) // it stays out
	c.wantRecovered(a, true)
	if len(c.before) > 0 || len(state(f, c).GetRooms()) != 1 {
		t.Errorf("recovered again with %q and the rooms %v, want only s", c.before, state(f, c).GetRooms())
	}
}

// TestForgedOffsetAfterEviction: a client that was evicted while away says that it has seen the eviction already.
func TestForgedOffsetAfterEviction(t *testing.T) {
	f := newFleet(t, nil)
	g1, g2 := f.start("g1"), f.start("g2")
	a := f.guest("a", g1)
	a.joins("r")
	a.drops()
	f.commit("r", func(e *eventv1.RoomEvent) { e.EvictUserId = "a" })
	a.offset = offsetOf(a.pid, 1, 1)
	b := a.comes(g2)
	f.publish("r")
	other := f.guest("other", g2)
	other.joins("r")
	f.publish("r")
	other.wantEvents("r", 3)
	if got := b.got(); len(got) > 0 {
		t.Errorf("an evicted user got %q", got)
	}
}

// TestOldNumberOfARoom: a number in an old offset must not be taken for another room's that has it by now.
func TestOldNumberOfARoom(t *testing.T) {
	f := newFleet(t, nil)
	g1, g2 := f.start("g1"), f.start("g2")
	respondTo(t, f, "room:leave")
	a := f.guest("a", g1)
	a.joins("r")
	a.joins("left")
	for range 9 {
		f.publish("left")
	}
	a.wantEvents("left", 1, 2, 3, 4, 5, 6, 7, 8, 9)
	a.Say(`422["room:leave","left"]`)
	a.WaitFor(t, "432")
	a.drops()
	b := a.comes(g2) // its last offset still tells of "left"
	b.wantRecovered(a, true)
	b.joins("new")
	b.drops()
	for range 3 {
		f.commit("new")
	}
	c := b.comes(g1)
	c.wantRecovered(a, true)
	c.wantEvents("new", 1, 2, 3)
}

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
		for _, b := range back {
			has := slices.ContainsFunc(b.Packets(), func(p string) bool { return strings.HasPrefix(p, "40{") && strings.Contains(p, a.pid) })
			if _, _, ended := b.Ended(); has && !ended {
				won++
				b.wantEvents(room, 1)
			}
		}
		if won > 1 {
			t.Errorf("%d connections have the socket, want one at most", won)
		}
		one += won
		holders := 0
		for _, g := range []*fleetGateway{g1, g2} {
			g.relay.recovery.mu.Lock()
			if c := g.relay.recovery.pids[a.pid]; c != nil {
				holders++
			}
			g.relay.recovery.mu.Unlock()
		}
		if holders > 1 {
			t.Errorf("%d gateways hold the socket, want one at most", holders)
		}
	}
	if one == 0 {
		t.Error("nobody was ever recovered")
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
	cl := newClient(g2.relay, &eventv1.Identity{UserId: "a"})
	if got := g2.relay.recovery.recover(s, cl, "/", &eventv1.Identity{UserId: "a"}, wish{recovery: true, pid: a.pid}); got != lost {
		t.Errorf("recover on an ended session = %v, want lost", got)
	}
	if got := g2.relay.hub.Members("r"); len(got) > 0 {
		t.Errorf("a recovery that broke off leaves %d members", len(got))
	}
	if refs := (&world{relay: g2.relay}).refs("r"); refs > 0 {
		t.Errorf("a recovery that broke off leaves %d claims on the room", refs)
	}
	g2.settle()
	b := a.comes(g1)
	b.wantRecovered(a, true)
	b.wantEvents("r", 1)
}

// TestLongReplay: more was missed than the send queue holds, and the client is slow. It gets all of it, and is not closed.
func TestLongReplay(t *testing.T) {
	const events = 1500
	f := newFleet(t, func(c *Config) { c.RecoveryEvents = 10_000 })
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
	p := openPoller(t, g2)
	p.post(`40{"token":"a","pid":"` + a.pid + `"}`)
	conn := g2.sessions.Refuse()[0].Conn() // gives the sessions that live
	next, most := 1, 0
	for done := false; !done; {
		most = max(most, conn.QueuedBytes())
		for packet := range strings.SplitSeq(p.get(), "\x1e") {
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

// polling is a client on long polling.
type polling struct {
	t       *testing.T
	gateway *fleetGateway
	sid     string
	do      func(ctx context.Context, r session.PollRequest) session.PollResponse
}

func openPoller(t *testing.T, g *fleetGateway) *polling {
	t.Helper()
	r := g.sessions.OpenPolling(g.sockets, session.Headers{})
	_, rest, ok := strings.Cut(string(r.Body), `"sid":"`)
	sid, _, _ := strings.Cut(rest, `"`)
	if !ok || r.Status != 200 {
		t.Fatalf("OpenPolling = %d %s", r.Status, r.Body)
	}
	return &polling{t: t, gateway: g, sid: sid, do: g.sessions.Poll}
}

func (p *polling) request(ctx context.Context, method, body string) session.PollResponse {
	return p.do(ctx, session.PollRequest{
		Method: method, Body: []byte(body), Query: engineio.Query{Transport: engineio.TransportPolling, SID: p.sid},
	})
}

func (p *polling) post(body string) {
	p.t.Helper()
	if r := p.request(p.t.Context(), "POST", body); r.Status != 200 || string(r.Body) != "ok" {
		p.t.Fatalf("POST %.80q = %d %s", body, r.Status, r.Body)
	}
}

func (p *polling) get() string {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), sessiontest.Patience)
	defer cancel()
	r := p.request(ctx, "GET", "")
	if r.Status != 200 {
		p.t.Fatalf("GET = %d %s", r.Status, r.Body)
	}
	return string(r.Body)
}

// TestLiveEventsDuringReplay: events come all the time while a client wanders between gateways. It sees each one once and
// in order, whether replayed, kept back or live, also with the old connection still open.
func TestLiveEventsDuringReplay(t *testing.T) {
	f := newFleet(t, func(c *Config) { c.RecoveryEvents = 100_000 })
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
		a.gateway.settle()
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
	g1.settle()
	sessiontest.Eventually(t, func() bool { return len(g1.relay.registry.User("a")) == 1 }, func() string { return "not registered" })
	old := g1.relay.registry.User("a")[0].State.(*client)
	b := a.comes(g2)
	b.wantRecovered(a, true)
	a.WaitEnded(t)
	g1.relay.recovery.save(old) // as a join under way, or an eviction, does
	g1.settle()
	if st := state(f, b); st.GetGatewayId() != "g2" || len(st.GetRooms()) != 1 {
		t.Errorf("the state is of %s with the rooms %v, want g2's with r", st.GetGatewayId(), st.GetRooms())
	}
	g1.relay.recovery.mu.Lock()
	defer g1.relay.recovery.mu.Unlock()
	if n := len(g1.relay.recovery.pids); n != 0 {
		t.Errorf("the old gateway still holds %d sockets, want none", n)
	}
}

func respondTo(t *testing.T, f *fleet, event string) {
	t.Helper()
	(&world{service: f.service}).respond(t, event, ok)
}

// TestOldStateIsNotUsed: when the state that told of the last change of rooms was not stored, the socket is a fresh one, rather
// than in rooms that it left, or out of rooms that it is in. The client's offset tells, and so does the end of the connection.
func TestOldStateIsNotUsed(t *testing.T) {
	for _, known := range []string{"offset", "end"} {
		f := newFleet(t, nil)
		g1, g2 := f.start("g1"), f.start("g2")
		a := f.guest("a", g1)
		a.joins("r1")
		g1.settle()
		old, err := f.bucket().Get(t.Context(), subject.SessionState(a.pid))
		if err != nil {
			t.Fatal(err)
		}
		a.joins("r2")
		if known == "offset" {
			f.publish("r2")
			a.wantEvents("r2", 1)
		}
		g1.settle()
		if _, err := f.bucket().Put(t.Context(), subject.SessionState(a.pid), old.Value()); err != nil {
			t.Fatal(err)
		}
		if known == "offset" {
			g1.kill()
		} else {
			a.drops()
		}
		a.comes(g2).wantRecovered(a, false)
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
	c := newClient(g1.relay, &eventv1.Identity{UserId: "a"})
	if got := g1.relay.recovery.recover(s, c, "/", &eventv1.Identity{UserId: "a"}, wish{recovery: true, pid: a.pid}); got != lost {
		t.Errorf("recovery of a session that ended = %v, want lost", got)
	}
	if _, reason, ended := b.Ended(); ended {
		t.Errorf("the client's connection was ended (%s), want it to go on", reason)
	}
}
