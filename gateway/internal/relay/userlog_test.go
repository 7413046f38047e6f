package relay

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/limits"
	"github.com/starling-chat/starling/proto/subject"
)

// logOfA is the log of the user a.
var logOfA = limits.UserLog("a")

// live sends an event of a log out again, or for the first time.
func (f *fleet) live(e *eventv1.RoomEvent) {
	f.t.Helper()
	raw, err := proto.Marshal(&eventv1.RoomEventBatch{Events: []*eventv1.RoomEvent{e}})
	if err == nil {
		err = f.service.Publish(subject.Room(e.GetRoomId()), raw)
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// long makes an event one that was stored long ago.
func (f *fleet) long(e *eventv1.RoomEvent) {
	f.chat.mu.Lock()
	defer f.chat.mu.Unlock()
	f.chat.stored[e] = time.Now().Add(-time.Hour)
}

// registered returns when as many sockets of a user are registered: events find them from then on.
func (g *fleetGateway) registered(user string, n int) {
	g.t.Helper()
	sessiontest.Eventually(g.t, func() bool { return len(g.relay.registry.User(user)) == n }, func() string { return "not registered" })
}

// TestUserLog: every socket of the user on / gets what happens from then on, once and in order, on every gateway.
func TestUserLog(t *testing.T) {
	f := newFleet(t, nil)
	g1, g2 := f.start("g1"), f.start("g2")
	first, second, other := f.guest("a", g1), f.guest("a", g2), f.guest("b", g1)
	chat, _ := sessiontest.Open(g1.sessions, session.Headers{})
	chat.Say(`40/chat,{"token":"a"}`)
	chat.WaitFor(t, "40/chat")
	chat.Forget()
	g1.registered("a", 2)
	g2.registered("a", 1)

	e1 := f.commit(logOfA)
	f.live(e1)
	f.live(e1)
	first.wantEvents(logOfA, 1)
	second.wantEvents(logOfA, 1)
	late := f.guest("a", g1) // a device that comes later is not told what was before
	g1.registered("a", 3)
	e2, e3 := f.commit(logOfA), f.commit(logOfA)
	f.live(e3)
	f.live(e2)
	f.live(e1)
	f.publish(logOfA)
	first.wantEvents(logOfA, 1, 2, 3, 4)
	second.wantEvents(logOfA, 1, 2, 3, 4)
	late.wantEvents(logOfA, 2, 3, 4)
	if got := append(other.got(), chat.Packets()...); len(got) != 0 {
		t.Errorf("another user, and a socket on /chat, got %q, want nothing", got)
	}
	if rooms := g1.relay.Rooms(g1.relay.registry.User("a")[0]); len(rooms) != 0 {
		t.Errorf("Rooms = %q, want none: the log is no room that somebody joined", rooms)
	}
	wantRefs(t, g1.relay, logOfA, 2)
	first.drops()
	late.drops()
	wantRefs(t, g1.relay, logOfA, 0)
	if _, there := g1.relay.hub.Last(logOfA); there {
		t.Error("the hub keeps the log of a user who is gone")
	}
}

// TestIdleSocketsHaveNoLog: where nothing happens, there is nothing to remember, and nobody is asked.
func TestIdleSocketsHaveNoLog(t *testing.T) {
	f := newFleet(t, nil)
	g := f.start("g1")
	f.long(f.commit(logOfA))
	f.guest("a", g)
	g.registered("a", 1)
	f.live(&eventv1.RoomEvent{RoomId: limits.UserLog("elsewhere"), Seq: 3})
	g.relay.logs.Resync()
	b := f.guest("b", g)
	g.registered("b", 1)
	f.publish(limits.UserLog("b"))
	b.wantEvents(limits.UserLog("b"), 1) // which is behind the others
	for _, room := range []string{logOfA, limits.UserLog("elsewhere")} {
		if _, there := g.relay.hub.Last(room); there {
			t.Errorf("the hub knows %q, want nothing of it", room)
		}
	}
	f.chat.mu.Lock()
	defer f.chat.mu.Unlock()
	if f.chat.reads != 0 {
		t.Errorf("chat-service was asked for events %d times, want 0", f.chat.reads)
	}
}

// TestFirstEventsOutOfOrder: rooms commit side by side, so that the first event that is heard need not be the first that there is.
func TestFirstEventsOutOfOrder(t *testing.T) {
	f := newFleet(t, nil)
	g := f.start("g1")
	for range 3 {
		f.long(f.commit(logOfA))
	}
	a := f.guest("a", g)
	g.registered("a", 1)
	e4, e5 := f.commit(logOfA), f.commit(logOfA)
	f.live(e5)
	f.live(e4)
	a.wantEvents(logOfA, 4, 5)
}

// TestUseq: a client that says what it has seen gets the rest, however long it was away, and then goes on.
func TestUseq(t *testing.T) {
	f := newFleet(t, nil)
	g := f.start("g1")
	for range 3 {
		f.commit(logOfA)
	}
	since := func(useq any) *guest {
		return (&guest{t: t, token: "a"}).says(g, map[string]any{"token": "a", "useq": useq})
	}
	clients := map[*guest][]int{since(0): {1, 2, 3}, since(1): {2, 3}, since(3): {}, since(2.0): {3}, f.guest("a", g): {}, since(nil): {}}
	for c, want := range clients {
		c.wantEvents(logOfA, want...)
	}
	for name, useq := range map[string]any{"more than there is": 4, "a string": "3", "negative": -1, "half": 1.5} {
		c := since(useq)
		sessiontest.Eventually(t, func() bool { return slices.Equal(c.got(), []string{`42["e","reset",3]`}) }, func() string {
			raw, _ := json.Marshal(c.got())
			return name + ": got " + string(raw) + ", want to be told that this is nothing that the log has"
		})
		c.drops()
	}
	g.registered("a", len(clients))
	f.publish(logOfA)
	f.publish(logOfA)
	for c, before := range clients {
		c.wantEvents(logOfA, append(before, 4, 5)...)
	}
}

// TestUserLogIsRecovered: whether the socket was in its log already or not, and again and again.
func TestUserLogIsRecovered(t *testing.T) {
	f := newFleet(t, nil)
	g1, g2 := f.start("g1"), f.start("g2")
	f.long(f.commit(logOfA)) // before the socket
	a := f.guest("a", g1)
	g1.registered("a", 1)
	a.drops()
	f.commit(logOfA)
	b := a.comes(g2) // it had got none
	b.wantRecovered(a, true)
	b.wantEvents(logOfA, 2)
	f.publish(logOfA)
	b.wantEvents(logOfA, 2, 3)
	b.drops()
	f.commit(logOfA)
	f.commit(logOfA)
	c := b.comes(g1)
	c.wantRecovered(a, true)
	c.wantEvents(logOfA, 4, 5)
	if len(c.before) != 2 {
		t.Errorf("%q before the CONNECT reply, want both", c.before)
	}
	f.publish(logOfA)
	c.wantEvents(logOfA, 4, 5, 6)
	c.drops()
	d := c.comes(g2)
	d.wantRecovered(a, true)
	g2.registered("a", 1)
	f.publish(logOfA)
	d.wantEvents(logOfA, 7)
}

// TestLostEventsOfLogs: what got lost on its way is found by asking whose logs have grown, whether the socket is in its log or not.
func TestLostEventsOfLogs(t *testing.T) {
	f := newFleet(t, nil)
	g := f.start("g1")
	a, b := f.guest("a", g), f.guest("b", g)
	g.registered("a", 1)
	g.registered("b", 1)
	f.publish(logOfA)
	a.wantEvents(logOfA, 1)
	f.commit(logOfA)
	logOfB := limits.UserLog("b")
	f.commit(logOfB)
	f.commit(logOfB)
	g.relay.logs.Resync()
	a.wantEvents(logOfA, 1, 2)
	b.wantEvents(logOfB, 1, 2)
	f.publish(logOfA)
	f.publish(logOfB)
	a.wantEvents(logOfA, 1, 2, 3)
	b.wantEvents(logOfB, 1, 2, 3)
}
