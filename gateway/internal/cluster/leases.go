package cluster

import (
	"sync"
	"time"

	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// leases tell which gateways live: each renews its presence lease on the bus.
type leases struct {
	mu       sync.Mutex // guards what follows
	gateways map[string]lease
}

// lease is when a gateway was last heard of.
type lease struct {
	incarnation int64
	seen        time.Time
}

// heard takes in a lease.
func (l *leases) heard(p *eventv1.PresenceLease, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	known, ok := l.gateways[p.GetGatewayId()]
	switch {
	case ok && p.GetIncarnation() < known.incarnation: // of a process that is gone
	case p.GetEnding():
		delete(l.gateways, p.GetGatewayId())
	default:
		l.gateways[p.GetGatewayId()] = lease{incarnation: p.GetIncarnation(), seen: now}
	}
}

// renew follows a reconnect: what was known before counts as alive until it is silent again, so that an answer is rather
// called partial than complete.
func (l *leases) renew(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, g := range l.gateways {
		g.seen = now
		l.gateways[id] = g
	}
}

// alive gives the gateways that were heard of within expiry. The others are forgotten, unless this gateway has lost the bus.
func (l *leases) alive(now time.Time, expiry time.Duration, connected bool) map[string]struct{} {
	ids := make(map[string]struct{})
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, g := range l.gateways {
		if now.Sub(g.seen) < expiry {
			ids[id] = struct{}{}
		} else if connected {
			delete(l.gateways, id)
		}
	}
	return ids
}
