package hub

import (
	"slices"

	"github.com/starling-chat/starling/gateway/internal/sequence"
	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/transport"
)

// room is the local part of a room. Its shard guards it.
type room struct {
	id      string
	seq     sequence.Sequencer
	members []member
	gapTold bool
	// position is the stream's of the last events that went out; 0 when it is not known.
	position uint64

	// pending are events in sequence that go out next; the first out of them have gone already. busy is set while a call
	// carries them out, which gives the lock back in between.
	pending []sequence.Event
	out     int
	busy    bool
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

// early gives the durable events that have come and not gone out.
func (r *room) early() []sequence.Event {
	var early []sequence.Event
	for _, e := range r.pending[r.out:] {
		if e.Seq != 0 {
			early = append(early, e)
		}
	}
	return append(early, r.seq.Held()...)
}

// keep keeps a durable event back for the sockets at the door. An ephemeral one is kept when it goes out.
func (r *room) keep(e sequence.Event) {
	for i := range r.members {
		if d := r.members[i].door; d != nil {
			d.keep(e)
		}
	}
}

// evict takes the sockets of a user out of the room.
func (r *room) evict(e *sequence.Event, fx *Effects) {
	for i := range r.members {
		m := &r.members[i]
		if m.socket.UserID == e.EvictUser && m.door == nil && !m.evicted && (e.Seq == 0 || e.Seq > m.after) {
			m.evict(fx)
		}
	}
}

type member struct {
	socket *session.Socket
	index  uint32 // the room's number in the socket's offsets
	// after: durable events up to it were in the history that the socket got when it joined.
	after uint64
	// door is non-nil while the socket joins.
	door *door
	// evicted is set between the event that took the socket out and Leave.
	evicted bool
}

// queue queues an event: with the socket's offset, if it is durable.
func (m *member) queue(msg *transport.Message, seq uint64) bool {
	if seq == 0 {
		return m.socket.Append(msg)
	}
	return m.socket.AppendDurable(msg, m.index, seq)
}

// evict silences the member until the caller of the hub has it leave.
func (m *member) evict(fx *Effects) {
	m.forget()
	m.evicted = true
	fx.Evicted = append(fx.Evicted, m.socket)
}

// keepEphemeral keeps ephemeral events back for a socket at the door.
func (m *member) keepEphemeral(events []sequence.Event) {
	if m.door == nil {
		return
	}
	for _, e := range events {
		if e.Seq == 0 {
			m.door.keep(e)
		}
	}
}

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
		if !m.evicted {
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

// maxKept bounds what is kept back for one joining socket; beyond it the join is tried again.
const maxKept = 4096

// door keeps events back while a socket joins, as they came: out of sequence, with repeats.
type door struct {
	events   []sequence.Event
	overflow bool
	inside   bool   // the socket was a member before: it joins again
	from     uint64 // what it had seen then
}

func (d *door) keep(e sequence.Event) {
	if len(d.events) >= maxKept {
		d.overflow = true
		return
	}
	d.events = append(d.events, e)
}

// release gives what the socket has to see after a history that ended at head, when the room went out up to last: the
// durable events head < seq ≤ last, all of them, in sequence, and the ephemeral ones. Events above last stay with the room's
// sequencer, which passes them on to all members. ok is false when one is missing.
func (d *door) release(head, last uint64) (events []sequence.Event, ok bool) {
	if d.overflow {
		d.events, d.overflow = nil, false
		return nil, false
	}
	var durable, ephemeral []sequence.Event
	for _, e := range d.events {
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
