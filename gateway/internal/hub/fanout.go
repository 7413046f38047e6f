package hub

import (
	"log/slog"
	"time"

	"github.com/starling-chat/starling/gateway/internal/sequence"
	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/transport"
)

// ApplyAll takes events of one room that came together, from the bus or from a repair; position is theirs in the stream, 0 when
// it is not known. What is queued is noted in flushes.
func (h *Hub) ApplyAll(roomID string, events []sequence.Event, position uint64, flushes *transport.FlushSet) Effects {
	sh := h.shard(roomID)
	sh.mu.Lock()
	defer flushes.FlushDue() // after the unlock
	defer sh.mu.Unlock()
	var fx Effects
	r := sh.rooms[roomID]
	for r != nil && r.busy && len(r.pending)-r.out >= maxPending {
		sh.progress.Wait() // the events are another call's to carry out, and this one must not run ahead of it
		r = sh.rooms[roomID]
	}
	if r == nil {
		return fx
	}
	before := len(r.pending)
	pend := sh.pend(r)
	for _, e := range events {
		if e.Seq != 0 {
			r.buffer(e)
		}
		r.seq.Offer(e, pend)
	}
	if n := len(r.pending); position != 0 && n > before && r.pending[n-1].Seq != 0 {
		r.position = position
	}
	h.carryOut(sh, r, flushes, &fx)
	_, _, gap := r.seq.Gap()
	fx.GapFound = gap && !r.gapTold
	r.gapTold = gap
	return fx
}

const (
	// runBytes is about how many bytes of events are queued to the members of a room before the lock is given back and what
	// is due is flushed: more would need as large a send buffer for every member.
	runBytes = 32 << 10
	// flushAfter is how many events go out before everything is flushed, when more come all the time.
	flushAfter = 256
	// maxPending is how many events of a room may be pending before those who bring more wait.
	maxPending = 1024
	// maxSpare is how many events' room a shard keeps between two calls.
	maxSpare = 256
)

// pend gives the function that appends to what a room has pending.
func (sh *shard) pend(r *room) func(sequence.Event) {
	if r.pending == nil {
		r.pending, sh.spare = sh.spare, nil
	}
	return func(e sequence.Event) { r.pending = append(r.pending, e) }
}

// carryOut queues what is pending to the members inside. The shard is locked, and is unlocked between two runs while conns are
// flushed. Events that come meanwhile are pending too: whoever is at work carries them out, and their order is kept.
func (h *Hub) carryOut(sh *shard, r *room, flushes *transport.FlushSet, fx *Effects) {
	if r.busy {
		return
	}
	r.busy = true
	unflushed := 0
	for len(r.pending) > r.out {
		run := r.pending[r.out:]
		run = run[:runLength(run)]
		h.fanOut(r, run, flushes)
		r.out += len(run)
		sh.progress.Broadcast()
		if last := &run[len(run)-1]; last.EvictUser != "" {
			r.evict(last, fx)
		}
		if len(r.pending) > r.out {
			unflushed += len(run)
			sh.mu.Unlock()
			if unflushed >= flushAfter {
				flushes.Flush()
				unflushed = 0
			} else {
				flushes.FlushDue()
			}
			sh.mu.Lock()
		}
	}
	r.busy = false
	sh.progress.Broadcast()
	clear(r.pending)
	if cap(r.pending) <= maxSpare {
		sh.spare = r.pending[:0]
	}
	r.pending, r.out = nil, 0
}

// runLength tells how many events go out in one run: up to runBytes of them, and none behind one that evicts somebody.
func runLength(events []sequence.Event) int {
	bytes := 0
	for i := range events {
		e := &events[i]
		bytes += len(e.Args)
		for _, a := range e.Attachments {
			bytes += len(a)
		}
		if e.EvictUser != "" || bytes >= runBytes {
			return i + 1
		}
	}
	return len(events)
}

// fanOut queues events during which nobody enters or leaves. Each member takes all of them in turn: what belongs to a socket is
// touched once for many events, which is most of the cost in a large room.
func (h *Hub) fanOut(r *room, events []sequence.Event, flushes *transport.FlushSet) {
	var few [3]encoding
	enc := encodings(few[:0])
	outgoing := make([]session.Outgoing, 0, len(events))
	out := 0
	for i := range r.members {
		m := &r.members[i]
		if m.aside != nil {
			m.bufferEphemeral(events)
			continue
		}
		messages := enc.of(h, m.socket.Namespace, events)
		outgoing = outgoing[:0]
		for k := range events {
			e := &events[k]
			if messages[k] != nil && (e.Seq == 0 || e.Seq > m.after) && !m.excepted(e) {
				outgoing = append(outgoing, session.Outgoing{Message: messages[k], Seq: e.Seq})
			}
		}
		if len(outgoing) > 0 {
			out += m.socket.AppendRun(m.index, outgoing)
			flushes.Add(m.socket.Conn()) // also when nothing was taken: a flush closes a conn that overflowed
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

// excepted tells whether an event is for the others only.
func (m *member) excepted(e *sequence.Event) bool {
	return m.socket.ID == e.ExceptSocket || e.ExceptUser != "" && m.socket.UserID == e.ExceptUser
}

// encodings are the messages of a run of events, made once for each namespace that occurs.
type encodings []encoding

type encoding struct {
	namespace string
	messages  []*transport.Message // one for each event, nil where there is nothing to emit
}

func (c *encodings) of(h *Hub, namespace string, events []sequence.Event) []*transport.Message {
	for i := range *c {
		if e := &(*c)[i]; e.namespace == namespace {
			return e.messages
		}
	}
	messages := make([]*transport.Message, len(events))
	for k := range events {
		if events[k].Name != "" {
			messages[k] = h.encode(namespace, &events[k])
		}
	}
	*c = append(*c, encoding{namespace, messages})
	return messages
}

// encode makes the message of an event for a namespace, nil when it cannot be encoded.
func (h *Hub) encode(namespace string, e *sequence.Event) *transport.Message {
	m, err := session.Emit{
		Namespace: namespace, Event: e.Name, Args: e.Args, Attachments: e.Attachments, Volatile: e.Seq == 0,
	}.Encode()
	if err != nil {
		h.log.Error("event cannot be encoded", slog.String("event", e.Name), slog.Any("error", err))
		return nil
	}
	return m
}
