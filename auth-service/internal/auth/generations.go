package auth

import (
	"sync"
	"time"
)

// generations is a bounded map: when the young half is full it becomes the old half, and what was old and not used since
// is dropped. It holds at most 2*size entries. The owner locks.
type generations[K comparable, V any] struct {
	size       int
	young, old map[K]V
}

func (g *generations[K, V]) get(k K) (V, bool) {
	if v, ok := g.young[k]; ok {
		return v, true
	}
	v, ok := g.old[k]
	if ok {
		g.put(k, v)
	}
	return v, ok
}

func (g *generations[K, V]) put(k K, v V) {
	if _, ok := g.young[k]; !ok && len(g.young) >= g.size {
		g.old, g.young = g.young, nil
	}
	if g.young == nil {
		g.young = make(map[K]V)
	}
	g.young[k] = v
}

func (g *generations[K, V]) remove(k K) {
	delete(g.young, k)
	delete(g.old, k)
}

// cache is a bounded map whose entries end. It is safe for concurrent use.
type cache[K comparable, V any] struct {
	ttl time.Duration

	mu      sync.Mutex // guards entries
	entries generations[K, cached[V]]
}

type cached[V any] struct {
	value V
	asOf  time.Time
}

func newCache[K comparable, V any](size int, ttl time.Duration) *cache[K, V] {
	return &cache[K, V]{ttl: ttl, entries: generations[K, cached[V]]{size: size}}
}

func (c *cache[K, V]) get(k K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries.get(k)
	if ok && time.Since(e.asOf) >= c.ttl {
		c.entries.remove(k)
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
	c.entries.put(k, cached[V]{v, asOf})
}

func (c *cache[K, V]) remove(k K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries.remove(k)
}
