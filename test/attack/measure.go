//go:build linux

package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// What others do, each measured for itself.
const (
	sends  = iota // a message, from the request to the ack
	enters        // a new connection, from the dial to the ack of its first message
	logins        // a login with the right password
	kinds
)

// patience is when something that others do counts as lost.
const patience = 10 * time.Second

// figures are what was measured during one attack.
type figures struct {
	took [kinds][]time.Duration
	lost [kinds]int // no answer, or another one than success
	ends int        // connections of others that ended
	why  string     // of the first that was lost or ended
}

// measure collects figures. What begins during an attack counts for it, also when it ends later.
type measure struct {
	mu  sync.Mutex
	now *epoch // guarded by mu
}

// epoch is the time of one attack.
type epoch struct {
	open sync.WaitGroup // of what has begun and not ended

	mu      sync.Mutex
	figures figures // guarded by mu
}

func newMeasure() *measure { return &measure{now: &epoch{}} }

// begin tells that somebody begins something; done tells how it ended, once.
func (m *measure) begin(kind int) (done func(err error)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, began := m.now, time.Now()
	e.open.Add(1)
	return func(err error) {
		e.ended(kind, time.Since(began), err)
		e.open.Done()
	}
}

// errNothing says that what began was nothing to be measured.
var errNothing = errors.New("nothing")

func (e *epoch) ended(kind int, took time.Duration, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case errors.Is(err, errNothing):
	case err != nil || took > patience:
		e.figures.lost[kind]++
		e.figures.because(err)
	default:
		e.figures.took[kind] = append(e.figures.took[kind], took)
	}
}

// lost tells that a connection of somebody has ended.
func (m *measure) lost(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now.mu.Lock()
	defer m.now.mu.Unlock()
	m.now.figures.ends++
	m.now.figures.because(err)
}

func (f *figures) because(err error) {
	if err != nil && f.why == "" {
		f.why = err.Error()
	}
}

// take gives the figures since the last time, when all that began has ended.
func (m *measure) take() figures {
	m.mu.Lock()
	e := m.now
	m.now = &epoch{}
	m.mu.Unlock()
	e.open.Wait() // everything has a deadline
	for kind := range e.figures.took {
		slices.Sort(e.figures.took[kind])
	}
	return e.figures
}

// percentile is of a sorted list; 0 of an empty one.
func percentile(sorted []time.Duration, percent int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)*percent/100, len(sorted)-1)]
}

// limits are what an attack must not exceed.
type limits struct {
	within time.Duration
	memory int64 // bytes
}

// after says how the baseline moves the limits: on a loaded machine everything takes longer.
func (l limits) after(baseline figures) limits {
	l.within = max(l.within, 5*percentile(baseline.took[sends], 99))
	return l
}

// hurt lists what others had to suffer.
func (l limits) hurt(f figures, grown int64) (found []string) {
	add := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	for kind, name := range []string{"sends", "newcomers", "logins"} {
		// A newcomer makes four round trips; a login waits for its turn to be hashed, 3 s at most.
		within := l.within * []time.Duration{1, 2, 1}[kind]
		if kind == logins {
			within += 3 * time.Second
		}
		sorted := f.took[kind]
		if f.lost[kind] > 0 {
			add("%d %s of %d lost", f.lost[kind], name, f.lost[kind]+len(sorted))
		}
		if p := percentile(sorted, 99); p > within {
			add("%s took %v (99th percentile), the limit is %v", name, p.Round(time.Millisecond), within)
		}
	}
	if len(f.took[sends]) == 0 {
		add("no send was acknowledged")
	}
	if f.ends > 0 {
		add("%d connections of others ended", f.ends)
	}
	if f.why != "" {
		add("the first: %s", f.why)
	}
	if grown > l.memory {
		add("memory grew by %d MiB, the limit is %d", grown>>20, l.memory>>20)
	}
	return found
}

// disturbed tells that others had to suffer without an attack.
func (f figures) disturbed() bool { return len(f.took[sends]) == 0 || f.why != "" }

// String is the figures in one line: median, 99th percentile and slowest of each kind.
func (f figures) String() string {
	parts := make([]string, 0, kinds)
	for kind, name := range []string{"sends", "newcomers", "logins"} {
		sorted := f.took[kind]
		parts = append(parts, fmt.Sprintf("%s %d/%d/%d ms (%d)", name, percentile(sorted, 50).Milliseconds(), percentile(sorted, 99).Milliseconds(),
			percentile(sorted, 100).Milliseconds(), len(sorted)))
	}
	return strings.Join(parts, ", ")
}
