package relay

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/gateway/internal/services"
	"github.com/starling-chat/starling/gateway/internal/transport"
	"github.com/starling-chat/starling/platform/bus"
	"github.com/starling-chat/starling/proto/fault"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// calls are the requests with client events that wait for a service's reply. One subscription takes in all replies, so that an
// event in flight costs a map entry and no goroutine.
type calls struct {
	relay   *Relay
	inbox   bus.Inbox
	replies chan *nats.Msg

	nextID atomic.Uint64
	count  atomic.Int64 // of open calls
	shards [callShards]callShard

	budget int // of repeats; owned by run
}

const (
	callShards = 16
	// replyBuffer is how many replies may wait to be handed out; one that overflows is a timeout for its client.
	replyBuffer = 32768
)

type callShard struct {
	mu   sync.Mutex // guards open
	open map[uint64]call
}

// call is one request that is not answered; the mutex of its shard guards it.
type call struct {
	// Fixed when it is started.
	client   *client
	events   []*pending
	deadline time.Time

	payload     []byte    // kept while the request may be sent again
	again       time.Time // when it is sent again; zero: not
	attempts    uint32    // made
	answered    uint32    // of them
	notExecuted uint32    // of those: nothing of it was done
	// reply is the best that the answers so far say about each event, when they are not final.
	reply *eventv1.ClientReply
}

func newCalls(r *Relay) *calls {
	c := &calls{relay: r, inbox: bus.NewInbox(r.nc), replies: make(chan *nats.Msg, replyBuffer), budget: repeatBudget}
	for i := range c.shards {
		c.shards[i].open = make(map[uint64]call)
	}
	return c
}

// leastShare bounds what is begun: an event with less than 1/leastShare of EVENT_TIMEOUT left when its turn comes is refused instead
// of sent.
const leastShare = 5

// timeLeft is what of EVENT_TIMEOUT an event has left, which may have waited behind others, and whether that is enough to begin.
func (r *Relay) timeLeft(p *pending, now time.Time) (left time.Duration, enough bool) {
	left = r.cfg.Events.Timeout - now.Sub(p.receivedAt)
	return left, left >= r.cfg.Events.Timeout/leastShare
}

// start publishes events of one name as one request.
func (c *calls) start(cl *client, events []*pending) {
	r := c.relay
	if cl.isGone() { // since the request was held back
		return
	}
	first := events[0]
	now := time.Now()
	left, enough := r.timeLeft(first, now)
	if !enough {
		r.failed(cl, events, "none", fault.Retry(fault.Unavailable, "Service unavailable", retryAfter), flushNow)
		return
	}
	if c.count.Add(1) > int64(r.cfg.Events.MaxInFlight) {
		c.count.Add(-1)
		r.failed(cl, events, "none", fault.Retry(fault.Unavailable, "The gateway is overloaded", retryAfter), flushNow)
		return
	}
	w := call{client: cl, events: events, payload: cl.encode(events), deadline: now.Add(left), attempts: 1}
	payload := w.payload
	if r.catalog.Repeats(first.subject) {
		w.again = now.Add(left / maxAttempts)
	} else {
		w.payload = nil
	}
	id := c.nextID.Add(1)
	sh := &c.shards[id%callShards]
	sh.mu.Lock()
	sh.open[id] = w
	sh.mu.Unlock()
	if err := c.publish(id, first.subject, payload); err != nil {
		if _, ok := c.remove(id); ok {
			r.failed(cl, events, "none", fault.Retry(fault.Unavailable, "Service unavailable", retryAfter), flushNow)
		}
	}
}

func (c *calls) publish(id uint64, subj string, payload []byte) error {
	return c.relay.nc.PublishRequest(subj, c.inbox.Reply(id), payload)
}

// remove gives up a call and gives it, unless it has ended.
func (c *calls) remove(id uint64) (call, bool) {
	sh := &c.shards[id%callShards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	found, ok := sh.open[id]
	if ok {
		delete(sh.open, id)
		c.count.Add(-1)
	}
	return found, ok
}

// batch is how many messages are handled between two flushes, when so many wait.
const batch = 256

// run hands out replies and ends calls that wait too long.
func (c *calls) run(ctx context.Context) error {
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	var flushes transport.FlushSet
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case now := <-ticker.C:
			c.expire(now, &flushes)
		case msg := <-c.replies:
			c.reply(msg, &flushes)
			for range min(len(c.replies), batch) {
				c.reply(<-c.replies, &flushes)
			}
		}
		flushes.Flush()
	}
}

