package relay

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/starling-chat/starling/proto/fault"
)

// pace holds client events back while this gateway is behind with its deliveries: acks that outran them would only make the
// backlog longer. A held socket's queue fills, then its reading stops, and TCP holds the client back.
//
//	pumps ──backlog──► lag > lagHigh: events are held ──lag < lagLow──► they go on
//	                                  └─ longer than holdMost: unavailable
type pace struct {
	relay *Relay
	lags  []atomic.Int64 // of each shard's pump, nanoseconds
	late  atomic.Bool

	mu   sync.Mutex // guards held
	held []heldRequest
}

// heldRequest is what one socket has in flight, and does not go out yet: there is one a socket at most.
type heldRequest struct {
	client *client
	events []*pending
	since  time.Time
}

const (
	lagHigh  = 500 * time.Millisecond
	lagLow   = 250 * time.Millisecond
	holdTick = 20 * time.Millisecond
	holdMost = 2 * time.Second
)

func newPace(r *Relay, shards int) *pace { return &pace{relay: r, lags: make([]atomic.Int64, shards)} }

// report gives what waits for a shard's pump, as the time that it will take.
func (p *pace) report(shard int, lag time.Duration) {
	p.lags[shard].Store(int64(lag))
	if lag > lagHigh {
		p.late.Store(true)
	}
}

func (p *pace) lag() time.Duration {
	var most int64
	for i := range p.lags {
		most = max(most, p.lags[i].Load())
	}
	return time.Duration(most)
}

// hold keeps a request back if the gateway is behind.
func (p *pace) hold(c *client, events []*pending) bool {
	if !p.late.Load() {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.late.Load() { // released meanwhile
		return false
	}
	p.held = append(p.held, heldRequest{c, events, time.Now()})
	return true
}

// run lets held requests go.
func (p *pace) run(ctx context.Context) error { return every(ctx, holdTick, p.tick) }

func (p *pace) tick(now time.Time) {
	if !p.late.Load() {
		return
	}
	r := p.relay
	p.mu.Lock()
	caughtUp := p.lag() < lagLow
	n := 0
	for n < len(p.held) && (caughtUp || now.Sub(p.held[n].since) > holdMost) {
		n++
	}
	ready := p.held[:n:n]
	p.held = p.held[n:]
	if caughtUp {
		p.held = nil
		p.late.Store(false)
	}
	p.mu.Unlock()
	for _, h := range ready {
		if caughtUp {
			r.calls.start(h.client, h.events)
		} else {
			r.failed(h.client, h.events, "none", fault.Retry(fault.Unavailable, "The gateway is overloaded", retryAfter), flushNow)
		}
	}
}
