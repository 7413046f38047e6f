package quota

import (
	"testing"
	"time"
)

// TestSocket: a socket has its burst and its rate, is called a flood when it goes on above them, and is as good as new when it has paused.
func TestSocket(t *testing.T) {
	const rate, burst = 2, 3
	var s Socket
	start := time.Unix(1_800_000_000, 0)
	if !s.Rested(rate, start) {
		t.Error("a new socket is not rested")
	}
	for i := range 4 {
		wait, ok := s.Take(rate, burst, start)
		if ok != (i < burst) || !ok && wait != time.Second/rate {
			t.Errorf("event %d at once: %v, wait %v; want the first %d, and to wait %v then", i, ok, wait, burst, time.Second/rate)
		}
	}
	if _, ok := s.Take(rate, burst, start.Add(time.Second/rate)); !ok {
		t.Error("refused after the time that it was told to wait")
	}
	for i := range FloodBursts*burst + 1 {
		if flood := s.Refuse(rate, burst, start); flood != (i == FloodBursts*burst) {
			t.Errorf("refusal %d: flood = %v", i, flood)
		}
	}
	if s.Rested(rate, start.Add(2*time.Second)) { // the events are forgotten by then, the refusals are not
		t.Error("rested although it was refused much a moment ago")
	}
	if !s.Rested(rate, start.Add(time.Minute)) {
		t.Error("not rested after a minute")
	}
	var free Socket
	for range 1000 {
		if _, ok := free.Take(0, burst, start); !ok || free.Refuse(0, burst, start) || !free.Rested(0, start) {
			t.Fatal("a socket without a limit is refused, a flood or not rested")
		}
	}
}
