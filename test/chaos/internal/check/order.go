package check

import (
	"cmp"
	"slices"

	"github.com/starling-chat/starling/test/chaos/internal/history"
)

// agreed is invariant 5. An event that shows a message is told again with what the message is by then. It says of which version that is, and
// what was said by that version is the same for everybody, and what its author said.
func agreed(x *index, r *Result) {
	for i := range x.h.Deliveries {
		d := &x.h.Deliveries[i]
		r.Checked++
		e := x.event(int(d.Room), uint64(d.Seq))
		switch {
		case e == nil:
			r.fail(x, d.At, "%s saw event %d of %s at %s, which the database does not have", x.userName(int(d.User)), d.Seq,
				x.roomName(int(d.Room)), clock(d.At))
		case e.Hash != d.Hash:
			r.fail(x, d.At, "%s saw another event %d of %s at %s than the database has (%s)", x.userName(int(d.User)), d.Seq,
				x.roomName(int(d.Room)), clock(d.At), e.Kind)
		case d.Version > 0:
			if wrong := x.shows(e, uint64(d.Version), d.Body); wrong != "" {
				r.fail(x, d.At, "%s saw event %d of %s at %s (%s) %s", x.userName(int(d.User)), d.Seq, x.roomName(int(d.Room)), clock(d.At), e.Kind, wrong)
			}
		}
	}
}

// ordered is invariant 6, in two parts. A message that was acked before another one of the room was first invoked, by whomever,
// has the lower sequence. Of two messages of one sender on one connection, the one that was invoked first has the lower sequence,
// even if the second did not wait for the ack. The attempt that was acked is compared with the other message's first attempt:
// an attempt that came to nothing has no place in the order.
func ordered(x *index, r *Result) {
	rooms := make([][]int32, len(x.h.Rooms))
	for i := range x.messages {
		if m := &x.messages[i]; x.room(m.room) && len(m.rows) > 0 {
			rooms[m.room] = append(rooms[m.room], int32(i))
		}
	}
	for _, list := range rooms {
		acksOrder(x, r, list)
		sendersOrder(x, r, list)
	}
}

func (x *index) seqOf(m *message) uint64 { return x.h.Log[m.rows[0]].Seq }

// acksOrder walks through the invocations and keeps the highest sequence acked before.
func acksOrder(x *index, r *Result, list []int32) {
	first := func(n int32) history.Time { return x.h.Sends[x.messages[n].sends[0]].Invoke }
	byInvoke := slices.Clone(list)
	slices.SortFunc(byInvoke, func(a, b int32) int { return cmp.Compare(first(a), first(b)) })
	byAck := slices.DeleteFunc(slices.Clone(list), func(n int32) bool { return x.messages[n].acked < 0 })
	acked := func(n int32) *history.Send { return &x.h.Sends[x.messages[n].acked] }
	slices.SortFunc(byAck, func(a, b int32) int { return cmp.Compare(acked(a).Return, acked(b).Return) })
	highest, next := int32(-1), 0
	for _, n := range byInvoke {
		for next < len(byAck) && acked(byAck[next]).Return < first(n) {
			if highest < 0 || x.seqOf(&x.messages[byAck[next]]) > x.seqOf(&x.messages[highest]) {
				highest = byAck[next]
			}
			next++
		}
		r.Checked++
		if highest >= 0 && x.seqOf(&x.messages[highest]) > x.seqOf(&x.messages[n]) {
			r.fail(x, first(n), "%s has seq %d, but message %s, acked at %s before it was invoked, has %d", x.sent(&x.h.Sends[x.messages[n].sends[0]]),
				x.seqOf(&x.messages[n]), x.messages[highest].id, clock(acked(highest).Return), x.seqOf(&x.messages[highest]))
		}
	}
}

func sendersOrder(x *index, r *Result, list []int32) {
	type link struct{ user, conn int }
	type moment struct {
		at      history.Time
		message int32
		done    bool // the acked attempt of it, not the first one
	}
	links := make(map[link][]moment)
	for _, n := range list {
		m := &x.messages[n]
		s := &x.h.Sends[m.sends[0]]
		links[link{s.User, s.Conn}] = append(links[link{s.User, s.Conn}], moment{s.Invoke, n, false})
		if m.acked >= 0 {
			s := &x.h.Sends[m.acked]
			links[link{s.User, s.Conn}] = append(links[link{s.User, s.Conn}], moment{s.Invoke, n, true})
		}
	}
	for _, moments := range links {
		// At one moment first attempts come first: they are compared only with what was invoked strictly before.
		slices.SortStableFunc(moments, func(a, b moment) int {
			if c := cmp.Compare(a.at, b.at); c != 0 {
				return c
			}
			return cmp.Compare(b2i(a.done), b2i(b.done))
		})
		highest := int32(-1)
		for _, m := range moments {
			seq := x.seqOf(&x.messages[m.message])
			switch {
			case m.done && (highest < 0 || seq > x.seqOf(&x.messages[highest])):
				highest = m.message
			case !m.done && highest >= 0 && x.seqOf(&x.messages[highest]) > seq && !ackedBefore(x, highest, m.at):
				r.fail(x, m.at, "%s has seq %d, but message %s, invoked before it on the same connection, has %d",
					x.sent(&x.h.Sends[x.messages[m.message].sends[0]]), seq, x.messages[highest].id, x.seqOf(&x.messages[highest]))
			}
		}
	}
}

// ackedBefore tells whether acksOrder reports a violation already.
func ackedBefore(x *index, n int32, t history.Time) bool {
	return x.h.Sends[x.messages[n].acked].Return < t
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
