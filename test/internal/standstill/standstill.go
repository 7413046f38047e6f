// Package standstill notes when the machine stood still, as far as a rig can tell: its own process did not run although it wanted to.
// What took long meanwhile says nothing about what the rig measures.
package standstill

import (
	"context"
	"sync"
	"time"
)

const (
	// Shortest is the shortest stall: a machine that others use has less than that all the time.
	Shortest = 100 * time.Millisecond

	every = 10 * time.Millisecond
)

// Stall is a time in which the process did not run, on the clock of its Watch.
type Stall struct{ From, To time.Duration }

// Watch notes stalls while Run runs.
type Watch struct {
	clock func() time.Duration

	mu     sync.Mutex
	stalls []Stall // guarded by mu, by time
}

// New returns a Watch; clock is that of the rig.
func New(clock func() time.Duration) *Watch { return &Watch{clock: clock} }

// Run notes stalls until ctx ends.
func (w *Watch) Run(ctx context.Context) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for before := w.clock(); ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := w.clock()
		w.look(before, now)
		before = now
	}
}

// look notes a stall when the process was not seen to run for long.
func (w *Watch) look(before, now time.Duration) {
	if from := before + every; now-from >= Shortest {
		w.mu.Lock()
		w.stalls = append(w.stalls, Stall{from, now})
		w.mu.Unlock()
	}
}

// Stalls gives all stalls so far, by time.
func (w *Watch) Stalls() []Stall {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]Stall(nil), w.stalls...)
}

// Since tells how long the process stood still in all from a moment on.
func (w *Watch) Since(from time.Duration) (sum time.Duration) {
	for _, s := range w.Stalls() {
		sum += max(0, s.To-max(s.From, from))
	}
	return sum
}