func (c *calls) reply(msg *nats.Msg, flushes *transport.FlushSet) {
	r := c.relay
	id, ok := c.inbox.Request(msg.Subject)
	if !ok {
		return
	}
	var reply eventv1.ClientReply
	absent := len(msg.Data) == 0 && msg.Header.Get("Status") == "503"
	if absent {
		reply.Fault = fault.Retry(fault.Unavailable, "Service unavailable", retryAfter).ToProto()
	} else if err := proto.Unmarshal(msg.Data, &reply); err != nil {
		reply.Reset()
		reply.Fault = fault.Log(r.ctx, r.log, fmt.Errorf("decode reply: %w", err)).ToProto()
	}
	found, ok := c.complete(id, &reply, absent)
	switch {
	case !ok: // answered late, after the timeout; or not the last word
	case absent && found.answered == 1:
		r.failed(found.client, found.events, "none", r.catalog.Missing(found.events[0].subject), flushes.Add)
	default:
		if !absent {
			c.earnRepeat()
		}
		r.answered(found.client, found.events, found.reply, flushes.Add)
	}
}

// complete ends the call that a reply is for, when it is answered: its reply is then what all replies together say. A reply
// that is not final does not end it while another attempt is out, which may yet succeed. A request of which nothing was done
// goes out again, to a replica that may be better off; but not when there is none.
func (c *calls) complete(id uint64, reply *eventv1.ClientReply, absent bool) (call, bool) {
	sh := &c.shards[id%callShards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	found, ok := sh.open[id]
	if !ok {
		return found, false
	}
	found.answered++
	if services.NotExecuted(reply, len(found.events)) {
		found.notExecuted++
	}
	found.reply = services.Merge(found.reply, reply, len(found.events))
	if !services.IsFinal(found.reply) {
		out := found.attempts - found.answered
		again := found.notExecuted == found.attempts && !absent && !found.again.IsZero() && found.attempts < maxAttempts && c.mayRepeat()
		if again {
			found.again = time.Time{}.Add(1) // with the next tick
		}
		if out > 0 || again {
			sh.open[id] = found
			return found, false
		}
	}
	delete(sh.open, id)
	c.count.Add(-1)
	return found, true
}

// count counts an answered event by the service that owns it.
func (r *Relay) count(p *pending, service string, kind fault.Kind) {
	result := string(kind)
	if result == "" {
		result = "ok"
	}
	if service == "" {
		service = r.catalog.Owner(p.subject)
	}
	r.stats.ClientEvents.WithLabelValues(service, result).Inc()
}

// maxAttempts is how often a request is sent within the patience for it, when no answer comes: its replica died, or hangs,
// and NATS picks any other one of the queue group.
const maxAttempts = 4

// Repeats are throttled, so that a service that is only slow does not get several times the load: each costs repeatPrice, each
// request answered gives 1 back, and no more than repeatBudget is saved.
const (
	repeatPrice  = 10
	repeatBudget = 2000 * repeatPrice
)

// earnRepeat is called by the one goroutine that handles replies, as is mayRepeat.
func (c *calls) earnRepeat() { c.budget = min(c.budget+1, repeatBudget) }

func (c *calls) mayRepeat() bool {
	if c.budget < repeatPrice {
		return false
	}
	c.budget -= repeatPrice
	return true
}

// expire ends the calls that waited too long, and sends those again that may be and wait for long.
func (c *calls) expire(now time.Time, flushes *transport.FlushSet) {
	for i := range c.shards {
		sh := &c.shards[i]
		var late, again []call
		var ids []uint64
		sh.mu.Lock()
		for id, w := range sh.open {
			switch {
			case now.After(w.deadline):
				late = append(late, w)
				delete(sh.open, id)
				c.count.Add(-1)
			case c.due(&w, now):
				w.again = now.Add(c.relay.cfg.Events.Timeout / maxAttempts)
				w.payload = protowire.AppendVarint(protowire.AppendTag(w.payload, fieldAttempt, protowire.VarintType), uint64(w.attempts-w.notExecuted))
				w.attempts++
				sh.open[id] = w
				again, ids = append(again, w), append(ids, id)
			}
		}
		sh.mu.Unlock()
		for i, w := range again {
			c.relay.stats.EventRepeats.Inc()
			_ = c.publish(ids[i], w.events[0].subject, w.payload) // without NATS the next attempt may do, or the deadline comes
		}
		for _, w := range late {
			c.timeOut(w, flushes)
		}
	}
}

// due tells whether a request is to be sent again.
func (c *calls) due(w *call, now time.Time) bool {
	return !w.again.IsZero() && now.After(w.again) && w.attempts < maxAttempts && !w.client.isGone() &&
		(w.attempts == w.notExecuted || c.mayRepeat())
}

// timeOut answers a call whose time is over with what is known of each event.
func (c *calls) timeOut(w call, flushes *transport.FlushSet) {
	unknown := fault.Retry(fault.Timeout, "No answer in time", retryAfter)
	switch {
	case w.reply == nil:
		c.relay.failed(w.client, w.events, "", unknown, flushes.Add)
	case w.answered == w.attempts:
		c.relay.answered(w.client, w.events, w.reply, flushes.Add)
	default:
		silence := &eventv1.ClientReply{Fault: unknown.ToProto()} // of the attempts that are out
		c.relay.answered(w.client, w.events, services.Merge(w.reply, silence, len(w.events)), flushes.Add)
	}
}
