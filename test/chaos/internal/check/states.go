package check

import (
	"time"

	"github.com/starling-chat/starling/test/chaos/internal/history"
)

// states is invariant 16, state equality:
//
//   - in the database the version of each message is the sequence of the last thing that happened to it, and its reactions are those that
//     the room's log tells of, each once.
//   - in the end every client has of its rooms what the database has: the same messages, none missing and none besides, each in the same
//     state and version, whether the client saw that live, or lost it and asked for it. So has who reads a room from its beginning.
func states(x *index, r *Result) {
	last := make(map[place]uint64) // what happened to a message last
	for i := range x.h.Log {
		e := &x.h.Log[i]
		if of := subject(e); of.seq > 0 {
			last[of] = max(last[of], e.Seq)
		}
	}
	for i := range x.h.Log {
		e := &x.h.Log[i]
		if e.Kind != messageNew {
			continue
		}
		r.Checked++
		if want := last[subject(e)]; e.Version != want {
			r.fail(x, x.h.Config.End, "%s: message %d has version %d in the database, and event %d was the last that happened to it", x.roomName(e.Room), e.Seq,
				e.Version, want)
		}
	}
	for i := range x.h.States {
		same(x, r, &x.h.States[i])
	}
}

// same compares what one client has of one room.
func same(x *index, r *Result, s *history.State) {
	if !x.room(s.Room) {
		return
	}
	end := x.h.Config.End
	next := 0
	for seq := s.Since + 1; seq < uint64(len(x.rows[s.Room])); seq++ {
		e := x.event(s.Room, seq)
		if e == nil || e.Kind != messageNew {
			continue
		}
		r.Checked++
		for next < len(s.Messages) && uint64(s.Messages[next].Seq) < seq {
			r.fail(x, end, "%s (%s) has a message %d of %s that there is not", x.userName(s.User), s.Kept, s.Messages[next].Seq, x.roomName(s.Room))
			next++
		}
		if next == len(s.Messages) || uint64(s.Messages[next].Seq) != seq {
			r.fail(x, end, "%s (%s) does not have message %d of %s", x.userName(s.User), s.Kept, seq, x.roomName(s.Room))
			continue
		}
		if m := &s.Messages[next]; uint64(m.Version) != e.Version || m.Hash != e.Digest {
			r.fail(x, end, "%s (%s) has message %d of %s in another state than the database: version %d, there %d", x.userName(s.User), s.Kept, seq,
				x.roomName(s.Room), m.Version, e.Version)
		}
		next++
	}
	for ; next < len(s.Messages); next++ {
		r.fail(x, end, "%s (%s) has a message %d of %s that there is not", x.userName(s.User), s.Kept, s.Messages[next].Seq, x.roomName(s.Room))
	}
}

// badges is invariant 18: in the end the devices of a user show the same of each room, and what the database has; what a device shows without asking, from what it was
// told and what it saw the user say, is what the list says: as many as the room has messages behind the marker.
func badges(x *index, r *Result) {
	type of struct{ user, room int }
	first, standings := make(map[of]*history.Badge), x.newStandings()
	for i := range x.h.Badges {
		b := &x.h.Badges[i]
		if !x.user(b.User) || !x.room(b.Room) {
			continue
		}
		r.Checked++
		end := x.h.Config.End
		who := x.deviceName(listener{b.User, b.Device})
		if a := first[of{b.User, b.Room}]; a == nil {
			first[of{b.User, b.Room}] = b
		} else if a.Seq != b.Seq || a.N != b.N || a.Unread != b.Unread || a.Mentions != b.Mentions || a.Told != b.Told || a.ToldN != b.ToldN {
			r.fail(x, end, "%s shows %s read up to %d (n %d, unread %d, mentions %d, told %d), and device %d up to %d (n %d, unread %d, mentions %d, told %d)", who, x.roomName(b.Room),
				b.Seq, b.N, b.Unread, b.Mentions, b.Told, a.Device, a.Seq, a.N, a.Unread, a.Mentions, a.Told)
		}
		if s, member := standings.of(b.User, b.Room); !member || b.Seq != s.marker || b.N != s.n || b.Unread != s.unread || b.Mentions != s.mentions {
			r.fail(x, end, "%s shows %s read up to %d (n %d, unread %d, mentions %d), and by the database it is %d (n %d, unread %d, mentions %d)", who,
				x.roomName(b.Room), b.Seq, b.N, b.Unread, b.Mentions, s.marker, s.n, s.unread, s.mentions)
		}
		if b.Settled && b.ToldN+b.Told > 0 && b.Read != b.N {
			r.fail(x, end, "%s was told that %d messages of %s are read (%d with what the user said since), and the list says %d", who, b.ToldN, x.roomName(b.Room),
				b.Read, b.N)
		}
		if b.Settled && b.HeadN < mostUnread && b.Unread != b.HeadN-b.N {
			r.fail(x, end, "%s has %d messages of %s, of which %d are read: %d are unread, and the list says %d", who, b.HeadN, x.roomName(b.Room), b.N, b.HeadN-b.N,
				b.Unread)
		}
	}
}

// mostUnread is as far as unread messages are counted.
const mostUnread = 1000

// erased is invariant 19: of what a deleted message said nothing is in the database, nor after eraseGrace in the stream. What its row
// says, and what clients have, is for acked, acts and states.
func erased(x *index, r *Result) {
	deletedAt := make(map[place]history.Time)
	for i := range x.h.Acts {
		if a := &x.h.Acts[i]; a.Kind == messageDelete {
			of := place{a.Room, a.Target}
			deletedAt[of] = max(deletedAt[of], a.Return)
		}
	}
	for i := range x.h.Log {
		if x.h.Log[i].Deleted {
			r.Checked++
		}
	}
	for _, l := range x.h.Leaks {
		if l.Where == "the stream" && deletedAt[place{l.Room, l.Seq}]+eraseGrace > x.h.Config.End {
			continue
		}
		r.fail(x, x.h.Config.End, "%s: message %d is deleted, and what it said is in %s", x.roomName(l.Room), l.Seq, l.Where)
	}
}

// eraseGrace is how long the stream may have something of a message that was deleted: recoveryTime, and what was on its way meanwhile.
const eraseGrace = recoveryTime + 10*time.Second
