package check

import (
	"slices"
	"time"

	"github.com/starling-chat/starling/test/chaos/internal/history"
)

// Latencies calls each for every message that reached a client live, with the time from the sender's invocation to there. Messages
// that took more than one attempt are left out: which of them was committed is not known.
func Latencies(h *history.History, each func(d *history.Delivery, took time.Duration)) {
	attempts := make(map[string]int, len(h.Sends))
	for i := range h.Sends {
		attempts[h.Sends[i].ID]++
	}
	const unknown = -1
	invoked := make([][]history.Time, len(h.Rooms))
	for i := range h.Sends {
		s := &h.Sends[i]
		if s.Outcome != history.OK || attempts[s.ID] > 1 || s.Room < 0 || s.Room >= len(h.Rooms) || s.Seq > uint64(len(h.Log)) {
			continue
		}
		for uint64(len(invoked[s.Room])) <= s.Seq {
			invoked[s.Room] = append(invoked[s.Room], unknown)
		}
		invoked[s.Room][s.Seq] = s.Invoke
	}
	for i := range h.Deliveries {
		d := &h.Deliveries[i]
		if d.Source != history.Live || d.Room < 0 || int(d.Room) >= len(h.Rooms) || int(d.Seq) >= len(invoked[d.Room]) {
			continue
		}
		if at := invoked[d.Room][d.Seq]; at != unknown {
			each(d, d.At-at)
		}
	}
}

// Quantile sorts the list and gives its q-quantile; 0 of an empty one.
func Quantile(list []time.Duration, q float64) time.Duration {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return list[min(int(q*float64(len(list))), len(list)-1)]
}
