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

// Samplers are one Sampler for each kind of record, so that one kind held back hides no other. Kinds are of a closed list.
type Samplers struct {
	interval time.Duration

	mu     sync.Mutex // guards byKind
	byKind map[string]*Sampler
}

// NewSamplers returns Samplers that let the first record of each kind through.
func NewSamplers(interval time.Duration) *Samplers {
	return &Samplers{interval: interval, byKind: make(map[string]*Sampler)}
}

// Take is Sampler.Take for a record of a kind.
func (s *Samplers) Take(kind string, now time.Time) (skipped int, ok bool) {
	s.mu.Lock()
	sampler := s.byKind[kind]
	if sampler == nil {
		sampler = NewSampler(s.interval)
		s.byKind[kind] = sampler
	}
	s.mu.Unlock()
	return sampler.Take(now)
}
