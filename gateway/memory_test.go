package gateway

import (
	"testing"
	"time"
)

// TestMemoryKeeper: a burst is collected as it goes, by and by less often, and its memory is given back when it is over; handshakes now and then
// are not worth it, and what the collector has done by itself need not be done again.
func TestMemoryKeeper(t *testing.T) {
	now, opened, ran := time.Now(), int64(0), uint64(0)
	k := memoryKeeper{calmSince: now, open: func() int { return int(opened) }, collections: func() uint64 { return ran }}
	run := func(ticks int, each int64) (collects, returns int) {
		for range ticks {
			now, opened = now.Add(memoryTick), opened+each
			switch k.look(opened, now) {
			case memoryCollect:
				collects++
				ran++
			case memoryReturn:
				returns++
				ran++
			case memoryNothing:
			}
		}
		return collects, returns
	}
	const second = int(time.Second / memoryTick)
	expect := func(what string, collects, returns, wantCollects, wantReturns int) {
		t.Helper()
		if collects != wantCollects || returns != wantReturns {
			t.Errorf("%s: %d collections and %d times given back, want %d and %d", what, collects, returns, wantCollects, wantReturns)
		}
	}
	c, r := run(2*second, 10)
	expect("a few handshakes", c, r, 0, 0)
	c, r = run(10*second, 0)
	expect("calm after a few", c, r, 0, 0)
	c, r = run(2*second, 500) // 10,000: a collection is due after 500 and a twentieth of those who are there
	if c < 5 || c > 15 || r != 0 {
		t.Errorf("a burst of 10,000: %d collections and %d times given back, want about ten and none", c, r)
	}
	c, r = run(60*second, 0)
	expect("calm after a burst", c, r, 0, memoryRounds)
	for range 40 { // the collector keeps up
		ran++
		c, r = run(1, 500)
		expect("a burst with collections", c, r, 0, 0)
	}
	c, r = run(60*second, 0)
	expect("calm after that", c, r, 0, memoryRounds)
}
