package transport

import (
	"testing"
	"time"
)

// TestPace: an honest slow link is never cut, whatever it has to send; one that trickles is, and so is one that falls silent.
func TestPace(t *testing.T) {
	t.Parallel()
	start := time.Unix(1_000_000, 0)
	const patience = 10 * time.Second
	for _, tc := range []struct {
		name  string
		bytes int           // each time
		every time.Duration // so often
		total int
		want  time.Duration // until it is cut; 0 = it is not
	}{
		{"40 KB/s for 750 KB", 4000, 100 * time.Millisecond, 750_000, 0},
		{"1 KiB/s for a MB", 1024, time.Second, 1_000_000, 0},
		{"4 KiB each 4 s", 4096, 4 * time.Second, 1_000_000, 0},
		{"a byte each 3 s", 1, 3 * time.Second, 200_000, patience},
		{"half the rate", 512, time.Second, 200_000, 2 * patience},
		{"silence after all but one byte", 1 << 20, time.Minute, 1<<20 + 1, patience},
	} {
		now, sent, cut := start, 0, time.Duration(0)
		p := NewArrivalDeadline(patience, start)
		for sent += tc.bytes; ; sent += tc.bytes {
			p.Moved(tc.bytes, now)
			if sent >= tc.total {
				break
			}
			if now = now.Add(tc.every); now.After(p.Deadline()) {
				cut = p.Deadline().Sub(start)
				break
			}
		}
		if cut.Round(time.Second) != tc.want {
			t.Errorf("%s: cut after %v with %d bytes, want %v", tc.name, cut, sent, tc.want)
		}
	}
}
