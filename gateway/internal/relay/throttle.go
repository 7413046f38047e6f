package relay

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/starling-chat/starling/proto/fault"
)

// throttle delays client events while this gateway is behind with its deliveries: acks that outran them would only make the
// backlog longer. The queue of a socket whose request is delayed fills, then its reading stops, and TCP holds the client back.
//
//	room feed ──lag──► above lagHigh: requests are delayed ──below lagLow──► they go on
//	                                  └─ longer than maxDelay: unavailable
type throttle struct {
	relay *Relay
	lags  []atomic.Int64 // of the deliveries of each hub shard, nanoseconds
	on    atomic.Bool    // requests are delayed

	mu      sync.Mutex // guards delayed
	delayed []delayedRequest
}

// delayedRequest is what one socket has in flight, and does not go out yet: there is one a socket at most.
type delayedRequest struct {
	client *client
	events []*pending
	since  time.Time
}

const (
	lagHigh      = 500 * time.Millisecond
	lagLow       = 250 * time.Millisecond
	throttleTick = 20 * time.Millisecond
	maxDelay     = 2 * time.Second
)

func newThrottle(r *Relay, shards int) *throttle {
	return &throttle{relay: r, lags: make([]atomic.Int64, shards)}
}

// report notes how long the deliveries of a shard are behind.
func (t *throttle) report(shard int, lag time.Duration) {
	t.lags[shard].Store(int64(lag))
	if lag > lagHigh {
		t.on.Store(true)
	}
}

// lag is that of the shard that is most behind.
func (t *throttle) lag() time.Duration {
	var most int64
	for i := range t.lags {
		most = max(most, t.lags[i].Load())
	}
	return time.Duration(most)
}

// delay keeps a request back if the gateway is behind, and reports whether it did.
func (t *throttle) delay(c *client, events []*pending) bool {
	if !t.on.Load() {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.on.Load() { // caught up meanwhile
		return false
	}
	t.delayed = append(t.delayed, delayedRequest{c, events, time.Now()})
	return true
}

// run lets delayed requests go on.
func (t *throttle) run(ctx context.Context) error { return every(ctx, throttleTick, t.tick) }

func (t *throttle) tick(now time.Time) {
	if !t.on.Load() {
		return
	}
	r := t.relay
	t.mu.Lock()
	caughtUp := t.lag() < lagLow
	n := 0
	for n < len(t.delayed) && (caughtUp || now.Sub(t.delayed[n].since) > maxDelay) {
		n++
	}
	ready := t.delayed[:n:n]
	t.delayed = t.delayed[n:]
	if caughtUp {
		t.delayed = nil
		t.on.Store(false)
	}
	t.mu.Unlock()
	for _, d := range ready {
		if caughtUp {
			r.calls.start(d.client, d.events)
		} else {
			r.failed(d.client, d.events, "none", fault.Retry(fault.Unavailable, "The gateway is overloaded", retryAfter), flushNow)
		}
	}
}
