package turns

import (
	"context"
	"sync"
	"time"
)

const (
	// Workers is how many are done at a time.
	Workers = 8
	tick    = 10 * time.Millisecond
)

// Work has do called for each that pop gives, Workers at a time, until ctx ends; it returns when all calls have. pop gives up to limit of
// those whose turn it is by now.
func Work[T any](ctx context.Context, pop func(now time.Time, limit int) []T, do func(context.Context, T)) error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	var working sync.WaitGroup
	defer working.Wait()
	slots := make(chan struct{}, Workers)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case now := <-ticker.C:
			for more := true; more; {
				turn := pop(now, Workers)
				for _, each := range turn {
					slots <- struct{}{}
					working.Go(func() {
						defer func() { <-slots }()
						do(ctx, each)
					})
				}
				more = len(turn) == Workers && ctx.Err() == nil
			}
		}
	}
}
