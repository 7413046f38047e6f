package hub

import (
	"slices"

	"github.com/starling-chat/starling/gateway/internal/sequence"
	"github.com/starling-chat/starling/gateway/internal/session"
)

// room is the local part of a room. Its shard guards it.
type room struct {
	id      string
	seq     sequence.Sequencer
	members []member
	// position is the stream's of the last events in sequence; 0 when it is not known.
	position uint64

	// pending are events in sequence that go out next; the first out of them have gone already. busy is set while a call
	// carries them out, which gives the lock back in between.
	pending []sequence.Event
	out     int
	busy    bool

	gapTold bool
}

// last is the last sequence that was queued to the members.
func (r *room) last() uint64 {
	for i := range r.pending[r.out:] {
		if e := &r.pending[r.out+i]; e.Seq != 0 {
			return e.Seq - 1
		}
	}
	last, _ := r.seq.Started()
	return last
}

// unsent gives the durable events that have come and not gone out.
func (r *room) unsent() []sequence.Event {
	var unsent []sequence.Event
	for _, e := range r.pending[r.out:] {
		if e.Seq != 0 {
			unsent = append(unsent, e)
		}
	}
	return append(unsent, r.seq.Held()...)
}

// buffer keeps a durable event for the joining sockets. An ephemeral one is buffered when it goes out.
func (r *room) buffer(e sequence.Event) {
	for i := range r.members {
		if j := r.members[i].joining(); j != nil {
			j.add(e)
		}
	}
}

// evict takes the sockets of a user out of the room.
func (r *room) evict(e *sequence.Event, fx *Effects) {
	for i := range r.members {
		m := &r.members[i]
		if m.socket.UserID == e.EvictUser && m.aside == nil && (e.Seq == 0 || e.Seq > m.after) {
			m.evict(fx)
		}
	}
}

// Evict takes the sockets of users out of a room as of a sequence, although the event that says so has not come.
func (h *Hub) Evict(roomID string, users []string, seq uint64) Effects {
	sh := h.shard(roomID)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	var fx Effects
	for _, m := range sh.rooms[roomID].inside(users, seq) {
		m.evict(&fx)
	}
	return fx
}

// Bar has joins of the users' sockets that are under way go by nothing that is older than a sequence, that of an event that took the users out.
func (h *Hub) Bar(roomID string, users []string, seq uint64) {
	sh := h.shard(roomID)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	r := sh.rooms[roomID]
	if r == nil {
		return
	}
	for i := range r.members {
		m := &r.members[i]
		if j := m.joining(); j != nil && j.from < seq && slices.Contains(users, m.socket.UserID) {
			j.outOf = max(j.outOf, seq)
		}
	}
}

// Inside tells whether sockets of users are inside a room that joined it before a sequence.
func (h *Hub) Inside(roomID string, users []string, seq uint64) bool {
	sh := h.shard(roomID)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return len(sh.rooms[roomID].inside(users, seq)) > 0
}

// inside lists the members of users that joined before a sequence. Those that are joining come across the event by themselves, or are barred.
func (r *room) inside(users []string, seq uint64) (list []*member) {
	if r == nil {
		return nil
	}
	for i := range r.members {
		m := &r.members[i]
		if m.aside == nil && m.after < seq && slices.Contains(users, m.socket.UserID) {
			list = append(list, m)
		}
	}
	return list
}

// member is a socket in a room. There is one for each room of each socket, so it has nothing that most of them do not need.
type member struct {
	socket *session.Socket
	// after: durable events up to it were in the history that the socket got when it joined.
	after uint64
	// aside is non-nil while the socket is not sent the room's events: it joins, or was evicted.
	aside *aside
	index uint32 // the room's number in the socket's offsets
}

// aside is either what belongs to a join under way or, when evicted is there, a member that an event took out.
type aside struct {
	joining
	// evicted is there from the event that took the socket out until LeaveEvicted, which closes it.
	evicted chan struct{}
}

