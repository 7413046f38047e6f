package auth

import (
	"sync"
	"time"

	"github.com/starling-chat/starling/auth-service/internal/bounded"
)

// cache is a bounded map whose entries end, and are let go at most one more of their times later: after a storm of connects they would
// be most of what the process holds. It is safe for concurrent use.
type cache[K comparable, V any] struct {
	ttl time.Duration

	mu      sync.Mutex // guards what follows
	entries bounded.Map[K, cached[V]]
	aging   bool // age is due
}

type cached[V any] struct {
	value V
	asOf  time.Time
}

func newCache[K comparable, V any](size int, ttl time.Duration) *cache[K, V] {
	return &cache[K, V]{ttl: ttl, entries: bounded.Map[K, cached[V]]{Size: size}}
}

func (c *cache[K, V]) get(k K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries.Get(k)
	if ok && time.Since(e.asOf) >= c.ttl {
		c.entries.Remove(k)
		ok = false
	}
	if !ok {
		var zero V
		return zero, false
	}
	return e.value, true
}

// put keeps a value that was true at asOf: the time before it was asked for, not the time when the answer came.
func (c *cache[K, V]) put(k K, v V, asOf time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries.Put(k, cached[V]{v, asOf})
	c.ageLater()
}

// ageLater has the entries grow older in due time, unless that is due already. The lock is held.
func (c *cache[K, V]) ageLater() {
	if !c.aging {
		c.aging = true
		time.AfterFunc(c.ttl, c.age) // ends by itself: nothing is due while the cache is empty
	}
}

// age lets go of what was put before the time before the last one.
func (c *cache[K, V]) age() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.aging = false
	if c.entries.Age() > 0 {
		c.ageLater()
	}
}

func (c *cache[K, V]) remove(k K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries.Remove(k)
}
