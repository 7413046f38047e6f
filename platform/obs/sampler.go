package obs

import (
	"sync"
	"time"
)

// Sampler lets one log record through in each interval and counts the others. It is for records that strangers can cause as often as
// they like.
type Sampler struct {
	interval time.Duration

	mu      sync.Mutex // guards what follows
	next    time.Time
	skipped int
}

// NewSampler returns a Sampler that lets the first record through.
func NewSampler(interval time.Duration) *Sampler { return &Sampler{interval: interval} }

// Take tells whether to log what happens now. skipped is how many records were held back since the last one.
func (s *Sampler) Take(now time.Time) (skipped int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Before(s.next) {
		s.skipped++
		return 0, false
	}
	skipped, s.skipped = s.skipped, 0
	s.next = now.Add(s.interval)
	return skipped, true
}
