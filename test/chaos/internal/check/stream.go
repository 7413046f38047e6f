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
