package hub

import (
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/starling-chat/starling/gateway/internal/sequence"
	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/stats"
)

// Effects are what a call of the hub asks its caller to do. The hub does none of it by itself, because it holds a lock; the
// caller does it as soon as the call has returned.
type Effects struct {
	// Evicted are sockets that an event took out of the room. They get nothing more, and can't join again before the caller
	// calls LeaveEvicted for each.
	Evicted []*session.Socket
	// GapFound tells that events of the room are missing; it is told once until the gap is closed.
	GapFound bool
	// Lost tells that the socket missed an event: its conn has to be closed, so that the client comes back and recovers.
	Lost bool
}

// Hub holds the rooms with local members.
type Hub struct {
	shards []shard
	seed   maphash.Seed
	stats  *stats.Stats
	log    *slog.Logger

	joins atomic.Int64 // of sockets into rooms, so far
}

type shard struct {
	progress sync.Cond // of mu: events of a busy room have gone out

	mu    sync.Mutex // guards what follows
	rooms map[string]*room
	spare []sequence.Event // an empty slice for the next room that has events pending
}

// New makes a hub of n shards.
func New(n int, st *stats.Stats, log *slog.Logger) *Hub {
	h := &Hub{shards: make([]shard, n), seed: maphash.MakeSeed(), stats: st, log: log}
	for i := range h.shards {
		h.shards[i].rooms = make(map[string]*room)
		h.shards[i].progress.L = &h.shards[i].mu
	}
	return h
}

// Joins tells how many joins of sockets into rooms there have been.
func (h *Hub) Joins() int64 { return h.joins.Load() }

// Shards tells how many shards there are.
func (h *Hub) Shards() int { return len(h.shards) }

// Shard tells which shard a room belongs to, so that one goroutine can apply the events of each shard in order.
func (h *Hub) Shard(roomID string) int {
	return int(maphash.String(h.seed, roomID) % uint64(len(h.shards))) //nolint:gosec // below the number of shards
}

func (h *Hub) shard(roomID string) *shard { return &h.shards[h.Shard(roomID)] }

// Interned gives the text of a room's id that the hub has, where it has the room. Who keeps the id for a socket keeps that one: else
// there would be a copy for each member.
func (h *Hub) Interned(roomID string) string {
	sh := h.shard(roomID)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if r := sh.rooms[roomID]; r != nil {
		return r.id
	}
	return roomID
}

// Forget drops a room without members.
func (h *Hub) Forget(roomID string) {
	sh := h.shard(roomID)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if r := sh.rooms[roomID]; r != nil && len(r.members) == 0 {
		delete(sh.rooms, roomID)
		h.stats.Rooms.Dec()
	}
}

// Gap tells what a room misses.
func (h *Hub) Gap(roomID string) (after, upTo uint64, ok bool) {
	sh := h.shard(roomID)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	r := sh.rooms[roomID]
	if r == nil {
		return 0, 0, false
	}
	after, upTo, ok = r.seq.Gap()
	if !ok {
		r.gapTold = false
	}
	return after, upTo, ok
}

// Position is the stream's position of the last events of a room that went out; 0 when it is not known.
func (h *Hub) Position(roomID string) uint64 {
	sh := h.shard(roomID)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if r := sh.rooms[roomID]; r != nil {
		return r.position
	}
	return 0
}

// Head is where a room with members stands here.
type Head struct {
	RoomID string
	Last   uint64
}

// Heads lists where the started rooms with members stand.
func (h *Hub) Heads() []Head {
	var heads []Head
	for i := range h.shards {
		sh := &h.shards[i]
		sh.mu.Lock()
		for id, r := range sh.rooms {
			if last, started := r.seq.Started(); started && len(r.members) > 0 {
				heads = append(heads, Head{RoomID: id, Last: last})
			}
		}
		sh.mu.Unlock()
	}
	return heads
}

// Last tells up to which sequence a room's events went out here.
func (h *Hub) Last(roomID string) (uint64, bool) {
	sh := h.shard(roomID)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if r := sh.rooms[roomID]; r != nil {
		return r.seq.Started()
	}
	return 0, false
}

// Members gives the local sockets inside a room. Those that join it for the first time are not: their history comes first.
func (h *Hub) Members(roomID string) []*session.Socket {
	sh := h.shard(roomID)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	r := sh.rooms[roomID]
	if r == nil {
		return nil
	}
	sockets := make([]*session.Socket, 0, len(r.members))
	for i := range r.members {
		m := &r.members[i]
		if j := m.joining(); m.aside == nil || j != nil && j.inside {
			sockets = append(sockets, m.socket)
		}
	}
	return sockets
}