// joining gives what belongs to the member's join; nil unless there is a member that joins.
func (m *member) joining() *joining {
	if m == nil || m.aside == nil || m.aside.evicted != nil {
		return nil
	}
	return &m.aside.joining
}

// evicted is closed when the member has left, which an event took out; nil unless one did.
func (m *member) evicted() chan struct{} {
	if m.aside == nil {
		return nil
	}
	return m.aside.evicted
}

// evict silences the member until the caller of the hub has it leave.
func (m *member) evict(fx *Effects) {
	m.forget()
	m.aside = &aside{evicted: make(chan struct{})}
	fx.Evicted = append(fx.Evicted, m.socket)
}

// bufferEphemeral keeps ephemeral events for a joining socket.
func (m *member) bufferEphemeral(events []sequence.Event) {
	j := m.joining()
	if j == nil {
		return
	}
	for _, e := range events {
		if e.Seq == 0 {
			j.add(e)
		}
	}
}

// add adds a member. It makes room for a quarter more, not for twice as many: most rooms are small, and stay as they are.
func (r *room) add(m member) {
	if n := len(r.members); n == cap(r.members) {
		r.members = append(make([]member, 0, n+max(leastGrowth, n/4)), r.members...)
	}
	r.members = append(r.members, m)
}

// leastGrowth is for how many members at least a room makes room.
const leastGrowth = 2

func (r *room) member(s *session.Socket) *member {
	for i := range r.members {
		if r.members[i].socket == s {
			return &r.members[i]
		}
	}
	return nil
}

func (r *room) remove(s *session.Socket) {
	r.members = slices.DeleteFunc(r.members, func(m member) bool {
		if m.socket != s {
			return false
		}
		if evicted := m.evicted(); evicted != nil {
			close(evicted)
		} else {
			m.forget()
		}
		return true
	})
}

// forget takes the room out of the socket's offsets.
func (m *member) forget() {
	if m.socket.Offsets != nil {
		m.socket.Offsets.Leave(m.index)
	}
}

// maxBuffered bounds what is buffered for one joining socket; beyond it the join is tried again.
const maxBuffered = 4096

// joining buffers events while a socket joins, as they came: out of sequence, with repeats.
type joining struct {
	buffered []sequence.Event
	overflow bool
	inside   bool   // the socket was a member before: it joins again
	from     uint64 // what it had seen then
	// outOf is the sequence of an event that takes the user out of the room, if an eviction tells of it while the socket joins: what is read
	// of the room as it was before lets nobody in.
	outOf uint64
}

func (j *joining) add(e sequence.Event) {
	if len(j.buffered) >= maxBuffered {
		j.overflow = true
		return
	}
	j.buffered = append(j.buffered, e)
}

// release gives what the socket has to see after a history that ended at head, when the room went out up to last: the
// durable events head < seq ≤ last, all of them, in sequence, and the ephemeral ones. Events above last stay with the room's
// sequencer, which passes them on to all members. ok is false when one is missing.
func (j *joining) release(head, last uint64) (events []sequence.Event, ok bool) {
	if j.overflow {
		j.buffered, j.overflow = nil, false
		return nil, false
	}
	var durable, ephemeral []sequence.Event
	for _, e := range j.buffered {
		switch {
		case e.Seq == 0:
			ephemeral = append(ephemeral, e)
		case e.Seq > head && e.Seq <= last:
			durable = append(durable, e)
		}
	}
	slices.SortStableFunc(durable, func(a, b sequence.Event) int { return int(int64(a.Seq) - int64(b.Seq)) }) //nolint:gosec // sequences are far below 2^63
	durable = slices.CompactFunc(durable, func(a, b sequence.Event) bool { return a.Seq == b.Seq })
	if last > head && uint64(len(durable)) != last-head {
		return nil, false
	}
	return append(durable, ephemeral...), true
}
