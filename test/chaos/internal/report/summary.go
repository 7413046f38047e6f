// Package report makes a run's history readable: a JSON summary for machines, a page for people, and a table over many runs.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/starling-chat/starling/test/chaos/internal/check"
	"github.com/starling-chat/starling/test/chaos/internal/history"
)

// Summary is what is kept of every run.
type Summary struct {
	Config   history.Config    `json:"config"`
	OK       bool              `json:"ok"`
	Results  []check.Result    `json:"results"`
	Problems []string          `json:"problems,omitempty"` // see history.History
	Faults   []history.Fault   `json:"faults"`
	Totals   Totals            `json:"totals"`
	Seconds  []Second          `json:"seconds"`
	Memory   []Memory          `json:"memory"`
	Setting  []history.Setting `json:"settings,omitempty"`
}

// Totals of a run.
type Totals struct {
	Users      int           `json:"users"`
	Rooms      int           `json:"rooms"`
	Messages   int           `json:"messages"`
	Attempts   int           `json:"attempts"`
	Acked      int           `json:"acked"` // attempts
	Failed     int           `json:"failed"`
	Unknown    int           `json:"unknown"`
	Lost       int           `json:"unsettled"` // messages without an ack in the end
	Events     int           `json:"events"`    // in the database
	Deliveries int           `json:"deliveries"`
	Conns      int           `json:"connections"`
	Recovered  int           `json:"recovered"`
	Keys       int           `json:"keys"` // that signed tokens
	AckP50     time.Duration `json:"ackP50"`
	AckP99     time.Duration `json:"ackP99"`
	P50        time.Duration `json:"deliveryP50"`
	P99        time.Duration `json:"deliveryP99"`
}

// Second is one second of a run.
type Second struct {
	At        int           `json:"at"`
	Acked     int           `json:"acked"` // by return
	Failed    int           `json:"failed"`
	Unknown   int           `json:"unknown"`
	Delivered int           `json:"delivered"`
	Connected int           `json:"connected"` // at its end
	P50       time.Duration `json:"p50"`       // of deliveries, from the sender's invocation
	P99       time.Duration `json:"p99"`
}

// Memory is the resident memory of one process; restarts are one line.
type Memory struct {
	Process string `json:"process"`
	First   int64  `json:"first"`
	Last    int64  `json:"last"`
	Max     int64  `json:"max"`
	Starts  int    `json:"starts"` // incarnations
}

// Summarise condenses a history.
func Summarise(h *history.History, results []check.Result) Summary {
	s := Summary{Config: h.Config, OK: check.Failed(results) == 0 && len(h.Problems) == 0, Problems: h.Problems, Results: results, Faults: h.Faults, Setting: h.Settings}
	s.Seconds = make([]Second, int(end(h)/time.Second)+1)
	for i := range s.Seconds {
		s.Seconds[i].At = i
	}
	s.countSends(h)
	s.countDeliveries(h)
	s.countConns(h)
	s.Memory = memory(h)
	s.Totals.Users, s.Totals.Rooms, s.Totals.Events, s.Totals.Keys = len(h.Users), len(h.Rooms), len(h.Log), h.Keys
	return s
}

// end is the last moment that is shown.
func end(h *history.History) time.Duration {
	const longest = 24 * time.Hour // whatever a damaged history says
	return min(max(h.Config.End, h.Config.Stopped, h.Config.Healed, 0), longest)
}

// second is the one that a moment falls into.
func (s *Summary) second(t history.Time) *Second {
	return &s.Seconds[min(max(int(t/time.Second), 0), len(s.Seconds)-1)]
}

func (s *Summary) countSends(h *history.History) {
	acked := make(map[string]bool)
	var took []time.Duration
	for i := range h.Sends {
		send, at := &h.Sends[i], s.second(h.Sends[i].Return)
		acked[send.ID] = acked[send.ID] || send.Outcome == history.OK
		switch send.Outcome {
		case history.OK:
			at.Acked++
			s.Totals.Acked++
			took = append(took, send.Return-send.Invoke)
		case history.Fail:
			at.Failed++
			s.Totals.Failed++
		case history.Unknown:
			at.Unknown++
			s.Totals.Unknown++
		}
	}
	s.Totals.Messages, s.Totals.Attempts = len(acked), len(h.Sends)
	for _, ok := range acked {
		if !ok {
			s.Totals.Lost++
		}
	}
	s.Totals.AckP50, s.Totals.AckP99 = check.Quantile(took, 0.5), check.Quantile(took, 0.99)
}

func (s *Summary) countDeliveries(h *history.History) {
	s.Totals.Deliveries = len(h.Deliveries)
	for i := range h.Deliveries {
		s.second(h.Deliveries[i].At).Delivered++
	}
	var all []time.Duration
	each := make([][]time.Duration, len(s.Seconds))
	check.Latencies(h, func(d *history.Delivery, took time.Duration) {
		at := s.second(d.At).At
		each[at] = append(each[at], took)
		all = append(all, took)
	})
	for i, list := range each {
		s.Seconds[i].P50, s.Seconds[i].P99 = check.Quantile(list, 0.5), check.Quantile(list, 0.99)
	}
	s.Totals.P50, s.Totals.P99 = check.Quantile(all, 0.5), check.Quantile(all, 0.99)
}

func (s *Summary) countConns(h *history.History) {
	change := make([]int, len(s.Seconds)+1)
	for i := range h.Conns {
		c := &h.Conns[i]
		s.Totals.Conns++
		if c.Recovered {
			s.Totals.Recovered++
		}
		change[s.second(c.Up).At]++
		if c.Down > 0 {
			change[s.second(c.Down).At]--
		}
	}
	n := 0
	for i := range s.Seconds {
		n += change[i]
		s.Seconds[i].Connected = n
	}
}

func memory(h *history.History) []Memory {
	of := make(map[string]*Memory)
	pids := make(map[string]int)
	for i := range h.Samples {
		sample := &h.Samples[i]
		m := of[sample.Process]
		if m == nil {
			m = &Memory{Process: sample.Process, First: sample.RSS}
			of[sample.Process] = m
		}
		if pids[sample.Process] != sample.PID {
			pids[sample.Process] = sample.PID
			m.Starts++
		}
		m.Last, m.Max = sample.RSS, max(m.Max, sample.RSS)
	}
	var list []Memory
	for _, name := range slices.Sorted(maps.Keys(of)) {
		list = append(list, *of[name])
	}
	return list
}

// JSON writes the summary; times are nanoseconds.
func JSON(w io.Writer, h *history.History, results []check.Result) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	if err := e.Encode(Summarise(h, results)); err != nil {
		return fmt.Errorf("write the summary: %w", err)
	}
	return nil
}
