package admission

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starling-chat/starling/proto/fault"
)

func TestLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(Limit{PerMinute: 6, Burst: 2})
		for i, want := range []fault.Kind{"", "", fault.RateLimited} {
			if got := fault.KindOf(l.acquire("ann")); got != want {
				t.Errorf("take %d = %q, want %q", i, got, want)
			}
		}
		var f *fault.Error
		if errors.As(l.acquire("ann"), &f); f == nil || f.RetryAfter <= 9*time.Second || f.RetryAfter > 10*time.Second {
			t.Errorf("acquire() = %v, want a retry after 10s", f)
		}
		if err := l.acquire("bob"); err != nil {
			t.Errorf("acquire(bob) = %v, want nil", err)
		}
		time.Sleep(10 * time.Second)
		if err := l.acquire("ann"); err != nil {
			t.Errorf("acquire(ann) after 10s = %v, want nil", err)
		}
		l.giveBack("ann")
		if err := l.acquire("ann"); err != nil {
			t.Errorf("acquire(ann) after giving back = %v, want nil", err)
		}
	})
}
