package obs

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Between two lines of a failure that goes on: the distance doubles from the first to the second.
const (
	firstDistance = 10 * time.Second
	lastDistance  = 10 * time.Minute
)

// Repeats logs a failure that a loop meets again and again: at once, then at a growing distance for as long as it goes on, then
// its end. Otherwise an outage fills the log with the same line, and hides what else there is. A failure that comes and goes
// has a line each ten seconds at most. It discards without a Log; it is safe for concurrent use.
type Repeats struct {
	Log     *slog.Logger
	Message string // what fails, the same in each line

	mu       sync.Mutex    // guards what follows
	since    time.Time     // the first failure; zero: there is none
	failures int           // since then
	told     bool          // that there is one
	last     time.Time     // the last line
	distance time.Duration // from it to the next one
}

// Failed notes one failure, and logs it when it is time to.
func (r *Repeats) Failed(ctx context.Context, err error, attrs ...slog.Attr) {
	now := time.Now()
	r.mu.Lock()
	if r.since.IsZero() {
		r.since, r.failures, r.told, r.distance = now, 0, false, firstDistance
	}
	r.failures++
	silent := now.Sub(r.last) < r.distance
	if !silent {
		if r.told {
			r.distance = min(2*r.distance, lastDistance)
		}
		r.told, r.last = true, now
	}
	failures, since := r.failures, r.since
	r.mu.Unlock()
	if silent || r.Log == nil {
		return
	}
	attrs = append(attrs, slog.Any("error", err))
	if failures > 1 {
		attrs = append(attrs, slog.Int("failures", failures), slog.Duration("for", now.Sub(since).Round(time.Second)))
	}
	r.Log.LogAttrs(ctx, slog.LevelWarn, r.Message, attrs...) //nolint:sloglint // constant where it is made
}

// Over notes that it went well. After a failure that was logged it says so.
func (r *Repeats) Over(ctx context.Context) {
	r.mu.Lock()
	told, failures, since := r.told && !r.since.IsZero(), r.failures, r.since
	r.since = time.Time{}
	r.mu.Unlock()
	if !told || r.Log == nil {
		return
	}
	r.Log.LogAttrs(ctx, slog.LevelInfo, r.Message, //nolint:sloglint // constant where it is made
		slog.Bool("over", true), slog.Int("failures", failures), slog.Duration("for", time.Since(since).Round(time.Second)))
}
