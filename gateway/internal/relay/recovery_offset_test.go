package relay

import (
	"testing"

	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

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

// TestForgedOffsetBehindEviction: a client that was evicted while away says that it has seen the eviction, or more, and gets nothing of what
// happened after it. One that tells the truth gets what happened up to it. Other rooms do not suffer.
func TestForgedOffsetBehindEviction(t *testing.T) {
	f := newFleet(t, nil)
	g1, g2 := f.start("g1"), f.start("g2")
	for name, test := range map[string]struct {
		seen uint64
		want []int
	}{"all of it": {0, []int{1, 2}}, "before": {1, []int{2}}, "the eviction": {2, nil}, "more": {3, nil}, "everything": {5, nil}} {
		t.Run(name, func(*testing.T) {
			room, other := "r"+name, "other"+name
			a := f.guest("a", g1)
			a.joins(room)
			a.joins(other)
			a.drops()
			f.commit(room)
			f.commit(room, func(e *eventv1.RoomEvent) { e.EvictUserId = "a" })
			for range 3 {
				f.commit(room) // of which a must learn nothing
			}
			a.offset = offsetOf(a.pid, 1, test.seen)
			b := a.comes(g2)
			b.wantRecovered(a, true)
			b.wantEvents(room, test.want...)
			b.Forget()
			f.publish(other)
			b.wantEvents(other, 1)
			b.drops()
		})
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
