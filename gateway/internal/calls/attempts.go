package calls

import (
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/starling-chat/starling/gateway/internal/services"
	"github.com/starling-chat/starling/gateway/internal/transport"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// A request without an answer is sent again, and what a late attempt does may undo what the client has done since. For most events that is no
// harm: they only read, or the service recognises a repeat. For the others, which the service announces as such, one attempt at most may be
// begun at any time, and the client is answered when none may be:
//
//	attempt 1  |── may be begun ──|············· its answer comes: the call is held
//	attempt 2                      |────── may be begun ──────|
//	                                               ▲          ▲
//	the call ends when it is answered as well ─────┘ or ──────┘ may not be begun any more
//
// What an earlier attempt began is done before what the latest one does, or what the client asks for next: it holds the locks of its room.

// complete ends the call that a reply is for, when it is answered: its reply is then what all replies together say. A reply
// that is not final does not end it while another attempt is out, which may yet succeed; nor does one that is final while another attempt may
// be begun that must not. A request of which nothing was done goes out again, to a replica that may be better off; but not when there is none.
func (c *Calls) complete(to uint64, reply *eventv1.ClientReply, absent bool) (call, bool) {
	id, attempt := attemptOf(to)
	sh := c.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	found, ok := sh.open[id]
	if !ok {
		return found, false
	}
	found.answered++
	found.latest = found.latest || attempt == found.attempts
	if services.NotExecuted(reply, found.request.Len()) {
		found.notExecuted++
	}
	found.reply = services.Merge(found.reply, reply, found.request.Len())
	switch {
	case !services.IsFinal(found.reply):
		out := found.attempts - found.answered
		again := found.notExecuted == found.attempts && !absent && !found.again.IsZero() && found.attempts < maxAttempts && c.mayRepeat()
		if again {
			found.again = time.Time{}.Add(1) // with the next tick
		}
		if out > 0 || again {
			sh.open[id] = found
			return found, false
		}
	case found.mayBegin(time.Now()):
		sh.open[id] = found // held
		return found, false
	}
	delete(sh.open, id)
	c.count.Add(-1)
	return found, true
}

// The numbers of ClientEvent's attempt, patience_ms and begin_ms.
const (
	fieldAttempt  = 10
	fieldPatience = 12
	fieldBegin    = 13
)

// patienceSize is what patience_ms takes at most, and as much what begin_ms does.
const patienceSize = 6

// appendPatience adds to a request until when it is waited for, in a form that a replica understands whose clock is another one: what was
// heard of the replicas' clocks, and the time that is left. The time is looked at after what was heard was taken, never before: a replica
// counts from there.
func appendPatience(payload, heard []byte, deadline time.Time) []byte {
	left := max(time.Until(deadline).Milliseconds(), 1)
	payload = protowire.AppendTag(append(payload, heard...), fieldPatience, protowire.VarintType)
	return protowire.AppendVarint(payload, uint64(left))
}

// appendBegin adds until when an attempt may be begun, where another one follows then.
func appendBegin(payload []byte, again time.Time) []byte {
	left := max(time.Until(again).Milliseconds(), 1)
	return protowire.AppendVarint(protowire.AppendTag(payload, fieldBegin, protowire.VarintType), uint64(left))
}

// maxAttempts is how often a request is sent within the patience for it, when no answer comes: its replica died, or hangs,
// and NATS picks any other one of the queue group.
const maxAttempts = 4

// replyTo is the number under which the reply to an attempt comes to the inbox; attempts count from 1.
func replyTo(id uint64, attempt uint32) uint64 { return id*maxAttempts + uint64(attempt-1) }

func attemptOf(to uint64) (id uint64, attempt uint32) {
	return to / maxAttempts, uint32(to%maxAttempts) + 1
}

// nextAttempt is when the attempt after one that is made now is due, or the deadline, where there is none before.
func (c *Calls) nextAttempt(w *call, now time.Time) time.Time {
	next := now.Add(c.cfg.Timeout / maxAttempts)
	if w.attempts == maxAttempts || next.After(w.deadline) {
		return w.deadline
	}
	return next
}

// mayBegin tells whether an attempt may yet be begun that must not be when the client is answered: the latest one, since those before may be
// no more, while nobody has said what became of it.
func (w *call) mayBegin(now time.Time) bool { return w.oneAtATime && !w.latest && !now.After(w.again) }

// held tells whether only mayBegin keeps a call from its end.
func (w *call) held() bool { return w.oneAtATime && w.reply != nil && services.IsFinal(w.reply) }

// Repeats are throttled, so that a service that is only slow does not get several times the load: each costs repeatPrice, each
// request answered gives 1 back, and no more than repeatBudget is saved.
const (
	repeatPrice  = 10
	repeatBudget = 2000 * repeatPrice
)

// earnRepeat is called by the one goroutine that handles replies, as is mayRepeat.
func (c *Calls) earnRepeat() { c.budget = min(c.budget+1, repeatBudget) }

func (c *Calls) mayRepeat() bool {
	if c.budget < repeatPrice {
		return false
	}
	c.budget -= repeatPrice
	return true
}

// expire ends the calls that waited too long or are held no more, and sends those again that may be and wait for long.
func (c *Calls) expire(now time.Time, flushes *transport.FlushSet) {
	for i := range c.shards {
		sh := &c.shards[i]
		var settled, late, again []call
		var ids []uint64
		sh.mu.Lock()
		for id, w := range sh.open {
			switch {
			case w.held():
				if !w.mayBegin(now) {
					settled = append(settled, w)
					delete(sh.open, id)
					c.count.Add(-1)
				}
			case now.After(w.deadline):
				late = append(late, w)
				delete(sh.open, id)
				c.count.Add(-1)
			case c.due(&w, now):
				c.attempt(&w, now)
				sh.open[id] = w
				again, ids = append(again, w), append(ids, id)
			}
		}
		sh.mu.Unlock()
		for i, w := range again {
			c.stats.EventRepeats.Inc()
			_ = c.publish(replyTo(ids[i], w.attempts), w.request.Subject(), w.payload, w.span) // without NATS the next attempt may do, or the deadline comes
		}
		for _, w := range settled {
			c.earnRepeat()
			w.answer(flushes)
		}
		for _, w := range late {
			c.timeOut(w, flushes)
		}
	}
}

// attempt makes the request what is sent now, as one attempt more.
func (c *Calls) attempt(w *call, now time.Time) {
	w.payload = protowire.AppendVarint(protowire.AppendTag(w.payload, fieldAttempt, protowire.VarintType), uint64(w.attempts-w.notExecuted))
	w.payload = appendPatience(w.payload, c.catalog.Heard(w.request.Subject()), w.deadline)
	w.attempts++
	w.latest = false
	w.again = c.nextAttempt(w, now)
	if w.oneAtATime {
		w.payload = appendBegin(w.payload, w.again)
	}
}

// due tells whether a request is to be sent again.
func (c *Calls) due(w *call, now time.Time) bool {
	return !w.again.IsZero() && now.After(w.again) && w.attempts < maxAttempts && !w.request.Gone() &&
		(w.attempts == w.notExecuted || c.mayRepeat())
}
