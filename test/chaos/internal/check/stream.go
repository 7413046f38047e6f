package check

import (
	"time"

	"github.com/starling-chat/starling/test/chaos/internal/history"
)

// streamAge is how far back the stream is trusted to reach: a little less than the STREAM_MAX_AGE that the rig sets, 2 h.
const streamAge = 110 * time.Minute

// streamed is invariant 14: the stream has every event that was committed since its present incarnation began. The events of a
// room are committed in sequence; so all events from the first message on that was invoked after StreamSince have to be there. When a
// message is deleted the stream forgets all of its room, for eraseTime again and again: there it counts what comes after that.
func streamed(x *index, r *Result) {
	if x.h.Streamed == nil {
		return
	}
	ranges := make([][]history.Range, len(x.h.Rooms))
	for _, s := range x.h.Streamed {
		if x.room(s.Room) {
			ranges[s.Room] = append(ranges[s.Room], s)
		}
	}
	since := x.h.StreamSince
	if x.h.Config.End-streamAge > since {
		since = x.h.Config.End - streamAge
		r.note("only events since %s are expected: the stream forgets after two hours", clock(since))
	}
	for room, from := range x.firstAfter(x.forgotten(since)) {
		last := uint64(len(x.rows[room]))
		has := make([]bool, last)
		for _, s := range ranges[room] {
			for seq := s.From; seq <= s.To && seq < last; seq++ {
				has[seq] = true
			}
		}
		for seq := from; seq < last; seq++ {
			if x.event(room, seq) == nil {
				continue
			}
			r.Checked++
			if !has[seq] && x.besideDeleted(room, seq) {
				r.note("%s: event %d was committed at the time of something that was deleted: what the outbox has of it is not published", x.roomName(room), seq)
				continue
			}
			if !has[seq] {
				hole := seq
				for seq+1 < last && x.event(room, seq+1) != nil && !has[seq+1] {
					seq++
				}
				r.fail(x, x.h.Config.End, "%s: events %d to %d are in the database and not in the stream", x.roomName(room), hole, seq)
			}
		}
	}
}

// eraseTime is for how long after a deletion the stream is told to forget what it has of the room: 20 s, and what that takes under faults.
const eraseTime = 35 * time.Second

// forgotten is, by room, until when the stream may have been told to forget what it had, since is that of all rooms.
func (x *index) forgotten(since history.Time) []history.Time {
	until := make([]history.Time, len(x.h.Rooms))
	for room := range until {
		until[room] = since
	}
	for i := range x.h.Acts {
		if a := &x.h.Acts[i]; a.Kind == messageDelete && x.room(a.Room) {
			until[a.Room] = max(until[a.Room], a.Return+eraseTime)
		}
	}
	return until
}

// firstAfter is, by room, the first sequence that was surely committed after a moment of the room; all of the room's that follow were too.
func (x *index) firstAfter(since []history.Time) []uint64 {
	from := make([]uint64, len(x.h.Rooms))
	for room := range from {
		from[room] = uint64(len(x.rows[room]))
		if since[room] <= 0 {
			from[room] = 1
		}
	}
	for i := range x.messages {
		m := &x.messages[i]
		if !x.room(m.room) || x.h.Sends[m.sends[0]].Invoke < since[m.room] {
			continue
		}
		for _, n := range m.rows {
			if e := &x.h.Log[n]; x.room(e.Room) {
				from[e.Room] = min(from[e.Room], e.Seq)
			}
		}
	}
	return from
}

// besideDeleted tells that an event may have been committed in one transaction with something about a message that was deleted later: what the
// outbox still has of such a transaction goes with the message, and gateways find the others of its events in the log. An event of which
// nobody knows when it was asked for may have been.
func (x *index) besideDeleted(room int, seq uint64) bool {
	when := x.askedFor(room, seq)
	of := func(room int, seq uint64) bool {
		e := x.event(room, seq)
		return e != nil && e.Deleted
	}
	for i := range x.h.Acts {
		if a := &x.h.Acts[i]; of(a.Room, a.Target) && (when == interval{} || a.Invoke <= when.to && a.Return >= when.from) {
			return true
		}
	}
	for i := range x.messages {
		m := &x.messages[i]
		if len(m.rows) == 0 || !x.h.Log[m.rows[0]].Deleted {
			continue
		}
		if at := x.askedFor(m.room, x.seqOf(m)); at.from <= when.to && at.to >= when.from {
			return true
		}
	}
	return false
}

// askedFor is when somebody asked for an event, from the first attempt on; zero: it is not known.
func (x *index) askedFor(room int, seq uint64) (at interval) {
	add := func(from, to history.Time) {
		if at == (interval{}) {
			at = interval{from, to}
		}
		at = interval{min(at.from, from), max(at.to, to)}
	}
	if e := x.event(room, seq); e != nil && e.Kind == messageNew {
		if n, known := x.byID[e.ClientMsgID]; known {
			for _, i := range x.messages[n].sends {
				add(x.h.Sends[i].Invoke, x.h.Sends[i].Return)
			}
		}
		return at
	}
	for i := range x.h.Acts {
		if a := &x.h.Acts[i]; a.Room == room && a.Seq == seq {
			add(a.Invoke, a.Return)
		}
	}
	return at
}
