package histogram

import (
	"testing"
	"time"
)

func TestQuantile(t *testing.T) {
	var h Histogram
	if got := h.Quantile(0.5); got != 0 {
		t.Errorf("Quantile(0.5) of nothing = %v, want 0", got)
	}
	for i := 1; i <= 1000; i++ {
		h.Record(time.Duration(i) * time.Microsecond)
	}
	for _, c := range []struct {
		q    float64
		want time.Duration
	}{{0.001, time.Microsecond}, {0.5, 500 * time.Microsecond}, {0.99, 990 * time.Microsecond}, {1, time.Millisecond}} {
		got := h.Quantile(c.q)
		if diff := got - c.want; diff < 0 || diff > c.want/64+1 {
			t.Errorf("Quantile(%v) = %v, want %v or 1/64 more", c.q, got, c.want)
		}
	}
}

func TestIndexAndUpperAgree(t *testing.T) {
	for _, v := range []uint64{0, 1, 63, 64, 65, 127, 128, 1000, 1 << 20, 1<<40 + 12345, 1<<63 - 1} {
		i := index(v)
		if u := upper(i); u < v || (i > 0 && upper(i-1) >= v) {
			t.Errorf("upper(index(%d)) = %d, want the end of the bucket that holds it", v, u)
		}
	}
}
