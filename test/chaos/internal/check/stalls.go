package check

import (
	"cmp"
	"slices"
	"time"

	"github.com/starling-chat/starling/test/chaos/internal/history"
)

// The machine may stand still, or have other things to do: that is nobody's fault. What the rig's own process missed is granted in
// addition to every limit of time. A stall of longStall is more than lost time: the product ends connections and leases whose owner
// was not heard of for long. It counts as a fault, one that touches everything.
const (
	machine   = "machine" // the Nemesis of that fault
	longStall = time.Second
)

func (x *index) indexStalls() {
	var list []interval
	for _, s := range x.h.Stalls {
		list = append(list, interval{s.Start, s.End})
	}
	x.stalls = merged(list)
	for _, s := range x.stalls {
		if s.to-s.from >= longStall {
			x.faults = append(x.faults, &history.Fault{Nemesis: machine, Action: "stands still:", Target: "the machine", Start: s.from, End: s.to})
		}
	}
	slices.SortStableFunc(x.faults, func(a, b *history.Fault) int { return cmp.Compare(a.Start, b.Start) })
}

// stalled is how long the machine stood still in a stretch.
func (x *index) stalled(from, to history.Time) (sum time.Duration) {
	for _, s := range x.stalls {
		sum += max(0, min(s.to, to)-max(s.from, from))
	}
	return sum
}

// after is when the machine has run for d since a moment.
func (x *index) after(t history.Time, d time.Duration) history.Time {
	end := t + d
	for _, s := range x.stalls {
		if s.to > t && s.from <= end {
			end += s.to - max(s.from, t)
		}
	}
	return end
}

// stoodStill tells whether the machine stood still for long in a stretch.
func (x *index) stoodStill(from, to history.Time) bool {
	return x.during(from, to, 0, func(f *history.Fault) bool { return f.Nemesis == machine })
}

// recoveredBy is when everything has to work again after a moment: recoveryTime later, and as long after a long stall.
func (x *index) recoveredBy(t history.Time) history.Time {
	deadline := x.after(t, recoveryTime)
	for _, f := range x.faults {
		if f.Nemesis == machine && f.End > t && f.Start <= deadline+blink {
			deadline = max(deadline, x.after(f.End, recoveryTime))
		}
	}
	return deadline
}
