package turns_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starling-chat/starling/gateway/internal/turns"
)

// TestWork: all that are due are done, so many at a time, and none is left behind when Work returns.
func TestWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		due := 3*turns.Workers + 1
		var begun, ended atomic.Int64
		pop := func(_ time.Time, limit int) []struct{} { // by Work's goroutine alone
			turn := make([]struct{}, min(limit, due))
			due -= len(turn)
			return turn
		}
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error, 1)
		go func() {
			result <- turns.Work(ctx, pop, func(context.Context, struct{}) {
				begun.Add(1)
				time.Sleep(time.Second)
				ended.Add(1)
			})
		}()
		time.Sleep(500 * time.Millisecond)
		if got := begun.Load(); got != turns.Workers {
			t.Errorf("%d are done at a time, want %d", got, turns.Workers)
		}
		time.Sleep(3 * time.Second) // the last one is on its way
		cancel()
		if err := <-result; !errors.Is(err, context.Canceled) || ended.Load() != 3*turns.Workers+1 {
			t.Errorf("Work = %v, and %d were done, want all when it was canceled", err, ended.Load())
		}
	})
}
