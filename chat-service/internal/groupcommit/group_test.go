package groupcommit_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/groupcommit"
	"github.com/starling-chat/starling/proto/fault"
)

// TestGroupAnswersInTime: while what writes hangs, every request is answered within its time, whether it is being written or waits.
func TestGroupAnswersInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := func(ctx context.Context, _ []int) ([]int, error) {
			<-ctx.Done()
			return nil, fault.Retry(fault.Unavailable, "Service unavailable", time.Second)
		}
		const timeout = 4 * time.Second
		cfg := groupcommit.Config[int]{Weigh: func(int) int { return 1 }, Most: 1, Queue: 100, Timeout: timeout}
		g := groupcommit.New("test", hangs, cfg, slog.New(slog.DiscardHandler))
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go g.Run(ctx)
		answered := 0
		for range 40 {
			came := time.Now()
			err := g.Submit(0, time.Time{}, func(_ int, err error) {
				answered++
				if took := time.Since(came); err == nil || took > timeout {
					t.Errorf("answered by %v after %v", err, took)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(timeout / 13)
			synctest.Wait()
		}
		time.Sleep(2 * timeout)
		synctest.Wait()
		if answered != 40 {
			t.Errorf("%d of 40 requests were answered", answered)
		}
	})
}
