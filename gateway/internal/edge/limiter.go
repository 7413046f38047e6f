package edge

import (
	"net/netip"
	"sync"
	"time"
)

// ipLimiter is a token bucket for each IP address: for what addresses.limitKey makes of it.
type ipLimiter struct {
	rate  float64
	burst float64

	mu      sync.Mutex // guards buckets
	buckets map[netip.Addr]bucket
}

type bucket struct {
	tokens float64
	at     time.Time
}

// maxBuckets bounds the memory; full buckets are forgotten first.
const maxBuckets = 100_000

func newIPLimiter(rate float64, burst int) *ipLimiter {
	return &ipLimiter{rate: rate, burst: float64(burst), buckets: make(map[netip.Addr]bucket)}
}

// allow takes a token of an address's key; otherwise it tells when there will be one.
func (l *ipLimiter) allow(addr netip.Addr, now time.Time) (wait time.Duration, ok bool) {
	if l.rate <= 0 {
		return 0, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b, known := l.buckets[addr]
	if !known {
		if len(l.buckets) >= maxBuckets {
			l.forget(now)
		}
		b = bucket{tokens: l.burst, at: now}
	}
	b.tokens = min(l.burst, b.tokens+l.rate*now.Sub(b.at).Seconds())
	b.at = now
	if b.tokens < 1 {
		l.buckets[addr] = b
		return time.Duration((1 - b.tokens) / l.rate * float64(time.Second)), false
	}
	b.tokens--
	l.buckets[addr] = b
	return 0, true
}

// forget drops the buckets that are full again, and some others if there are none.
func (l *ipLimiter) forget(now time.Time) {
	for addr, b := range l.buckets {
		if b.tokens+l.rate*now.Sub(b.at).Seconds() >= l.burst {
			delete(l.buckets, addr)
		}
	}
	for addr := range l.buckets {
		if len(l.buckets) < maxBuckets {
			return
		}
		delete(l.buckets, addr)
	}
}
