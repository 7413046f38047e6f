package admission

import (
	"sync"
	"time"

	"github.com/starling-chat/starling/auth-service/internal/bounded"
	"github.com/starling-chat/starling/proto/fault"
)

// maxBuckets bounds the keys that a limiter remembers (twice as many at most). Whoever floods it with new accounts is
// held by the limit per address before.
const maxBuckets = 20_000

// Limit is a token bucket: Burst at once, refilled at PerMinute. PerMinute 0 means no limit.
type Limit struct {
	PerMinute float64
	Burst     int
}

// limiter holds one bucket per key, in this process only.
type limiter struct {
	limit Limit

	mu      sync.Mutex // guards buckets
	buckets bounded.Map[string, bucket]
}

type bucket struct {
	tokens float64
	at     time.Time
}

func newLimiter(l Limit) *limiter {
	return &limiter{limit: l, buckets: bounded.Map[string, bucket]{Size: maxBuckets}}
}

// acquire takes one token; the fault says when there will be one. An empty key is not limited.
func (l *limiter) acquire(key string) error {
	if key == "" || l.limit.PerMinute <= 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.filled(key)
	if b.tokens < 1 {
		perToken := float64(time.Minute) / l.limit.PerMinute
		wait := time.Duration((1 - b.tokens) * perToken)
		return fault.Retry(fault.RateLimited, "Too many attempts, try again later", wait)
	}
	b.tokens--
	l.buckets.Put(key, b)
	return nil
}

// giveBack undoes an acquire.
func (l *limiter) giveBack(key string) {
	if key == "" || l.limit.PerMinute <= 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.filled(key)
	b.tokens = min(b.tokens+1, float64(l.limit.Burst))
	l.buckets.Put(key, b)
}

func (l *limiter) filled(key string) bucket {
	now := time.Now()
	b, ok := l.buckets.Get(key)
	if !ok {
		return bucket{tokens: float64(l.limit.Burst), at: now}
	}
	b.tokens = min(b.tokens+now.Sub(b.at).Minutes()*l.limit.PerMinute, float64(l.limit.Burst))
	b.at = now
	return b
}
