package auth

import (
	"sync"
	"time"

	"github.com/starling-chat/starling/auth-service/internal/bounded"
)

// cache is a bounded map whose entries end. It is safe for concurrent use.
type cache[K comparable, V any] struct {
	ttl time.Duration

	mu      sync.Mutex // guards entries
	entries bounded.Map[K, cached[V]]
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
}

func (c *cache[K, V]) remove(k K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries.Remove(k)
}
