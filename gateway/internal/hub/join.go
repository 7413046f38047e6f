package hub

import (
	"github.com/starling-chat/starling/gateway/internal/sequence"
	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/transport"
)

// BeginJoin begins a socket's join of a room: events that come from now on are buffered for it until CompleteJoin or AbortJoin.
// Call it before the history is read. ok is false if the socket joins the room already, or was evicted and has not left yet: then
// left is closed once it has. index is the room's number in the socket's offsets, if it has any.
func (h *Hub) BeginJoin(s *session.Socket, roomID string, index uint32) (left <-chan struct{}, ok bool) {
	sh := h.shard(roomID)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	r := h.roomLocked(sh, roomID)
	unsent := r.unsent() // they go out while the socket joins
	if m := r.member(s); m != nil {
		if m.aside != nil {
			return m.evicted(), false
		}
		m.aside = &aside{joining: joining{inside: true, from: max(r.last(), m.after), buffered: unsent}}
		return nil, true
	}
	r.add(member{socket: s, index: index, aside: &aside{joining: joining{buffered: unsent}}})
	return nil, true
}

// BeginFirstJoin is BeginJoin for a socket that is not in the room in any way; ok is false if it is. last is the sequence up to which the
// room's events went out here; started is false if that is not known.
func (h *Hub) BeginFirstJoin(s *session.Socket, roomID string, index uint32) (last uint64, started, ok bool) {
	sh := h.shard(roomID)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	r := h.roomLocked(sh, roomID)
	if r.member(s) != nil {
		return 0, false, false
	}
	r.add(member{socket: s, index: index, aside: &aside{joining: joining{buffered: r.unsent()}}})
	_, started = r.seq.Started()
	return r.last(), started, true
}

// roomLocked gives a room, which it makes where there is none; its shard is locked.
func (h *Hub) roomLocked(sh *shard, roomID string) *room {
	r := sh.rooms[roomID]
	if r == nil {
		r = &room{id: roomID}
		sh.rooms[roomID] = r
		h.stats.Rooms.Inc()
	}
	return r
}

// CompleteJoin lets a socket in: the prelude (history, ack) is queued, then what came after head. It reports false when events
// between head and the room's present are not at hand, or the user was taken out behind head; the caller reads the history again, and the socket
// goes on joining.
func (h *Hub) CompleteJoin(s *session.Socket, roomID string, head uint64, prelude []*transport.Message, flushes *transport.FlushSet) (bool, Effects) {
	sh := h.shard(roomID)
	sh.mu.Lock()
	defer flushes.FlushDue() // after the unlock
	defer sh.mu.Unlock()
	var fx Effects
	r := sh.rooms[roomID]
	if r == nil {
		return true, fx
	}
	m := r.member(s)
	j := m.joining()
	if j == nil {
		return true, fx
	}
	if j.outOf > head {
		return false, fx
	}
	r.seq.Start(head, sh.pend(r))
	buffered, ok := j.release(head, r.last())
	if ok {
		h.joins.Add(1)
		m.aside, m.after = nil, head
		if s.Offsets != nil {
			s.Offsets.Set(m.index, head)
		}
		for _, p := range prelude {
			s.Append(p)
		}
		h.pass(m, buffered, &fx)
		flushes.Add(s.Conn())
	}
	h.carryOut(sh, r, flushes, &fx)
	return ok, fx
}

// pass queues what was buffered for a joining socket, up to the event that takes it out of the room.
func (h *Hub) pass(m *member, buffered []sequence.Event, fx *Effects) {
	for i := range buffered {
		e := &buffered[i]
		if e.Name != "" && !m.excepted(e) {
			if msg := h.encode(m.socket.Namespace, e); msg != nil {
				m.socket.AppendRun(m.index, []session.Outgoing{{Message: msg, Seq: e.Seq}})
			}
		}
		if e.EvictUser != "" && e.EvictUser == m.socket.UserID {
			m.evict(fx)
			return
		}
	}
}

// AbortJoin undoes BeginJoin: a socket that was not inside before is out.
func (h *Hub) AbortJoin(s *session.Socket, roomID string, flushes *transport.FlushSet) Effects {
	sh := h.shard(roomID)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	var fx Effects
	r := sh.rooms[roomID]
	if r == nil {
		return fx
	}
	m := r.member(s)
	j := m.joining()
	if j == nil {
		return fx
	}
	if !j.inside {
		r.remove(s)
		return fx
	}
	buffered, ok := j.release(j.from, r.last())
	barred := j.outOf > 0
	m.aside = nil
	if !ok {
		fx.Lost = true
		return fx
	}
	h.pass(m, buffered, &fx)
	flushes.Add(s.Conn())
	if barred && m.aside == nil { // the event that says so has not come
		m.evict(&fx)
	}
	return fx
}

// Leave takes a socket out of a room. One that was evicted stays until LeaveEvicted: whoever deals with the eviction would
// otherwise take the socket out of a room that it has joined again since.
func (h *Hub) Leave(s *session.Socket, roomID string) { h.leave(s, roomID, false) }

// LeaveEvicted takes a socket out of a room that it was evicted from, after everything else that the eviction means is done. From
// then on the socket may join again.
func (h *Hub) LeaveEvicted(s *session.Socket, roomID string) { h.leave(s, roomID, true) }

func (h *Hub) leave(s *session.Socket, roomID string, evicted bool) {
	sh := h.shard(roomID)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	r := sh.rooms[roomID]
	if r == nil {
		return
	}
	if m := r.member(s); m != nil && (m.evicted() != nil) == evicted {
		r.remove(s)
	}
}
