package check

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/starling-chat/starling/test/chaos/internal/history"
)

// interval is a stretch of time, both ends included.
type interval struct{ from, to history.Time }

// intervals are disjoint and ascending.
type intervals []interval

// merged makes any intervals disjoint and ascending.
func merged(list []interval) intervals {
	slices.SortFunc(list, func(a, b interval) int { return int(a.from - b.from) })
	var out intervals
	for _, i := range list {
		if n := len(out); n > 0 && i.from <= out[n-1].to {
			out[n-1].to = max(out[n-1].to, i.to)
			continue
		}
		out = append(out, i)
	}
	return out
}

// meet tells whether one of the intervals meets a stretch.
func (v intervals) meet(from, to history.Time) bool {
	n := sort.Search(len(v), func(i int) bool { return v[i].to >= from })
	return n < len(v) && v[n].from <= to
}

func (v intervals) total() (sum history.Time) {
	for _, i := range v {
		sum += i.to - i.from
	}
	return sum
}

func (x *index) indexFaults() {
	var disturbed, entangled []interval
	for i, f := range x.faults {
		end := x.endOfFault(f) + recoveryTime
		disturbed = append(disturbed, interval{f.Start, end})
		if beyondAnswer(f) {
			entangled = append(entangled, interval{f.Start, end})
		}
		for j := range i {
			g := x.faults[j]
			from, to := max(f.Start, g.Start), min(end, x.endOfFault(g)+recoveryTime)
			if from <= to {
				entangled = append(entangled, interval{from, to})
			}
		}
	}
	x.disturbed, x.entangled = merged(disturbed), merged(entangled)
}

// beyondAnswer tells that a fault may leave clients without an answer. Such a fault stands between clients and a gateway, or in a
// gateway, and clients learn of it by their heartbeat only; or it is several faults in one.
func beyondAnswer(f *history.Fault) bool {
	if strings.Contains(f.Target, ",") || strings.Contains(f.Action, "pair") || strings.Contains(f.Action, "majority") {
		return true
	}
	switch f.Nemesis {
	case "storm", "slow", machine:
		return true
	case "process", "drain":
		return strings.Contains(f.Target, "gateway")
	}
	return strings.Contains(f.Target, "client")
}

// touches tells that a fault reaches the clients of a gateway, or what presence hears of them.
func touches(f *history.Fault, gateway int) bool {
	switch {
	case f.Nemesis == machine, strings.Contains(f.Target, "gateway-"+strconv.Itoa(gateway)), strings.Contains(f.Target, "gateway-*"):
		return true
	case strings.Contains(f.Target, "gateway-"):
		return false
	}
	return strings.Contains(f.Target, "gateway") || strings.Contains(f.Target, "client")
}

// during tells whether a fault that fits was under way in a stretch, or ended less than grace before it.
func (x *index) during(from, to history.Time, grace time.Duration, fits func(*history.Fault) bool) bool {
	for _, f := range x.faults {
		if f.Start <= to && x.endOfFault(f)+grace >= from && fits(f) {
			return true
		}
	}
	return false
}

// lastBefore is the fault that ended last before a moment, or is under way then; nil: none.
func (x *index) lastBefore(t history.Time) *history.Fault {
	var last *history.Fault
	for _, f := range x.faults {
		if f.Start <= t && (last == nil || x.endOfFault(f) > x.endOfFault(last)) {
			last = f
		}
	}
	return last
}

// near names the faults around a moment, for a sentence.
func (x *index) near(t history.Time) string {
	const before, after, most = 12 * time.Second, time.Second, 3
	var named []string
	for _, f := range x.faults {
		if f.Start-after <= t && t <= x.endOfFault(f)+before {
			named = append(named, fmt.Sprintf("%s %s (%s to %s)", f.Action, f.Target, clock(f.Start), clock(x.endOfFault(f))))
		}
	}
	if len(named) == 0 {
		return " [no fault near]"
	}
	return " [near: " + strings.Join(named[max(0, len(named)-most):], ", ") + "]"
}
