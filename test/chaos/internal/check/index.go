package check

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/starling-chat/starling/test/chaos/internal/history"
)

const messageNew = "message:new"

// index is what several invariants look things up in. It is built once; the invariants only read it, but that agreed learns what edits said that
// were never acked.
type index struct {
	h *history.History

	// Where things are in h. A pair is one client and one room.
	rows     [][]int32 // by room and seq: position in h.Log plus 1; 0: no such event
	stray    []int32   // events whose seq does not fit into rows: 0, twice, or absurdly high
	messages []message // in the order first invoked
	byID     map[string]int32
	sockets  map[string]int // sid: user
	conns    [][]int32      // by user, by Up
	views    [][]int32      // by pair, by Start
	order    []int32        // deliveries by pair, within it as received
	from     []int32        // by pair: where it begins in order

	// What messages said, see bodies.go.
	bodies map[place][]body
	edits  map[place][]uint64 // Body of the edits of a message of which it is not known whether they were done
	// renamed are messages of which an edit may have changed whom they mention.
	renamed map[place]bool

	// What the rooms were.
	heads   []uint64 // by room, at headsAt
	headsAt history.Time
	members []map[int][]uint64 // by room; see memberships

	// What disturbed the run.
	faults    []*history.Fault // that were applied, by start, long stalls of the machine among them
	stalls    intervals        // of the machine
	disturbed intervals        // during a fault, and for recoveryTime after it
	entangled intervals        // during two faults at once, or one between clients and gateways
}

// message is all attempts to send one message.
type message struct {
	user, room int
	id         string
	sends      []int32 // by invoke
	acked      int32   // the first attempt that was OK; -1: none
	rows       []int32 // in h.Log
}

func newIndex(h *history.History) *index {
	x := &index{h: h, byID: make(map[string]int32), sockets: make(map[string]int)}
	for i := range h.Faults {
		if f := &h.Faults[i]; f.Error == "" {
			x.faults = append(x.faults, f)
		}
	}
	x.indexStalls()
	x.indexLog()
	x.indexMessages()
	x.indexBodies()
	x.indexConns()
	x.indexSights()
	x.indexFaults()
	return x
}

func (x *index) indexLog() {
	x.rows = make([][]int32, len(x.h.Rooms))
	count := make([]int, len(x.h.Rooms))
	for i := range x.h.Log {
		if room := x.h.Log[i].Room; x.room(room) {
			count[room]++
		}
	}
	for room := range x.rows {
		// Holes are allowed for, within reason.
		x.rows[room] = make([]int32, max(min(int(x.h.Rooms[room].LastSeq), 2*count[room]+1000), count[room])+1) //nolint:gosec // clamped by the other term
	}
	for i := range x.h.Log {
		e := &x.h.Log[i]
		if !x.room(e.Room) || e.Seq == 0 || e.Seq >= uint64(len(x.rows[e.Room])) || x.rows[e.Room][e.Seq] != 0 {
			x.stray = append(x.stray, int32(i))
			continue
		}
		x.rows[e.Room][e.Seq] = int32(i) + 1
	}
}

func (x *index) room(i int) bool { return i >= 0 && i < len(x.h.Rooms) }
func (x *index) user(i int) bool { return i >= 0 && i < len(x.h.Users) }

// event finds what the database has; nil: nothing.
func (x *index) event(room int, seq uint64) *history.Event {
	if !x.room(room) || seq >= uint64(len(x.rows[room])) || x.rows[room][seq] == 0 {
		return nil
	}
	return &x.h.Log[x.rows[room][seq]-1]
}

func (x *index) indexMessages() {
	for i := range x.h.Sends {
		s := &x.h.Sends[i]
		n, known := x.byID[s.ID]
		if !known {
			n = int32(len(x.messages)) //nolint:gosec // far below 2^31
			x.byID[s.ID] = n
			x.messages = append(x.messages, message{user: s.User, room: s.Room, id: s.ID, acked: -1})
		}
		m := &x.messages[n]
		m.sends = append(m.sends, int32(i))
		if s.Outcome == history.OK && m.acked < 0 {
			m.acked = int32(i)
		}
	}
	for i := range x.h.Log {
		if e := &x.h.Log[i]; e.Kind == messageNew {
			if n, known := x.byID[e.ClientMsgID]; known {
				x.messages[n].rows = append(x.messages[n].rows, int32(i))
			}
		}
	}
}

func (x *index) indexConns() {
	x.conns = make([][]int32, len(x.h.Users))
	for i := range x.h.Conns {
		c := &x.h.Conns[i]
		if !x.user(c.User) {
			continue
		}
		x.conns[c.User] = append(x.conns[c.User], int32(i))
		x.sockets[c.Socket] = c.User
	}
	for _, list := range x.conns {
		slices.SortStableFunc(list, func(a, b int32) int { return int(x.h.Conns[a].Up - x.h.Conns[b].Up) })
	}
}

