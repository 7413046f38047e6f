package hub

import (
	"hash/maphash"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/starling-chat/starling/gateway/internal/replay"
	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/stats"
	"github.com/starling-chat/starling/gateway/internal/transport"
	"github.com/starling-chat/starling/proto/namespaces"
)

// Watcher hears what the hub notices while it applies events. Calls come with a shard locked: they must not block nor call
// the hub.
type Watcher interface {
	// Evicted tells that an event took a socket out of a room.
	Evicted(s *session.Socket, roomID string)
	// GapFound tells that events of a room are missing; it is told once until the gap is closed.
	GapFound(roomID string)
}

// Hub holds the rooms with local members.
type Hub struct {
	shards  []shard
	seed    maphash.Seed
	watcher Watcher
	stats   *stats.Stats
	log     *slog.Logger
}

type shard struct {
	mu    sync.Mutex // guards what follows
	rooms map[string]*room
	ready []replay.Event // scratch of ApplyAll
}

// New makes a hub of n shards.
func New(n int, watcher Watcher, st *stats.Stats, log *slog.Logger) *Hub {
	h := &Hub{shards: make([]shard, n), seed: maphash.MakeSeed(), watcher: watcher, stats: st, log: log}
	for i := range h.shards {
		h.shards[i].rooms = make(map[string]*room)
	}
	return h
}

// Shards tells how many shards there are.
func (h *Hub) Shards() int { return len(h.shards) }

// Shard tells which shard a room belongs to, so that one goroutine can apply the events of each shard in order.
func (h *Hub) Shard(roomID string) int {
	return int(maphash.String(h.seed, roomID) % uint64(len(h.shards))) //nolint:gosec // below the number of shards
}

func (h *Hub) shard(roomID string) *shard { return &h.shards[h.Shard(roomID)] }

// Dirty collects the conns that have something queued, to be flushed once after a batch of events.
type Dirty struct{ conns []transport.Conn }

// Add notes a conn.
func (d *Dirty) Add(c transport.Conn) {
	if n := len(d.conns); n > 0 && d.conns[n-1] == c {
		return
	}
	d.conns = append(d.conns, c)
}

// Flush writes what the noted conns have queued.
func (d *Dirty) Flush() {
	for _, c := range d.conns {
		c.Flush()
	}
	clear(d.conns)
	d.conns = d.conns[:0]
}

// Begin puts a socket at the door of a room: events that come from now on are kept back for it until Complete or Abort.
// Call it before the history is read. It reports false if the socket stands there already. index is the room's number in the
// socket's offsets, if it has any.
func (h *Hub) Begin(s *session.Socket, roomID string, index uint32) bool {
	sh := h.shard(roomID)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	r := sh.rooms[roomID]
	if r == nil {
		r = &room{id: roomID}
		sh.rooms[roomID] = r
		h.stats.Rooms.Inc()
	}
	early := slices.Clone(r.seq.Held()) // they go out while the socket stands at the door
	if m := r.member(s); m != nil {
		if m.door != nil {
			return false
		}
		last, _ := r.seq.Started()
		m.door = &door{inside: true, from: max(last, m.after), events: early}
		return true
	}
	r.members = append(r.members, member{socket: s, index: index, door: &door{events: early}})
	return true
}

// Complete lets a socket in: the prelude (history, ack) is queued, then what came after head. It reports false when events
// between head and the room's present are not at hand; the caller reads the history again, and the socket stays at the door.
func (h *Hub) Complete(s *session.Socket, roomID string, head uint64, prelude []*transport.Message, dirty *Dirty) bool {
	sh := h.shard(roomID)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	r := sh.rooms[roomID]
	if r == nil {
		return true
	}
	m := r.member(s)
	if m == nil || m.door == nil {
		return true
	}
	var ready []replay.Event
	r.seq.Start(head, func(e replay.Event) { ready = append(ready, e) })
	h.fanOutAll(r, ready, dirty)
	last, _ := r.seq.Started()
	kept, ok := m.door.release(head, last)
	if !ok {
		return false
	}
	m.door, m.after = nil, head
	if s.Offsets != nil {
		s.Offsets.Set(m.index, head)
	}
	index := m.index
	for _, p := range prelude {
		s.Queue(p)
	}
	h.pass(r, s, kept, index)
	dirty.Add(s.Conn())
	return true
}

// pass queues what was kept back for a socket at the door, up to the event that takes it out of the room. The shard is
// locked.
func (h *Hub) pass(r *room, s *session.Socket, kept []replay.Event, index uint32) {
	for i := range kept {
		h.queue(s, &kept[i], index)
		if kept[i].EvictUser != "" && kept[i].EvictUser == s.UserID {
			r.remove(s)
			h.watcher.Evicted(s, r.id)
			return
		}
	}
}

// Abort undoes Begin: a socket that was not inside before is out.
func (h *Hub) Abort(s *session.Socket, roomID string) {
	sh := h.shard(roomID)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	r := sh.rooms[roomID]
	if r == nil {
		return
	}
	m := r.member(s)
	if m == nil || m.door == nil {
		return
	}
	if !m.door.inside {
		r.remove(s)
		return
	}
	last, _ := r.seq.Started()
	index := m.index
	kept, ok := m.door.release(m.door.from, last)
	m.door = nil
	if !ok {
		s.Close(transport.CodeTryAgainLater, transport.ReasonOverload) // it comes back and recovers
		return
	}
	h.pass(r, s, kept, index)
	s.Flush()
}

