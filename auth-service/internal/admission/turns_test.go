package admission

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starling-chat/starling/proto/fault"
)

// crowd is who waits for turns, inside a bubble of synctest.
type crowd struct {
	t     *testing.T
	turns *Turns
	all   sync.WaitGroup

	mu     sync.Mutex // guards what follows
	served []string
	failed map[string]error
}

func newCrowd(t *testing.T, queue int) *crowd {
	return &crowd{t: t, turns: NewTurns(1, queue, 3*time.Second), failed: make(map[string]error)}
}

// come has somebody wait, and keep the slot for a second.
func (c *crowd) come(name string, p Party) {
	c.t.Helper()
	c.all.Go(func() {
		err := c.turns.Acquire(c.t.Context(), p)
		c.mu.Lock()
		if err != nil {
			c.failed[name] = err
			c.mu.Unlock()
			return
		}
		c.served = append(c.served, name)
		c.mu.Unlock()
		time.Sleep(100 * time.Millisecond)
		c.turns.Release()
	})
	synctest.Wait()
}

func TestTurnsGoRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 100)
		a, b, d := Party{Place: "a"}, Party{Place: "b"}, Party{Place: "d"}
		for _, name := range []string{"a0", "a1", "a2", "a3", "a4"} {
			c.come(name, a)
		}
		c.come("b1", b)
		c.come("d1", d)
		c.come("d2", d)
		c.all.Wait()
		if want := []string{"a0", "a1", "b1", "d1", "a2", "d2", "a3", "a4"}; !slices.Equal(c.served, want) {
			t.Errorf("served %v, want %v", c.served, want)
		}
	})
}

// TestNewcomersComeBeforeFloods: who comes while others have a line of many waits for those who have not had a turn, not for a round.
func TestNewcomersComeBeforeFloods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 100)
		for i := range 9 {
			c.come(fmt.Sprintf("f%d", i), Party{Place: fmt.Sprintf("flood %d", i%3)})
		}
		time.Sleep(350 * time.Millisecond) // f0 had the slot; then each of the three lines had a turn
		c.come("honest", Party{Place: "honest"})
		c.all.Wait()
		if at := slices.Index(c.served, "honest"); at != 4 {
			t.Errorf("served %v, want the newcomer fifth", c.served)
		}
	})
}

func TestTurnsSpareWhoHasLoggedInBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 100)
		for i := range 8 {
			c.come(fmt.Sprintf("s%d", i), Party{Place: fmt.Sprintf("stranger %d", i)})
		}
		for i := range 5 {
			c.come(fmt.Sprintf("k%d", i), Party{Place: fmt.Sprintf("known %d", i), Known: true})
		}
		c.all.Wait()
		if want := []string{"s0", "k0", "k1", "k2", "s1", "k3", "k4", "s2", "s3", "s4", "s5", "s6", "s7"}; !slices.Equal(c.served, want) {
			t.Errorf("served %v, want %v", c.served, want)
		}
	})
}

// TestFloodOfLogins: three addresses that send more than the queue holds cost another one a moment, and cost each other nothing more.
func TestFloodOfLogins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 20)
		for i := range 115 {
			c.come(fmt.Sprintf("flood %d", i), Party{Place: fmt.Sprintf("attacker %d", i%3)})
		}
		came := time.Now()
		c.come("honest", Party{Place: "honest"})
		c.all.Wait()
		if at := slices.Index(c.served, "honest"); at < 0 || at > 4 {
			t.Errorf("the honest login was number %d to be served (%v), want among the first", at, c.failed["honest"])
		}
		if got := len(c.served) + len(c.failed); got != 116 || len(c.served) > 30 {
			t.Errorf("%d served and %d refused, want 116 in all and the queue at most served", len(c.served), len(c.failed))
		}
		if past := time.Since(came); past > 4*time.Second {
			t.Errorf("somebody waited %v, want 3s at most", past)
		}
		for name, err := range c.failed {
			if f, ok := errors.AsType[*fault.Error](err); !ok || f.Kind != fault.RateLimited || f.RetryAfter <= 0 {
				t.Fatalf("%s: %v, want %s with a time to come back", name, err, fault.RateLimited)
			}
		}
	})
}

// TestFullQueueOfSingles: when a queue is full of addresses with one login each, who comes first is served, but who has logged in
// before gets in.
func TestFullQueueOfSingles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 10)
		for i := range 11 {
			c.come(fmt.Sprintf("s%d", i), Party{Place: fmt.Sprintf("stranger %d", i)})
		}
		c.come("late", Party{Place: "late"})
		c.come("known", Party{Place: "home", Known: true})
		c.come("known again", Party{Place: "home", Known: true})
		c.all.Wait()
		if c.failed["late"] == nil || c.failed["known"] != nil || len(c.served) != 11 {
			t.Errorf("served %v, refused %v, want the known one served and the late stranger refused", c.served, c.failed)
		}
	})
}

func TestTurnsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(1, 10, 3*time.Second)
		if err := turns.Acquire(t.Context(), Party{Place: "slow"}); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := turns.Acquire(t.Context(), Party{}); fault.KindOf(err) != fault.RateLimited || time.Since(began) != 3*time.Second {
			t.Errorf("Acquire() that waits too long = %v after %v, want %s after 3s", err, time.Since(began), fault.RateLimited)
		}
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() { left <- turns.Acquire(ctx, Party{Place: "left"}) }()
		synctest.Wait()
		cancel()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("Acquire() of a caller that left = %v, want %v", err, context.Canceled)
		}
		if turns.waiting != 0 || len(turns.lines) != 0 {
			t.Errorf("%d wait in %d lines, want none", turns.waiting, len(turns.lines))
		}
		turns.Release()
		if err := turns.Acquire(t.Context(), Party{}); err != nil || turns.free != 0 {
			t.Errorf("Acquire() with a free slot = %v, %d free, want nil, 0", err, turns.free)
		}
	})
}

// TestTurnsUnderLoad: whatever comes, leaves and is displaced at once, no slot is lost and none is given out twice.
func TestTurnsUnderLoad(t *testing.T) {
	turns := NewTurns(2, 20, time.Millisecond)
	var mu sync.Mutex
	inside, most := 0, 0
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%7)*300*time.Microsecond)
			defer cancel()
			for range 20 {
				if turns.Acquire(ctx, Party{Place: fmt.Sprint(i % 9), Known: i%5 == 0}) != nil {
					continue
				}
				mu.Lock()
				inside++
				most = max(most, inside)
				mu.Unlock()
				mu.Lock()
				inside--
				mu.Unlock()
				turns.Release()
			}
		})
	}
	all.Wait()
	if most > 2 || turns.free != 2 || turns.waiting != 0 || len(turns.lines) != 0 {
		t.Errorf("%d inside at once, %d free, %d waiting in %d lines, want at most 2, then 2, 0, 0", most, turns.free, turns.waiting, len(turns.lines))
	}
}
