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

// lease says when a gateway was last heard of, and which process of that name it was.
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

// renew has every known gateway count as alive from now on, until it is silent again. It follows a reconnect: nothing was heard
// meanwhile, and an answer is rather called partial than complete.
func (l *leases) renew(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, g := range l.gateways {
		g.seen = now
		l.gateways[id] = g
	}
}

// alive returns the ids of the gateways that were heard of within expiry. It forgets the others, unless this gateway is not
// connected to the bus: then it may be the silent one.
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
