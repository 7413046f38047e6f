package session

import (
	"context"
	"sync"
	"time"
)

// wheel is the clock of all sessions: one ticker instead of a timer for each. A session stands in one slot and is looked at
// when the hand comes by.
//
//	slots  [0] [1] [2] … [n-1]     one slot is one tick; n ticks cover the longest wait
//	             ▲ hand
type wheel struct {
	tick time.Duration

	mu    sync.Mutex // guards what follows
	slots [][]*Session
	hand  int
}

const (
	minTick = 10 * time.Millisecond
	maxTick = 500 * time.Millisecond
)

func newWheel(interval, timeout time.Duration) *wheel {
	tick := min(max(min(interval, timeout)/30, minTick), maxTick)
	return &wheel{tick: tick, slots: make([][]*Session, int(max(interval, timeout)/tick)+3)}
}

// add has the session looked at after about d, which is at most the longest wait.
func (w *wheel) add(s *Session, d time.Duration) {
	ticks := int((d + w.tick - 1) / w.tick)
	w.mu.Lock()
	slot := (w.hand + min(max(ticks, 1), len(w.slots)-1)) % len(w.slots)
	w.slots[slot] = append(w.slots[slot], s)
	w.mu.Unlock()
}

// next moves the hand and takes out the sessions there.
func (w *wheel) next() []*Session {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hand = (w.hand + 1) % len(w.slots)
	due := w.slots[w.hand]
	w.slots[w.hand] = nil
	return due
}

// Run drives heartbeats and connect timeouts until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	ticker := time.NewTicker(s.wheel.tick)
	defer ticker.Stop()
	turned := time.Now() // up to where the hand has turned
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		now := time.Now()
		s.sweepClosed(now)
		s.closeLate(now)
		for ; now.Sub(turned) >= s.wheel.tick; turned = turned.Add(s.wheel.tick) { // a busy process misses ticks
			for _, session := range s.wheel.next() {
				if again := session.heartbeat(now); again > 0 {
					s.wheel.add(session, again)
				}
			}
		}
	}
}
