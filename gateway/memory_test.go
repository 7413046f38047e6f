package gateway

import (
	"testing"
	"time"
)

// TestMemoryKeeper: a burst of handshakes is collected as it goes, by and by less often, and memory is given back when a burst of whatever is
// over; handshakes now and then are not worth it, heartbeats are none, and what the collector has done by itself need not be done again.
func TestMemoryKeeper(t *testing.T) {
	const (
		second    = int(time.Second / memoryTick)
		handshake = 20 << 10 // bytes
	)
	now, use := time.Now(), memoryUse{}
	k := memoryKeeper{still: now}
	run := func(ticks int, grow int64, bytes uint64) (collects, returns int) {
		for range ticks {
			now = now.Add(memoryTick)
			use.grown, use.open, use.allocated = use.grown+grow, use.open+grow, use.allocated+bytes
			switch k.look(use, now) {
			case memoryCollect:
				collects++
				use.collections++
			case memoryReturn:
				returns++
				use.collections++
			case memoryNothing:
			}
		}
		return collects, returns
	}
	expect := func(what string, wantCollects, wantReturns int) func(collects, returns int) {
		return func(collects, returns int) {
			t.Helper()
			if collects != wantCollects || returns != wantReturns {
				t.Errorf("%s: %d collections and %d times given back, want %d and %d", what, collects, returns, wantCollects, wantReturns)
			}
		}
	}
	expect("a few handshakes", 0, 0)(run(2*second, 10, 10*handshake))
	expect("calm after a few", 0, 0)(run(10*second, 0, 1000))
	// 10,000: a collection is due after 500 and a twentieth of those who are there.
	if collects, returns := run(2*second, 500, 500*handshake); collects < 5 || collects > 15 || returns != 0 {
		t.Errorf("a burst of 10,000: %d collections and %d times given back, want about ten and none", collects, returns)
	}
	expect("heartbeats after a burst", 0, memoryRounds)(run(60*second, 0, 10_000))
	expect("frames", 0, 0)(run(60*second, 0, 10<<20))
	expect("calm after frames", 0, memoryRounds)(run(60*second, 0, 1000))
	for range 40 { // the collector keeps up
		use.collections++
		expect("a burst with collections", 0, 0)(run(1, 500, 500*handshake))
	}
	expect("calm after that", 0, memoryRounds)(run(60*second, 0, 1000))
}
