package pg_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starling-chat/starling/platform/pg"
)

// TestCircuit: after a request that PostgreSQL did not answer the next ones are refused at once, one tries now and then and not
// for long, and an answer lets all in again.
func TestCircuit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c pg.Circuit
		asked := 0
		hang := func(ctx context.Context) error { asked++; <-ctx.Done(); return ctx.Err() }
		answer := func(context.Context) error { asked++; return nil }
		ask := func(f func(context.Context) error) (took time.Duration, err error) {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			began := time.Now()
			err = c.Do(ctx, f)
			return time.Since(began), err
		}
		for i, step := range []struct {
			wait  time.Duration
			f     func(context.Context) error
			took  time.Duration
			asked int
			away  bool
		}{
			{0, answer, 0, 1, false},
			{0, hang, 3 * time.Second, 2, true},
			{0, answer, 0, 2, true},
			{600 * time.Millisecond, hang, time.Second, 3, true},
			{0, answer, 0, 3, true},
			{600 * time.Millisecond, answer, 0, 4, false},
			{0, answer, 0, 5, false},
			{0, func(context.Context) error { return errors.New("no such user") }, 0, 5, false},
			{0, answer, 0, 6, false},
		} {
			time.Sleep(step.wait)
			took, err := ask(step.f)
			if took != step.took || asked != step.asked || pg.IsUnavailable(err) != step.away {
				t.Errorf("step %d took %v with %d asked and gave %v, want %v, %d, unavailable %v", i, took, asked, err, step.took, step.asked, step.away)
			}
		}
	})
}
