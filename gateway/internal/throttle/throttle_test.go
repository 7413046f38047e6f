package throttle

import (
	"slices"
	"testing"
	"time"
)

// TestThrottle: while deliveries are behind, requests wait; they go on when the gateway has caught up, and are given up when that
// takes too long.
func TestThrottle(t *testing.T) {
	th := New[int](2)
	delays := func(request int, want bool) {
		t.Helper()
		if got := th.Delay(request); got != want {
			t.Errorf("Delay(%d) = %v, want %v", request, got, want)
		}
	}
	releases := func(after time.Duration, wantOK bool, want ...int) {
		t.Helper()
		if got, ok := th.Release(time.Now().Add(after)); !slices.Equal(got, want) || ok != wantOK {
			t.Errorf("Release after %v = %v, %v, want %v, %v", after, got, ok, want, wantOK)
		}
	}
	delays(0, false)
	releases(0, true)
	th.Report(1, 2*high)
	delays(1, true)
	delays(2, true)
	releases(0, false)
	th.Report(1, low+1)
	th.Report(0, 0)
	delays(3, true)
	releases(0, false) // nearly caught up is not enough
	th.Report(1, 0)
	releases(0, true, 1, 2, 3)
	delays(4, false)

	th.Report(0, 2*high)
	delays(5, true)
	releases(2*maxDelay, false, 5)
	delays(6, true)
	releases(0, false)
}
