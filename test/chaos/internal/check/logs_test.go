package check

import (
	"slices"
	"testing"
	"time"

	"github.com/starling-chat/starling/test/chaos/internal/history"
)

func logCases() []broken {
	return []broken{
		{name: "a device misses an event of its log", invariant: 15, says: "did not hear 1 to 1", harm: func(h *history.History) { unhear(h, 1, 0, 1) }},
		{name: "a device hears an event again", invariant: 15, says: "again, or late", harm: func(h *history.History) {
			d := h.Heard[heardAt(h, 2, 0, 2)]
			d.At = endAt - second
			h.Heard = append(h.Heard, d)
		}},
		{name: "a device hears events out of order", invariant: 15, says: "did not hear 1 to 1", harm: func(h *history.History) {
			i, j := heardAt(h, 2, 0, 1), heardAt(h, 2, 0, 2)
			h.Heard[i], h.Heard[j] = h.Heard[j], h.Heard[i]
		}},
		{name: "a device does not hear the last event", invariant: 15, says: "is at 1 of its log in the end", harm: func(h *history.History) { unhear(h, 3, 0, 2) }},
		{name: "who resumes by useq does not get what was before", invariant: 15, says: "device 1 of u8 is at 0", harm: func(h *history.History) { unhear(h, twofold, 1, 1) }},
		{name: "a device is told to begin anew", invariant: 15, says: "begin anew", harm: func(h *history.History) {
			h.Heard[heardAt(h, 2, 0, 2)].Kind = "me:reset"
		}},
		{name: "a device hears another event", invariant: 15, says: "another event", harm: func(h *history.History) { h.Heard[heardAt(h, 2, 0, 2)].Hash++ }},
		{name: "a device hears what was never stored", invariant: 15, says: "does not have", harm: func(h *history.History) {
			d := h.Heard[heardAt(h, 2, 0, 2)]
			d.At, d.Seq = endAt-second, d.Seq+1
			h.Heard = append(h.Heard, d)
		}},
		{name: "a device does not hear that it is mentioned", invariant: 15, says: "is at 1 of its log in the end", harm: func(h *history.History) {
			unhear(h, quietUser, 0, 2)
		}},
		{name: "the log has a hole", invariant: 15, says: "has 2 where 3 should be", harm: func(h *history.History) { h.Users[2].LogSeq++ }},
		{name: "a leave is in the room and not in the log", invariant: 15, says: "tells 1 times of all", harm: func(h *history.History) {
			h.Users[outcast].LogSeq--
			h.Told = slices.DeleteFunc(h.Told, func(t history.Told) bool { return t.User == outcast && t.Seq == 3 })
			unhear(h, outcast, 0, 3)
		}},
		{name: "the log tells of a leave where the user came", invariant: 15, says: "by me:room-removed for the change at", harm: func(h *history.History) {
			for i := range h.Told {
				if t := &h.Told[i]; t.User == outcast && t.Seq == 1 {
					t.Kind = "me:room-removed"
					h.Heard[heardAt(h, outcast, 0, 1)].Kind = t.Kind
				}
			}
		}},
	}
}

func heardAt(h *history.History, user, device int, seq uint64) int {
	return slices.IndexFunc(h.Heard, func(d history.Heard) bool { return d.User == user && d.Device == device && d.Seq == seq })
}

func unhear(h *history.History, user, device int, seq uint64) {
	i := heardAt(h, user, device, seq)
	h.Heard = slices.Delete(h.Heard, i, i+1)
}

// TestLogsOwed: what was stored a moment ago, or before the log was trimmed, need not have been heard or be kept; who came back a moment ago
// may still be on the way.
func TestLogsOwed(t *testing.T) {
	for name, harm := range map[string]func(h *history.History){
		"stored a moment ago": func(h *history.History) {
			for i := range h.Told {
				if h.Told[i].User == 3 && h.Told[i].Seq == 2 {
					h.Told[i].At = endAt - second
				}
			}
			unhear(h, 3, 0, 2)
		},
		"came back a moment ago": func(h *history.History) {
			h.Conns[len(h.Conns)-1].Up = endAt - second
			unhear(h, twofold, 1, 1)
		},
		"mentioned in a room that it left": func(h *history.History) { unhear(h, outcast, 0, 2) },
		"trimmed": func(h *history.History) {
			h.Told = slices.DeleteFunc(h.Told, func(t history.Told) bool { return t.User == 2 && t.Seq == 1 })
		},
	} {
		h := valid()
		harm(h)
		for _, r := range Run(h) {
			if r.Count > 0 {
				t.Errorf("%s: %d %s: %v", name, r.Number, r.Name, r.Violations)
			}
		}
	}
	h := valid()
	h.Stalls = append(h.Stalls, history.Stall{Start: endAt - 20*second, End: endAt - time.Millisecond})
	unhear(h, 3, 0, 2)
	for _, r := range Run(h) {
		if r.Number == 15 && r.Count != 1 {
			t.Errorf("a machine that stood still excuses what was stored long before: %+v", r)
		}
	}
}
