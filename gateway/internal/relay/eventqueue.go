package relay

import (
	"time"

	"github.com/starling-chat/starling/gateway/internal/transport"
	"github.com/starling-chat/starling/proto/fault"
)

// eventQueue is what a client has sent and nobody has answered yet; client.mu guards it. One request is in flight at a time, so
// that nothing overtakes; what comes meanwhile waits behind it.
type eventQueue struct {
	events   transport.Allowance // of events
	refused  transport.Allowance // of events over the rate
	queue    []*pending          // waits for what is in flight to be answered
	inFlight []*pending          // one request to a service
	paused   bool                // the client is to be read no further until the queue is half empty
}

// floodBursts is how many EVENT_BURSTs a socket may send over its rate before it is closed. They come back with the rate, so that
// only one that sends more than twice its rate for long is.
const floodBursts = 10

// takeToken takes one token of the socket's event rate, and what an event of some bytes costs its user over all sockets. Otherwise it
// gives the refusal, and tells whether the socket has gone on for so long that it is to be closed: each refusal is work, too.
func (c *client) takeToken(bytes int, now time.Time) (refusal *fault.Error, flood bool) {
	r := c.relay
	rate, burst := r.cfg.Events.Rate, float64(r.cfg.Events.Burst)
	limited, message := rate > 0, "Too many events"
	var wait time.Duration
	if limited && !c.events.Take(1, rate, burst, now) {
		wait = c.events.Wait(1, rate, burst)
	} else {
		var ok bool
		if wait, ok = c.user.Take(bytes, now); ok {
			return nil, false
		}
		message = "Too many events of this user"
		r.stats.UserRefusals.WithLabelValues("events").Inc()
	}
	flood = limited && !c.refused.Take(1, rate, floodBursts*burst, now)
	return fault.Retry(fault.RateLimited, message, max(wait, time.Millisecond)), flood
}

// Bounds of one request: events, and the bytes of their arguments and attachments.
const (
	maxBatch      = 32
	maxBatchBytes = 256 << 10
)

// enqueue has p wait until the read that brought it has ended, and for what is in flight.
func (c *client) enqueue(p *pending) {
	c.mu.Lock()
	if c.gone {
		c.mu.Unlock()
		return
	}
	c.queue = append(c.queue, p)
	c.relay.waiting.Add(int64(p.size()))
	var next []*pending
	wasPaused := c.paused
	switch full := len(c.queue) >= c.relay.cfg.Events.MaxQueued; {
	case c.inFlight == nil && (full || len(c.queue) >= maxBatch):
		next = c.nextLocked()
	case full:
		c.paused = true
	}
	flips := c.paused != wasPaused
	c.mu.Unlock()
	c.proceed(next, flips)
}

// readEnded sends what waits, unless something is in flight.
func (c *client) readEnded() {
	c.mu.Lock()
	var next []*pending
	wasPaused := c.paused
	if c.inFlight == nil && !c.gone {
		next = c.nextLocked()
	}
	flips := c.paused != wasPaused
	c.mu.Unlock()
	c.proceed(next, flips)
}

// done ends what is in flight and sends the next; first tells what that was.
func (c *client) done(first *pending) {
	c.mu.Lock()
	if c.gone || len(c.inFlight) == 0 || c.inFlight[0] != first {
		c.mu.Unlock()
		return
	}
	c.forgetLocked(c.inFlight)
	c.inFlight = nil
	wasPaused := c.paused
	next := c.nextLocked()
	flips := c.paused != wasPaused
	c.mu.Unlock()
	c.proceed(next, flips)
}

// proceed does, without the lock, what a change of the queue asks for.
func (c *client) proceed(next []*pending, flips bool) {
	if flips {
		c.adjustReading()
	}
	if next != nil {
		c.relay.send(c, next)
	}
}

// adjustReading stops the reading, or goes on with it, as the queue wants it by now. The conn is told without client.mu: a
// tunnel's conn passes it on over the bus.
func (c *client) adjustReading() {
	c.reading.Lock()
	defer c.reading.Unlock()
	c.mu.Lock()
	paused := c.paused
	c.mu.Unlock()
	switch {
	case paused == c.stopped:
	case paused:
		c.socket.PauseRead()
	default:
		c.socket.ResumeRead()
	}
	c.stopped = paused
}

// nextLocked removes the next request from the queue: one event, and those of the same name right behind it as far as the
// service takes several. Nothing overtakes.
func (c *client) nextLocked() []*pending {
	if len(c.queue) == 0 {
		return nil
	}
	first, n := c.queue[0], 1
	if len(c.queue) > 1 && first.task == nil {
		most := min(len(c.queue), c.relay.catalog.Batch(first.subject), maxBatch)
		for bytes := first.size(); n < most; n++ {
			p := c.queue[n]
			if bytes += p.size(); p.subject != first.subject || bytes > maxBatchBytes {
				break
			}
		}
	}
	c.inFlight = c.queue[:n:n]
	c.queue = c.queue[n:]
	if len(c.queue) == 0 {
		c.queue = nil
	}
	if len(c.queue) <= c.relay.cfg.Events.MaxQueued/2 {
		c.paused = false
	}
	return c.inFlight
}

// forgetLocked takes events off the account of what waits.
func (c *client) forgetLocked(events []*pending) {
	for _, p := range events {
		c.relay.waiting.Add(-int64(p.size()))
	}
}
