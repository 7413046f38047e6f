package check

import (
	"github.com/starling-chat/starling/test/chaos/internal/history"
)

// acked is invariant 1. `kill -9` does not reveal a missing fsync, so the settings that make a commit durable are looked at too.
func acked(x *index, r *Result) {
	for _, s := range x.h.Settings {
		r.Checked++
		if (s.Name == "fsync" || s.Name == "synchronous_commit" || s.Name == "full_page_writes") && s.Value != "on" {
			r.fail(x, 0, "setting %s is %q: what is committed may be lost with the machine", s.Name, s.Value)
		}
	}
	for i := range x.h.Sends {
		s := &x.h.Sends[i]
		if s.Outcome != history.OK {
			continue
		}
		r.Checked++
		e := x.event(s.Room, s.Seq)
		switch {
		case e == nil:
			r.fail(x, s.Return, "%s with seq %d: the database has no such event", x.sent(s), s.Seq)
		case e.Kind != messageNew || e.ClientMsgID != s.ID || e.Message != s.Message || e.User != s.User:
			r.fail(x, s.Return, "%s with seq %d and id %s: there the database has %s %s of %s, clientMsgId %q", x.sent(s), s.Seq, s.Message,
				e.Kind, e.Message, x.userName(e.User), e.ClientMsgID)
		case !x.said(e, s.Body):
			r.fail(x, s.Return, "%s with seq %d: the database has another content", x.sent(s), s.Seq)
		case !x.aside(e, s.Asides):
			r.fail(x, s.Return, "%s with seq %d: the database has that it answers or mentions something else, %+v", x.sent(s), s.Seq, e.Asides)
		}
	}
}

// once is invariant 2, for the messages that were acked; unacked looks at the others.
func once(x *index, r *Result) {
	for i := range x.messages {
		m := &x.messages[i]
		if m.acked < 0 {
			continue
		}
		r.Checked++
		first := &x.h.Sends[m.acked]
		for _, n := range m.sends {
			if s := &x.h.Sends[n]; s.Outcome == history.OK && (s.Seq != first.Seq || s.Message != first.Message) {
				r.fail(x, s.Return, "%s with seq %d and id %s, but an earlier ack at %s said seq %d and id %s", x.sent(s), s.Seq, s.Message,
					clock(first.Return), first.Seq, first.Message)
			}
		}
		if len(m.rows) > 1 {
			a, b := x.h.Log[m.rows[0]], x.h.Log[m.rows[1]]
			r.fail(x, first.Return, "%s: %d rows in the database, seq %d in %s and seq %d in %s", x.sent(first), len(m.rows), a.Seq,
				x.roomName(a.Room), b.Seq, x.roomName(b.Room))
		}
	}
}

// contiguous is invariant 3.
func contiguous(x *index, r *Result) {
	for _, i := range x.stray {
		e := &x.h.Log[i]
		r.fail(x, x.h.Config.End, "%s: event %s has seq %d, which is taken, or above the room's last", x.roomName(e.Room), e.Kind, e.Seq)
	}
	for room := range x.h.Rooms {
		last := x.h.Rooms[room].LastSeq
		r.Checked += int(last) //nolint:gosec // sequences are far below 2^63
		rows := x.rows[room]
		for seq := uint64(1); seq <= last; seq++ {
			if seq < uint64(len(rows)) && rows[seq] != 0 {
				continue
			}
			hole := seq
			for seq < last && (seq+1 >= uint64(len(rows)) || rows[seq+1] == 0) {
				if seq+1 >= uint64(len(rows)) {
					seq = last // beyond the rows there is nothing
					break
				}
				seq++
			}
			r.fail(x, x.h.Config.End, "%s: no events %d to %d, last_seq is %d", x.roomName(room), hole, seq, last)
		}
		for seq := last + 1; seq < uint64(len(rows)); seq++ {
			if rows[seq] != 0 {
				r.fail(x, x.h.Config.End, "%s: event %d is above last_seq, which is %d", x.roomName(room), seq, last)
			}
		}
	}
}

// unacked is invariant 7, and looks whether refusals are honest. A message that is in the database although every attempt was
// refused is otherwise no violation, but worth a note.
func unacked(x *index, r *Result) {
	refused := 0
	x.honest(r)
	for i := range x.messages {
		m := &x.messages[i]
		if m.acked >= 0 {
			continue
		}
		r.Checked++
		s := &x.h.Sends[m.sends[0]]
		switch {
		case len(m.rows) > 1:
			r.fail(x, s.Return, "%s, never acked: %d rows in the database, seq %d and %d", x.sent(s), len(m.rows), x.h.Log[m.rows[0]].Seq,
				x.h.Log[m.rows[1]].Seq)
		case len(m.rows) == 1:
			if e := &x.h.Log[m.rows[0]]; !x.said(e, s.Body) || e.Room != s.Room || e.User != s.User {
				r.fail(x, s.Return, "%s, never acked: the database has it with another content, room or sender, seq %d", x.sent(s), e.Seq)
			}
			if !x.anyUnknown(m) {
				refused++
			}
		}
	}
	for i := range x.h.Log {
		e := &x.h.Log[i]
		if e.Kind != messageNew || !x.user(e.User) {
			continue
		}
		if _, known := x.byID[e.ClientMsgID]; !known {
			r.fail(x, x.h.Config.End, "%s has message %d of %s, clientMsgId %q, which nobody sent", x.roomName(e.Room), e.Seq,
				x.userName(e.User), e.ClientMsgID)
		}
	}
	if refused > 0 {
		r.note("%d messages are in the database though every attempt was refused", refused)
	}
}

// honest compares a refusal that promises that nothing was done with the database. An attempt before it that may have been stored
// excuses it; so does a next attempt, unless somebody saw the message before that was invoked.
func (x *index) honest(r *Result) {
	seenAt := x.firstSeen()
	for i := range x.messages {
		m := &x.messages[i]
		if len(m.rows) == 0 || !x.room(m.room) {
			continue
		}
		at, seen := seenAt[place{m.room, x.seqOf(m)}]
		for k, n := range m.sends {
			s := &x.h.Sends[n]
			if s.Outcome != history.Fail || s.Code == "internal" {
				break // from here on it may be stored
			}
			if s.Code != "unavailable" && s.Code != "rate_limited" {
				continue
			}
			r.Checked++
			if last := k+1 == len(m.sends); last || seen && at < x.h.Sends[m.sends[k+1]].Invoke {
				r.fail(x, s.Return, "%s (code %q): it is in the database, seq %d", x.sent(s), s.Code, x.seqOf(m))
				break
			}
		}
	}
}

func (x *index) anyUnknown(m *message) bool {
	for _, n := range m.sends {
		if s := &x.h.Sends[n]; s.Outcome == history.Unknown || s.Code == "internal" {
			return true
		}
	}
	return false
}
