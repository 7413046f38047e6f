package relay

import (
	"sync"
	"time"

	"github.com/starling-chat/starling/gateway/internal/quota"
	"github.com/starling-chat/starling/proto/fault"
)

// eventQueue is what a client has sent and nobody has answered yet; client.mu guards it. One request is in flight at a time, so
// that nothing overtakes; what comes meanwhile waits behind it.
type eventQueue struct {
	sent     quota.Socket
	waiting  []*pending // for what is in flight to be answered
	inFlight []*pending // one request to a service
	paused   bool       // the client is to be read no further until the queue is half empty

	reading sync.Mutex // guards stopped; before client.mu, under which it is only tried
	stopped bool       // the conn was told to pause
}

// eventsLocked gives the client's queue, which is made for its first event.
func (c *client) eventsLocked() *eventQueue {
	if c.events == nil {
		c.events = new(eventQueue)
	}
	return c.events
}

// dropEventsLocked forgets the events of a client that is gone, and tells whether its reading was paused.
func (c *client) dropEventsLocked() (paused bool) {
	q := c.events
	if q == nil {
		return false
	}
	c.forgetLocked(q.inFlight)
	c.forgetLocked(q.waiting)
	q.waiting, q.inFlight = nil, nil
	paused, q.paused = q.paused, false
	return paused
}

// restLocked lets go of the queue of a client that has been quiet for a while. One that is gone keeps it, for what was held (unread.go).
func (c *client) restLocked(now time.Time) {
	q := c.events
	if q == nil || c.gone || q.paused || len(q.waiting)+len(q.inFlight) > 0 || !q.sent.Rested(c.relay.cfg.Events.Rate, now) ||
		!q.reading.TryLock() { // adjustReading is at work with it
		return
	}
	defer q.reading.Unlock()
	if !q.stopped {
		c.events = nil
	}
}

// takeToken takes one token of the socket's event rate, and what an event of some bytes costs its user over all sockets. Otherwise it
// gives the refusal, and tells whether the socket has gone on for so long that it is to be closed.
func (c *client) takeToken(bytes int, now time.Time) (refusal *fault.Error, flood bool) {
	r, sent := c.relay, &c.eventsLocked().sent
	message := "Too many events"
	wait, ok := sent.Take(r.cfg.Events.Rate, r.cfg.Events.Burst, now)
	if ok {
		if wait, ok = c.user.Take(bytes, now); ok {
			return nil, false
		}
		message = "Too many events of this user"
		r.stats.UserRefusals.WithLabelValues("events").Inc()
	}
	flood = sent.Refuse(r.cfg.Events.Rate, r.cfg.Events.Burst, now)
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
	q := c.eventsLocked()
	q.waiting = append(q.waiting, p)
	c.relay.waiting.Add(int64(p.size()))
	var next []*pending
	wasPaused := q.paused
	switch full := len(q.waiting) >= c.relay.cfg.Events.MaxQueued; {
	case q.inFlight == nil && (full || len(q.waiting) >= maxBatch):
		next = c.nextLocked()
	case full:
		q.paused = true
	}
	flips := q.paused != wasPaused
	c.mu.Unlock()
	c.proceed(next, flips)
}

// readEnded sends what waits, unless something is in flight.
func (c *client) readEnded() {
	c.mu.Lock()
	q := c.events
	if q == nil || q.inFlight != nil || c.gone {
		c.mu.Unlock()
		return
	}
	wasPaused := q.paused
	next := c.nextLocked()
	flips := q.paused != wasPaused
	c.mu.Unlock()
	c.proceed(next, flips)
}

// done ends what is in flight and sends the next; first tells what that was.
func (c *client) done(first *pending) {
	c.mu.Lock()
	q := c.events
	if c.gone || q == nil || len(q.inFlight) == 0 || q.inFlight[0] != first {
		c.mu.Unlock()
		return
	}
	c.forgetLocked(q.inFlight)
	q.inFlight = nil
	wasPaused := q.paused
	next := c.nextLocked()
	flips := q.paused != wasPaused
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
	c.mu.Lock()
	q := c.events
	c.mu.Unlock()
	if q == nil {
		return // let go of since: nothing was to be paused any more, and nothing is
	}
	q.reading.Lock()
	defer q.reading.Unlock()
	c.mu.Lock()
	paused := q.paused
	c.mu.Unlock()
	switch {
	case paused == q.stopped:
	case paused:
		c.socket.PauseRead()
	default:
		c.socket.ResumeRead()
	}
	q.stopped = paused
}

// nextLocked removes the next request from the queue: one event, and those of the same name right behind it as far as the
// service takes several. Nothing overtakes.
func (c *client) nextLocked() []*pending {
	q := c.events
	if len(q.waiting) == 0 {
		return nil
	}
	first, n := q.waiting[0], 1
	if len(q.waiting) > 1 && first.task == nil {
		most := min(len(q.waiting), c.relay.catalog.Batch(first.subject), maxBatch)
		for bytes := first.size(); n < most; n++ {
			p := q.waiting[n]
			if bytes += p.size(); p.subject != first.subject || bytes > maxBatchBytes {
				break
			}
		}
	}
	q.inFlight = q.waiting[:n:n]
	q.waiting = q.waiting[n:]
	if len(q.waiting) == 0 {
		q.waiting = nil
	}
	if len(q.waiting) <= c.relay.cfg.Events.MaxQueued/2 {
		q.paused = false
	}
	return q.inFlight
}

// forgetLocked takes events off the account of what waits.
func (c *client) forgetLocked(events []*pending) {
	for _, p := range events {
		c.relay.waiting.Add(-int64(p.size()))
	}
}
