package relay

import (
	"time"

	"github.com/starling-chat/starling/gateway/internal/calls"
	"github.com/starling-chat/starling/gateway/internal/services"
	"github.com/starling-chat/starling/proto/fault"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// request is what a client has in flight: events of one name.
type request struct {
	client *client
	events []*pending
}

var _ calls.Request = (*request)(nil)

// Subject implements calls.Request.
func (q *request) Subject() string { return q.events[0].subject }

// Len implements calls.Request.
func (q *request) Len() int { return len(q.events) }

// Encode implements calls.Request.
func (q *request) Encode(room int) []byte { return q.client.encode(q.events, room) }

// Gone implements calls.Request.
func (q *request) Gone() bool { return q.client.isGone() }

// Answered implements calls.Request: it takes a service's replies to the client, and starts the socket's next events.
func (q *request) Answered(reply *eventv1.ClientReply, flush calls.Flush) {
	r, c := q.client.relay, q.client
	for i, p := range q.events {
		r.answer(c, p, services.ReplyAt(reply, i))
	}
	flush(c.socket.Conn())
	c.done(q.events[0])
}

// Failed implements calls.Request: it answers events that no service answered; owner is the service by which they are counted.
func (q *request) Failed(owner string, f *fault.Error, flush calls.Flush) {
	q.client.relay.failed(q.client, q.events, owner, f, flush)
}

// leastShare bounds what is begun: an event with less than 1/leastShare of EVENT_TIMEOUT left when its turn comes is refused instead
// of sent.
const leastShare = 5

// answerReserve is what of EVENT_TIMEOUT is kept for the answer to an event that nobody answers: for the tick with which calls are given
// up, and as much again until the answer is written. Where EVENT_TIMEOUT is short it is a tenth of that.
const answerReserve = 2 * calls.Tick

// timeLeft is what of EVENT_TIMEOUT an event has left, which may have waited behind others, and whether that is enough to begin.
// Whoever works on it has to end by then: the client is answered within EVENT_TIMEOUT.
func (r *Relay) timeLeft(p *pending, now time.Time) (left time.Duration, enough bool) {
	whole := r.cfg.Events.Timeout
	left = whole - min(answerReserve, whole/10) - now.Sub(p.receivedAt)
	return left, left >= whole/leastShare
}

// start has a request sent, unless its client is gone or its time is over.
func (r *Relay) start(q *request) {
	if q.client.isGone() { // since the request was held back
		return
	}
	left, enough := r.timeLeft(q.events[0], time.Now())
	if !enough {
		q.Failed("none", fault.Retry(fault.Unavailable, "Service unavailable", retryAfter), calls.Now)
		return
	}
	r.calls.Start(q, left)
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
