package check

import (
	"slices"
	"testing"
	"time"

	"github.com/starling-chat/starling/test/chaos/internal/history"
)

// TestStalls: what a machine that stood still explains is no violation; the same is one without the stall, or with a stall long
// before it.
func TestStalls(t *testing.T) {
	stalls := func(list ...history.Time) (all []history.Stall) {
		for i := 0; i < len(list); i += 2 {
			all = append(all, history.Stall{Start: list[i], End: list[i+1]})
		}
		return all
	}
	m220 := sendOf(valid(), "m220").Invoke
	const ms = time.Millisecond
	for name, explained := range map[string][]history.Stall{
		"no answer for long":                 stalls(m220+second, m220+2*second+100*ms),
		"an error without a fault":           stalls(20*second, 21*second+500*ms),
		"a connection ends in peace":         stalls(26*second, 27*second+500*ms),
		"a client is not connected":          stalls(healAt+8*second, healAt+9*second+200*ms),
		"a healthy user flaps":               stalls(38*second, 39*second+500*ms),
		"offline in calm":                    stalls(26*second, 27*second+500*ms),
		"a revoked user stays connected":     stalls(revokeAt+500*ms, revokeAt+2*second),
		"all come back from a drain at once": stalls(drainAt+10*ms, drainAt+300*ms),
	} {
		all := slices.Concat(viewCases(), serviceCases(), otherCases())
		n := slices.IndexFunc(all, func(c broken) bool { return c.name == name })
		for what, stalled := range map[string][]history.Stall{"explained": explained, "long before": stalls(4*second, 6*second)} {
			t.Run(name+", "+what, func(t *testing.T) {
				h := valid()
				h.Stalls = stalled
				all[n].harm(h)
				for _, r := range Run(h) {
					if found, want := r.Count > 0, what != "explained" && r.Number == all[n].invariant; found != want {
						t.Errorf("invariant %d (%s) is violated: %t, want %t: %v", r.Number, r.Name, found, want, r.Violations)
					}
				}
			})
		}
	}
}

// TestStallsAreAdded: what the machine missed comes on top of a limit, and no more than that.
func TestStallsAreAdded(t *testing.T) {
	for _, missed := range []time.Duration{900 * time.Millisecond, 1100 * time.Millisecond} {
		h := valid()
		s := sendOf(h, "m220")
		s.Return = s.Invoke + answerTime + time.Second
		for _, at := range []history.Time{s.Invoke + second, s.Invoke + 3*second} {
			h.Stalls = append(h.Stalls, history.Stall{Start: at, End: at + missed/2})
		}
		if r := Run(h)[7]; (r.Count > 0) != (missed < time.Second) {
			t.Errorf("an answer a second late, after %v in which nothing ran: %d violations", missed, r.Count)
		}
	}
}
