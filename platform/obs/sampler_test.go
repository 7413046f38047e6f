package obs

import (
	"testing"
	"time"
)

func TestSampler(t *testing.T) {
	s := NewSampler(10 * time.Second)
	start := time.Unix(1000, 0)
	for _, step := range []struct {
		after   time.Duration
		skipped int
		ok      bool
	}{
		{0, 0, true},
		{time.Second, 0, false},
		{9999 * time.Millisecond, 0, false},
		{10 * time.Second, 2, true},
		{19 * time.Second, 0, false},
		{time.Minute, 1, true},
		{2 * time.Minute, 0, true},
	} {
		if skipped, ok := s.Take(start.Add(step.after)); skipped != step.skipped || ok != step.ok {
			t.Errorf("Take after %v = %d, %v, want %d, %v", step.after, skipped, ok, step.skipped, step.ok)
		}
	}
}
