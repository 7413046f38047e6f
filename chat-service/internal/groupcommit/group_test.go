package groupcommit_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/groupcommit"
	"github.com/starling-chat/starling/chat-service/internal/rules"
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
			err := g.Submit(0, rules.Asker{}, func(_ int, err error) {
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

// TestGroupBegins: what is given up is not begun; what was begun before goes on for as long as it is waited for.
func TestGroupBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		takes := func(ctx context.Context, in []int) ([]int, error) {
			select {
			case <-time.After(2 * time.Second):
				return in, nil
			case <-ctx.Done():
				return nil, fault.Retry(fault.Unavailable, "Service unavailable", time.Second)
			}
		}
		cfg := groupcommit.Config[int]{Weigh: func(int) int { return 1 }, Most: 1, Queue: 100, Timeout: 4 * time.Second}
		g := groupcommit.New("test", takes, cfg, slog.New(slog.DiscardHandler))
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go g.Run(ctx)
		began := time.Now()
		for _, tc := range []struct {
			what         string
			until, grace time.Duration
			ok           bool
			after        time.Duration
		}{
			{"begun in time, and waited for", time.Second, 2 * time.Second, true, 2 * time.Second},
			{"behind it", 1900 * time.Millisecond, time.Minute, false, 2 * time.Second},
			{"behind it, and still waited for", 2100 * time.Millisecond, time.Second, false, 3100 * time.Millisecond},
		} {
			done := func(_ int, err error) {
				if took := time.Since(began); (err == nil) != tc.ok || took != tc.after {
					t.Errorf("%s: %v after %v, want success %v after %v", tc.what, err, took, tc.ok, tc.after)
				}
			}
			if err := g.Submit(0, rules.Asker{Until: began.Add(tc.until), Grace: tc.grace}, done); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		time.Sleep(10 * time.Second)
	})
}
