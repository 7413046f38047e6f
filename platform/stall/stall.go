// Package stall notices that the process did not run for a while: it was stopped, its machine was frozen or moved. What waited
// in its sockets meanwhile is old then, and those who sent it may have gone elsewhere.
package stall

import (
	"cmp"
	"context"
	"sync/atomic"
	"time"
)

// Watch tells about stalls of at least its limit. Run keeps it awake.
type Watch struct {
	limit   time.Duration
	start   time.Time
	awake   atomic.Int64 // since start, when the process was last seen to run
	resumed atomic.Int64 // since start, when the last stall ended; 0 = there was none
}

// looks is how many times Run looks within the limit.
const looks = 10

// New returns a Watch that counts from now on. A limit of 0 is DefaultLimit.
func New(limit time.Duration) *Watch {
	return &Watch{limit: cmp.Or(limit, DefaultLimit), start: time.Now()}
}

// Run notes that the process runs, until ctx ends.
func (w *Watch) Run(ctx context.Context) error {
	ticker := time.NewTicker(w.limit / looks)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
			w.look(time.Now())
		}
	}
}

func (w *Watch) look(now time.Time) {
	at := int64(now.Sub(w.start))
	before := w.awake.Load()
	if at <= before {
		return
	}
	if time.Duration(at-before) >= w.limit {
		w.resumed.Store(at)
	}
	w.awake.Store(at)
}

// Resumed gives the end of the last stall, zero when there was none. It finds a stall that Run has not come to notice yet: call
// it with the present time before work is begun.
func (w *Watch) Resumed(now time.Time) time.Time {
	if now.Sub(w.start)-time.Duration(w.awake.Load()) >= w.limit {
		w.look(now)
	}
	at := w.resumed.Load()
	if at == 0 {
		return time.Time{}
	}
	return w.start.Add(time.Duration(at))
}