// Leave takes a socket out of a room.
func (h *Hub) Leave(s *session.Socket, roomID string) {
	sh := h.shard(roomID)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if r := sh.rooms[roomID]; r != nil {
		r.remove(s)
	}
}

// Forget drops a room without members and reports whether it is gone.
func (h *Hub) Forget(roomID string) bool {
	sh := h.shard(roomID)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	r := sh.rooms[roomID]
	if r == nil {
		return true
	}
	if len(r.members) > 0 {
		return false
	}
	delete(sh.rooms, roomID)
	h.stats.Rooms.Dec()
	return true
}

// Apply takes a room event that came from the bus or from a repair.
func (h *Hub) Apply(e replay.Event, dirty *Dirty) {
	h.ApplyAll(e.RoomID, []replay.Event{e}, 0, dirty)
}

// ApplyAll is Apply for events of one room that came together; position is theirs in the stream, 0 when it is not known.
func (h *Hub) ApplyAll(roomID string, events []replay.Event, position uint64, dirty *Dirty) {
	sh := h.shard(roomID)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	r := sh.rooms[roomID]
	if r == nil {
		return
	}
	ready := sh.ready[:0]
	pass := func(e replay.Event) { ready = append(ready, e) }
	for _, e := range events {
		for i := range r.members {
			if d := r.members[i].door; d != nil {
				d.keep(e)
			}
		}
		r.seq.Offer(e, pass)
	}
	if position != 0 && len(ready) > 0 && ready[len(ready)-1].Seq != 0 {
		r.position = position
	}
	h.fanOutAll(r, ready, dirty)
	clear(ready)
	if sh.ready = ready[:0]; cap(ready) > maxReady {
		sh.ready = nil
	}
	if _, _, gap := r.seq.Gap(); gap {
		if !r.gapTold {
			r.gapTold = true
			h.watcher.GapFound(r.id)
		}
		return
	}
	r.gapTold = false
}

// maxReady is how many events' room a shard keeps between two calls.
const maxReady = 256

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

// fanOutAll queues events to the members inside. The shard is locked.
func (h *Hub) fanOutAll(r *room, events []replay.Event, dirty *Dirty) {
	for len(events) > 0 {
		n := slices.IndexFunc(events, func(e replay.Event) bool { return e.EvictUser != "" }) + 1
		if n == 0 {
			n = len(events)
		}
		h.fanOutRun(r, events[:n], dirty)
		if e := events[n-1]; e.EvictUser != "" {
			h.evict(r, e)
		}
		events = events[n:]
	}
}

// fanOutRun queues events during which nobody enters or leaves. Each member takes all of them in turn: what belongs to a
// socket is touched once for many events, which is most of the cost in a large room.
func (h *Hub) fanOutRun(r *room, events []replay.Event, dirty *Dirty) {
	enc := make([]encoded, len(events))
	out := 0
	for i := range r.members {
		m := &r.members[i]
		if m.door != nil {
			continue
		}
		before := out
		for k := range events {
			e := &events[k]
			if e.Name == "" || e.Seq != 0 && e.Seq <= m.after || m.socket.ID == e.ExceptSocket {
				continue
			}
			if msg := enc[k].message(h, m.socket.Namespace, e); msg != nil && send(m.socket, msg, m.index, e.Seq) {
				out++
			}
		}
		if out > before {
			dirty.Add(m.socket.Conn())
		}
	}
	h.stats.EventsOut.Add(float64(out))
	now := time.Now()
	for k := range events {
		if events[k].Name != "" && !events[k].CausedAt.IsZero() {
			h.stats.Delivery.Observe(now.Sub(events[k].CausedAt).Seconds())
		}
	}
}

func (h *Hub) evict(r *room, e replay.Event) {
	r.members = slices.DeleteFunc(r.members, func(m member) bool {
		if m.socket.UserID != e.EvictUser || m.door != nil || e.Seq != 0 && e.Seq <= m.after {
			return false
		}
		m.forget()
		h.watcher.Evicted(m.socket, r.id)
		return true
	})
}

// send queues an event to a socket: with its offset, if it is durable.
func send(s *session.Socket, m *transport.Message, index uint32, seq uint64) bool {
	if seq == 0 {
		return s.Queue(m)
	}
	return s.QueueDurable(m, index, seq)
}

// queue encodes an event for one socket.
func (h *Hub) queue(s *session.Socket, e *replay.Event, index uint32) {
	if e.Name == "" || s.ID == e.ExceptSocket {
		return
	}
	var enc encoded
	if msg := enc.message(h, s.Namespace, e); msg != nil {
		send(s, msg, index, e.Seq)
	}
}

// encoded keeps the encodings of one event, one for each namespace that occurred.
type encoded struct {
	namespaces [namespaces.Count]string
	messages   [namespaces.Count]*transport.Message
	n          int
}

func (c *encoded) message(h *Hub, namespace string, e *replay.Event) *transport.Message {
	for i := range c.n {
		if c.namespaces[i] == namespace {
			return c.messages[i]
		}
	}
	msg, err := session.Emit{
		Namespace: namespace, Event: e.Name, Args: e.Args, Attachments: e.Attachments, Volatile: e.Seq == 0,
	}.Encode()
	if err != nil {
		h.log.Error("event cannot be encoded", slog.String("event", e.Name), slog.Any("error", err))
		return nil
	}
	if c.n < len(c.messages) {
		c.namespaces[c.n], c.messages[c.n] = namespace, msg
		c.n++
	}
	return msg
}
