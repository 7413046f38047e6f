//go:build linux

package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// redialAfter is how long an attacker rests when it was refused or closed. Without it the attack would be one on the machine.
const redialAfter = time.Second

// crowd runs n attackers until ctx ends. Each does its act again and again; what the acts say is counted.
func crowd(ctx context.Context, n int, act func(ctx context.Context, i int) string) *tally {
	return crowdUntil(ctx, "", 0, n, act)
}

// crowdUntil is a crowd that ends when one of them says enough, and at least some time has gone.
func crowdUntil(ctx context.Context, enough string, least time.Duration, n int, act func(ctx context.Context, i int) string) *tally {
	ctx, end := context.WithCancel(ctx)
	defer end()
	began, t := time.Now(), &tally{}
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			for ctx.Err() == nil {
				outcome := act(ctx, i)
				if outcome != "" && ctx.Err() == nil {
					t.add(outcome)
				}
				if outcome != "" && outcome == enough {
					time.AfterFunc(least-time.Since(began), end)
				}
				if pause(ctx, redialAfter) != nil {
					return
				}
			}
		})
	}
	all.Wait()
	return t
}

// tally counts outcomes.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
}

func (t *tally) add(outcome string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts == nil {
		t.counts = make(map[string]int)
	}
	t.counts[outcome]++
}

func (t *tally) of(outcome string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.counts[outcome]
}

// String lists the outcomes.
func (t *tally) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	parts := make([]string, 0, len(t.counts))
	for _, outcome := range slices.Sorted(maps.Keys(t.counts)) {
		parts = append(parts, fmt.Sprintf("%d %s", t.counts[outcome], outcome))
	}
	return strings.Join(parts, ", ")
}

// steady calls act n times a second, in small groups, until ctx ends or act fails.
func steady(ctx context.Context, n int, act func(n int) error) error {
	const tick = 10 * time.Millisecond
	began, done := time.Now(), 0
	for pause(ctx, tick) == nil {
		due := int(time.Since(began).Seconds()*float64(n)) - done
		due = min(due, n/10+1) // what could not be done in time is not made up for
		if due <= 0 {
			continue
		}
		done = int(time.Since(began).Seconds() * float64(n))
		if err := act(due); err != nil {
			return err
		}
	}
	return nil
}
