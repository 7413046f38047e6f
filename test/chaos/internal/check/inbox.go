package check

import (
	"math"
	"slices"

	"github.com/starling-chat/starling/test/chaos/internal/history"
)

// inboxes is invariant 20: in the end what a device shows of the rooms of its user, without being in them, is what the database has:
//
//   - the rooms are those of which the user is a member;
//   - the last message and the number of messages are the room's. What a bus that failed has lost of that is owed with the next message, edit or
//     deletion: so of a room in which nothing was done recoveryTime after Healed only a new connection's inbox:state is judged.
//   - unread is the number of messages without those up to the marker, mentions is how many of these mention the user or everybody. A device
//     that kept up by its log knows neither what the user said elsewhere, nor mentions of everybody, nor that a mention was taken back. Where one of
//     these happened since the device heard of the user's marker, only a new connection's inbox:state is judged.
func inboxes(x *index, r *Result) {
	w := x.newStandings()
	for i := range x.h.Inboxes {
		if is := &x.h.Inboxes[i]; x.user(is.User) && x.h.Users[is.User].Revoked == 0 {
			w.inbox(r, is)
		}
	}
	if w.left > 0 {
		r.note("%d times something happened of which devices do not hear: there only new connections were judged", w.left)
	}
}

// standing is how a member stands to a room.
type standing struct {
	marker, n        uint64
	unread, mentions uint64
	own              uint64 // seq of the last message of its own
}

// standings is what the database has of all that inboxes show.
type standings struct {
	*index

	receipts map[receiver]*history.Receipt
	messages [][]*history.Event // by room, by seq
	active   []bool             // by room: something was said when all had been healed for a while
	silent   []uint64           // by room: the last event that may change mentions without devices hearing of it
	left     int                // comparisons that were left out
}

type receiver struct{ user, room int }

func (x *index) newStandings() *standings {
	rooms := len(x.h.Rooms)
	w := &standings{
		index: x, receipts: make(map[receiver]*history.Receipt), messages: make([][]*history.Event, rooms), active: make([]bool, rooms), silent: make([]uint64, rooms),
	}
	for i := range x.h.Receipts {
		r := &x.h.Receipts[i]
		w.receipts[receiver{r.User, r.Room}] = r
	}
	for room := range x.h.Rooms {
		for seq := range x.rows[room] {
			e := x.event(room, uint64(seq))
			switch {
			case e == nil:
			case e.Kind == messageNew:
				w.messages[room] = append(w.messages[room], e)
				if e.Asides.Everyone {
					w.silent[room] = e.Seq
				}
			case e.Kind == messageDeleted:
				w.silent[room] = e.Seq
			}
		}
	}
	for i := range x.h.Acts {
		a := &x.h.Acts[i]
		switch {
		case !x.room(a.Room) || !a.Renames:
		case a.Outcome == history.OK:
			w.silent[a.Room] = max(w.silent[a.Room], a.Seq)
		case a.Outcome == history.Unknown:
			w.silent[a.Room] = math.MaxUint64
		}
	}
	from := x.recoveredBy(x.h.Config.Healed)
	for i := range x.h.Sends {
		if s := &x.h.Sends[i]; s.Outcome == history.OK && s.Invoke >= from && x.room(s.Room) {
			w.active[s.Room] = true
		}
	}
	return w
}

// of computes how a user stands to a room; member is false where it is none.
func (w *standings) of(user, room int) (s standing, member bool) {
	changes := w.memberships(room)[user]
	if len(changes)%2 == 0 {
		return s, false
	}
	joined := changes[len(changes)-1]
	read := history.Receipt{}
	if r := w.receipts[receiver{user, room}]; r != nil {
		read = *r
	}
	marker := read.Read
	if read.Back != nil {
		marker = *read.Back
	}
	list := w.messages[room]
	for _, e := range list[max(0, len(list)-mostUnread):] { // what the user said further back moves nothing
		if e.User == user {
			s.own = e.Seq
		}
	}
	if s.own > max(marker, joined, read.BackHead) {
		marker = s.own
	}
	s.marker = marker
	for _, e := range list {
		switch {
		case e.Seq <= max(marker, joined):
			s.n = e.N
		case e.Asides.Everyone, e.User != user && slices.Contains(e.Asides.Mentions, user):
			s.mentions++
		}
	}
	s.mentions = min(s.mentions, mostMentions)
	s.unread = min(w.h.Rooms[room].Count-s.n, mostUnread)
	return s, true
}

// mostMentions is as far as mentions are counted.
const mostMentions = 100

// inbox compares what one device shows.
func (w *standings) inbox(r *Result, is *history.Inbox) {
	end := w.h.Config.End
	who := w.deviceName(listener{is.User, is.Device})
	fresh := is.Fresh
	shown := make(map[int]*history.InboxRoom)
	for i := range is.Rooms {
		shown[is.Rooms[i].Room] = &is.Rooms[i]
	}
	for room := range w.h.Rooms {
		s, member := w.of(is.User, room)
		is, listed := shown[room], shown[room] != nil
		switch {
		case listed != member:
			r.Checked++
			r.fail(w.index, end, "%s has %s in its inbox: %t, and its user is a member: %t", who, w.roomName(room), listed, member)
		case listed:
			w.room(r, who, fresh, is, s)
		}
	}
}

// room compares how a device shows one room.
func (w *standings) room(r *Result, who string, fresh bool, is *history.InboxRoom, s standing) {
	end, name, count := w.h.Config.End, w.roomName(is.Room), w.h.Rooms[is.Room].Count
	r.Checked++
	if !fresh && !w.active[is.Room] {
		w.left++
		return
	}
	if is.N != count || is.Seq > w.h.Rooms[is.Room].LastSeq {
		r.fail(w.index, end, "%s shows %s at event %d with %d messages: there are %d, and the last event is %d", who, name, is.Seq, is.N, count, w.h.Rooms[is.Room].LastSeq)
		return
	}
	if n := len(w.messages[is.Room]); n > 0 {
		if e := w.messages[is.Room][n-1]; is.Last != e.Message || is.Deleted != e.Deleted || is.Lead != e.Lead {
			r.fail(w.index, end, "%s shows a last message of %s that is not message %d as it is now: id %q, there %q, deleted %t, there %t, the same text %t", who, name,
				e.Seq, is.Last, e.Message, is.Deleted, e.Deleted, is.Lead == e.Lead)
		}
	}
	if !fresh && (is.At == 0 || s.own > is.At) {
		w.left++
		return
	}
	if is.Unread != s.unread {
		r.fail(w.index, end, "%s shows %d unread messages in %s, and by the database %d are unread", who, is.Unread, name, s.unread)
	}
	if !fresh && w.silent[is.Room] > is.At {
		w.left++
		return
	}
	if is.Mentions != s.mentions {
		r.fail(w.index, end, "%s shows %d mentions in %s, and by the database there are %d", who, is.Mentions, name, s.mentions)
	}
}