// conn finds a connection by its number; nil: not recorded.
func (x *index) conn(user, number int) *history.Conn {
	if !x.user(user) {
		return nil
	}
	for _, i := range slices.Backward(x.conns[user]) {
		if x.h.Conns[i].Number == number {
			return &x.h.Conns[i]
		}
	}
	return nil
}

// upAt tells whether a connection of the user is up somewhere between two moments.
func (x *index) upAt(user int, from, to history.Time) bool {
	for _, i := range slices.Backward(x.conns[user]) {
		if c := &x.h.Conns[i]; c.Up <= to && (c.Down == 0 || c.Down >= from) {
			return true
		}
	}
	return false
}

// mayBeUp is upAt for those who may know of a connection before its client has read the answer.
func (x *index) mayBeUp(user int, from, to history.Time) bool {
	return slices.ContainsFunc(x.conns[user], func(i int32) bool {
		c := &x.h.Conns[i]
		return c.Dialled <= to && (c.Down == 0 || c.Down >= from)
	})
}

// upAll tells whether one connection of the user is up all the time between two moments.
func (x *index) upAll(user int, from, to history.Time) bool {
	for _, i := range slices.Backward(x.conns[user]) {
		if c := &x.h.Conns[i]; c.Up <= from && (c.Down == 0 || c.Down >= to) {
			return true
		}
	}
	return false
}

// left tells that a view ended because the client left the room, not because its connection ended.
func (x *index) left(v *history.View) bool {
	if v.End == 0 || v.Removing > 0 {
		return v.End > 0
	}
	const apart = 2 * time.Millisecond // two looks at the clock
	for _, i := range x.conns[v.User] {
		if c := &x.h.Conns[i]; c.Device == 0 && c.Down > 0 && (c.Down-v.End).Abs() <= apart {
			return false
		}
	}
	return true
}

// pair numbers what one client saw of one room.
func (x *index) pair(user, room int) int { return user*len(x.h.Rooms) + room }

func (x *index) indexSights() {
	pairs := len(x.h.Users) * len(x.h.Rooms)
	x.views = make([][]int32, pairs)
	for i := range x.h.Views {
		if v := &x.h.Views[i]; x.user(v.User) && x.room(v.Room) {
			x.views[x.pair(v.User, v.Room)] = append(x.views[x.pair(v.User, v.Room)], int32(i))
		}
	}
	x.from = make([]int32, pairs+1)
	known := func(d *history.Delivery) bool { return x.user(int(d.User)) && x.room(int(d.Room)) }
	for i := range x.h.Deliveries {
		if d := &x.h.Deliveries[i]; known(d) {
			x.from[x.pair(int(d.User), int(d.Room))+1]++
		}
	}
	for p := range pairs {
		x.from[p+1] += x.from[p]
	}
	x.order = make([]int32, x.from[pairs])
	next := slices.Clone(x.from)
	for i := range x.h.Deliveries {
		if d := &x.h.Deliveries[i]; known(d) {
			p := x.pair(int(d.User), int(d.Room))
			x.order[next[p]] = int32(i)
			next[p]++
		}
	}
}

// deliveries are those of one client and room, in the order received, as positions in h.Deliveries.
func (x *index) deliveries(pair int) []int32 { return x.order[x.from[pair]:x.from[pair+1]] }

// owed tells whether a member's client must get an event. The client must get all but its own joins and leaves, and events that
// except its socket.
func (x *index) owed(user int, e *history.Event) bool {
	if strings.HasPrefix(e.Kind, "room:") && e.User == user {
		return false
	}
	if e.Except != "" {
		if owner, known := x.sockets[e.Except]; known && owner == user {
			return false
		}
	}
	return true
}

func (x *index) userName(i int) string {
	if !x.user(i) {
		return fmt.Sprintf("user #%d", i)
	}
	return x.h.Users[i].ID
}

func (x *index) roomName(i int) string {
	if !x.room(i) {
		return fmt.Sprintf("room #%d", i)
	}
	return x.h.Rooms[i].ID
}

// sent describes an attempt.
func (x *index) sent(s *history.Send) string {
	return fmt.Sprintf("message %s of %s to %s, invoked %s, %s at %s", s.ID, x.userName(s.User), x.roomName(s.Room), clock(s.Invoke),
		s.Outcome, clock(s.Return))
}

// endOfFault is when a fault was over; one that never ended lasted until everything was healed.
func (x *index) endOfFault(f *history.Fault) history.Time {
	if f.End < f.Start {
		return max(x.h.Config.Healed, f.Start)
	}
	return f.End
}
