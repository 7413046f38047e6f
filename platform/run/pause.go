package run

import (
	"context"
	"time"
)

// Pause waits for d and reports true; it reports false as soon as ctx ends.
func Pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// Every calls do with the time once a period, until ctx ends, and returns why it ended.
func Every(ctx context.Context, period time.Duration, do func(time.Time)) error {
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case now := <-ticker.C:
			do(now)
		}
	}
}
