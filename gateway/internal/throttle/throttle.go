// Package throttle delays requests while this gateway is behind with its deliveries: acks that outran them would only make the
// backlog longer. It does no I/O.
//
//	deliveries ──Report──► above high: requests are delayed ──below low──► they go on
//	                                   └─ longer than maxDelay: given up
package throttle

import (
	"sync"
	"sync/atomic"
	"time"
)

// Throttle keeps requests back. There is at most one request of each socket, which bounds them.
type Throttle[Request any] struct {
	lags []atomic.Int64 // of the deliveries of each hub shard, nanoseconds
	on   atomic.Bool    // requests are delayed

	mu      sync.Mutex // guards delayed
	delayed []delayed[Request]
}

type delayed[Request any] struct {
	request Request
	since   time.Time
}

const (
	high     = 500 * time.Millisecond
	low      = 250 * time.Millisecond
	maxDelay = 2 * time.Second
	// Tick is how often Release is to be called.
	Tick = 20 * time.Millisecond
)

// New makes a throttle for so many shards.
func New[Request any](shards int) *Throttle[Request] {
	return &Throttle[Request]{lags: make([]atomic.Int64, shards)}
}

// Report notes how long the deliveries of a shard are behind.
func (t *Throttle[Request]) Report(shard int, lag time.Duration) {
	t.lags[shard].Store(int64(lag))
	if lag > high {
		t.on.Store(true)
	}
}

// lag is that of the shard that is most behind.
func (t *Throttle[Request]) lag() time.Duration {
	var most int64
	for i := range t.lags {
		most = max(most, t.lags[i].Load())
	}
	return time.Duration(most)
}

// Delay keeps a request back if the gateway is behind, and reports whether it did.
func (t *Throttle[Request]) Delay(r Request) bool {
	if !t.on.Load() {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.on.Load() { // caught up meanwhile
		return false
	}
	t.delayed = append(t.delayed, delayed[Request]{r, time.Now()})
	return true
}

// Release gives the requests that are delayed no longer, in their order: ok, because the gateway has caught up, or given up.
func (t *Throttle[Request]) Release(now time.Time) (requests []Request, ok bool) {
	if !t.on.Load() {
		return nil, true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	ok = t.lag() < low
	n := 0
	for n < len(t.delayed) && (ok || now.Sub(t.delayed[n].since) > maxDelay) {
		requests = append(requests, t.delayed[n].request)
		n++
	}
	t.delayed = t.delayed[n:]
	if ok {
		t.delayed = nil
		t.on.Store(false)
	}
	return requests, ok
}
