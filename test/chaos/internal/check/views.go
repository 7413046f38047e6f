package check

import (
	"github.com/starling-chat/starling/test/chaos/internal/history"
)

// seen is invariant 4. It follows the position of each client in each room:
//
//	join      history since+1..head     live, replayed after a recovery     join with since on a fresh connection
//	  │       messages only, complete      every event owed, one by one       │   continues at the position
//	  └─ position = head ─────────────▶ position = seq ─────────────────────▶ └─ position = head ──▶
//
// Not owed are a client's own joins and leaves, events that except its socket, and, between `since` and a join's head, all
// events but messages: room:history does not have them. A join without `since` claims nothing about what came before it; its
// history has to be the last joinBrings messages up to the head, without holes. Nothing may come before the ack of a join, save its history.
func seen(x *index, r *Result) {
	for user := range x.h.Users {
		for room := range x.h.Rooms {
			s := sight{x: x, r: r, user: user, room: room, views: x.views[x.pair(user, room)]}
			s.walk()
		}
	}
}

// sight is what one client sees of one room.
type sight struct {
	x          *index
	r          *Result
	user, room int
	views      []int32 // not yet entered

	view     *history.View // entered
	history  []uint64      // of view: what its join brought
	judged   bool          // history was looked at
	position uint64
	began    bool // a position is known
}

func (s *sight) walk() {
	for _, n := range s.x.deliveries(s.x.pair(s.user, s.room)) {
		d := &s.x.h.Deliveries[n]
		s.r.Checked++
		for len(s.views) > 0 && s.belongs(d, &s.x.h.Views[s.views[0]]) {
			s.enter()
		}
		switch {
		case s.view == nil || int(d.Conn) < s.view.Conn || s.view.End > 0 && d.At > s.view.End:
			s.outside(d)
		case d.Source == history.Joined:
			s.joined(d)
		default:
			s.live(d)
		}
	}
	for len(s.views) > 0 {
		s.enter()
	}
	s.judge()
}

// outside is a delivery in no view. Those to users who left or were revoked are for outsiders to judge.
func (s *sight) outside(d *history.Delivery) {
	u := &s.x.h.Users[s.user]
	gone := s.view != nil && s.x.left(s.view) || u.Outcast && len(s.views) == 0 || u.Revoked > 0 && d.At > u.Revoked
	if !gone {
		s.fail(d.At, "got event %d on connection %d before its join was acked", d.Seq, d.Conn)
	}
	s.position = max(s.position, uint64(d.Seq))
}

// belongs tells that a delivery is of the next view. The history comes before the ack; and an event above the join's head
// belongs to it even if the client wrote the ack down late.
func (s *sight) belongs(d *history.Delivery, next *history.View) bool {
	switch {
	case int(d.Conn) < next.Conn || d.At < next.Invoke:
		return false
	case int(d.Conn) > next.Conn || d.Source == history.Joined || d.At >= next.Start:
		return true
	}
	return uint64(d.Seq) > next.Head
}

func (s *sight) enter() {
	s.judge()
	s.view = &s.x.h.Views[s.views[0]]
	s.views = s.views[1:]
	s.history, s.judged = s.history[:0], false
}

func (s *sight) joined(d *history.Delivery) {
	seq := uint64(d.Seq)
	switch {
	case s.judged:
		s.fail(d.At, "got event %d by a history after live events", seq)
	case len(s.history) > 0 && seq <= s.history[len(s.history)-1]:
		s.fail(d.At, "got a history with %d after %d", seq, s.history[len(s.history)-1])
	case s.view.Since > 0 && seq <= s.view.Since, seq > s.view.Head:
		s.fail(d.At, "got a history with %d, joined since %d with head %d", seq, s.view.Since, s.view.Head)
	}
	s.history = append(s.history, seq)
}

func (s *sight) live(d *history.Delivery) {
	s.judge()
	seq := uint64(d.Seq)
	if seq <= s.position {
		s.fail(d.At, "got event %d again, or late: it was at %d", seq, s.position)
		return
	}
	s.missing(d.At, s.position, seq-1, func(e *history.Event) bool { return s.x.owed(s.user, e) })
	s.position = seq
}

// judge looks at the join of the view, when all of its history is there.
func (s *sight) judge() {
	if s.view == nil || s.judged {
		return
	}
	s.judged = true
	v := s.view
	have := make(map[uint64]bool, len(s.history))
	for _, seq := range s.history {
		have[seq] = true
	}
	from := v.Since
	switch {
	case v.Since > 0 && s.began:
		s.missing(v.Start, s.position, v.Since, func(e *history.Event) bool { return e.Kind == messageNew })
	case v.Since == 0 && len(s.history) > 0:
		from = s.history[0] - 1
		if has := s.messages(v.Head); len(s.history) < min(has, joinBrings) {
			s.fail(v.Start, "join brought %d messages of %d up to its head %d", len(s.history), has, v.Head)
		}
	}
	s.missing(v.Start, from, v.Head, func(e *history.Event) bool {
		// What the client has from before the join need not come again.
		return e.Kind == messageNew && !have[e.Seq] && (v.Since == 0 || e.Seq > s.position || !s.began)
	})
	s.position, s.began = max(s.position, v.Head), true
	if v.Since == 0 {
		s.position = v.Head
	}
}

// joinBrings is how many messages a join without since brings (docs/events.md), of a room that has so many.
const joinBrings = 50

// messages counts those of the room up to a sequence, as far as it matters.
func (s *sight) messages(upTo uint64) (n int) {
	for seq := min(upTo, uint64(len(s.x.rows[s.room]))); seq > 0 && n < joinBrings; seq-- {
		if e := s.x.event(s.room, seq); e != nil && e.Kind == messageNew {
			n++
		}
	}
	return n
}

// missing reports the events after < seq ≤ upTo that fit.
func (s *sight) missing(at history.Time, after, upTo uint64, fits func(*history.Event) bool) {
	var first, last uint64
	n := 0
	upTo = min(upTo, uint64(len(s.x.rows[s.room]))) // beyond, the database has nothing that could be missed
	for seq := after + 1; seq <= upTo; seq++ {
		if e := s.x.event(s.room, seq); e != nil && fits(e) {
			if n == 0 {
				first = seq
			}
			last = seq
			n++
		}
	}
	if n > 0 {
		s.fail(at, "did not see %d events, from %d to %d (view of connection %d since %d, head %d)", n, first, last, s.view.Conn,
			s.view.Since, s.view.Head)
	}
}

func (s *sight) fail(at history.Time, format string, args ...any) {
	prefix := []any{s.x.userName(s.user), s.x.roomName(s.room), clock(at)}
	s.r.fail(s.x, at, "%s in %s at %s "+format, append(prefix, args...)...)
}
