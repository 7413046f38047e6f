package auth

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestCacheLetsGo: an entry is there for its time, and takes no memory long after it; what was put later stays.
func TestCacheLetsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache[int, string](1000, time.Second)
		has := func(want ...int) {
			t.Helper()
			for i := range 3 {
				v, ok := c.get(i)
				wanted := false
				for _, w := range want {
					wanted = wanted || w == i
				}
				if ok != wanted || ok && v != "x" {
					t.Errorf("get(%d) = %q, %v, want it there: %v", i, v, ok, wanted)
				}
			}
		}
		c.put(0, "x", time.Now())
		time.Sleep(900 * time.Millisecond)
		c.put(1, "x", time.Now())
		has(0, 1)
		time.Sleep(900 * time.Millisecond)
		c.put(2, "x", time.Now())
		has(1, 2)
		time.Sleep(3 * time.Second)
		c.mu.Lock()
		left, due := c.entries.Age(), c.aging
		c.mu.Unlock()
		if left != 0 || due {
			t.Errorf("%d entries are kept long after their time, aging goes on: %v; want none, and not", left, due)
		}
		c.put(0, "x", time.Now())
		has(0)
		time.Sleep(time.Minute)
	})
}
