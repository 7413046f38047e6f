//go:build linux

package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestHurt: what others suffer is found, each kind of it, and what they do not mind is not.
func TestHurt(t *testing.T) {
	times := func(n int, each time.Duration) []time.Duration { return slices.Repeat([]time.Duration{each}, n) }
	for what, c := range map[string]struct {
		change func(f *figures)
		grown  int64
		want   string // "" = nothing
	}{
		"nothing":                  {func(*figures) {}, 0, ""},
		"one slow send of many":    {func(f *figures) { f.took[sends] = append(times(150, time.Millisecond), 2*time.Second) }, 0, ""},
		"slow sends":               {func(f *figures) { f.took[sends] = append(times(50, time.Millisecond), 2*time.Second) }, 0, "sends took 2s"},
		"no sends":                 {func(f *figures) { f.took[sends] = nil }, 0, "no send"},
		"a lost send":              {func(f *figures) { f.lost[sends], f.why = 1, "closed" }, 0, "the first: closed"},
		"a newcomer has more time": {func(f *figures) { f.took[enters] = times(1, 1900*time.Millisecond) }, 0, ""},
		"a slow newcomer":          {func(f *figures) { f.took[enters] = times(1, 3*time.Second) }, 0, "newcomers took 3s"},
		"a login waits":            {func(f *figures) { f.took[logins] = times(1, 3900*time.Millisecond) }, 0, ""},
		"a login waits too long":   {func(f *figures) { f.took[logins] = times(1, 5*time.Second) }, 0, "logins took 5s"},
		"a connection ends":        {func(f *figures) { f.ends = 1 }, 0, "1 connections"},
		"memory":                   {func(*figures) {}, 101, "memory grew"},
	} {
		f := figures{}
		f.took[sends] = times(10, time.Millisecond)
		c.change(&f)
		found := strings.Join(limits{within: time.Second, memory: 100}.hurt(f, c.grown), "; ")
		if (found == "") != (c.want == "") || !strings.Contains(found, c.want) {
			t.Errorf("%s: hurt = %q, want %q", what, found, c.want)
		}
	}
}

// TestLimitsFollowTheMachine: where a send takes long without an attack, it may take longer with one.
func TestLimitsFollowTheMachine(t *testing.T) {
	l := limits{within: time.Second}
	f := figures{}
	f.took[sends] = []time.Duration{10 * time.Millisecond}
	if got := l.after(f).within; got != time.Second {
		t.Errorf("limit on a fast machine = %v, want 1s", got)
	}
	f.took[sends] = []time.Duration{10 * time.Millisecond, 400 * time.Millisecond}
	if got := l.after(f).within; got != 2*time.Second {
		t.Errorf("limit on a slow machine = %v, want 2s", got)
	}
}

func TestMeasureTakesTurns(t *testing.T) { synctest.Test(t, testMeasureTakesTurns) }

func testMeasureTakesTurns(t *testing.T) {
	m := newMeasure()
	m.now.ended(sends, 2*time.Second, nil)
	m.now.ended(sends, time.Second, nil)
	m.now.ended(sends, patience+1, nil)
	m.now.ended(logins, time.Second, errors.New("refused"))
	m.lost(errors.New("closed"))
	before, nothing := m.begin(enters), m.begin(sends)
	nothing(errNothing)
	taken := make(chan figures)
	go func() { taken <- m.take() }()
	synctest.Wait()
	after := m.begin(sends) // counts for the next attack
	before(nil)
	f := <-taken
	after(nil)
	if !slices.Equal(f.took[sends], []time.Duration{time.Second, 2 * time.Second}) || f.lost != [kinds]int{1, 0, 1} || len(f.took[enters]) != 1 || f.ends != 1 || f.why != "refused" {
		t.Errorf("take = %+v", f)
	}
	if f = m.take(); len(f.took[sends]) != 1 || f.ends > 0 || f.why != "" {
		t.Errorf("take again = %+v, want only what began after it", f)
	}
}

func TestOptions(t *testing.T) {
	o, err := parse([]string{"-short", "-only", "frames,pongs"})
	if err != nil || o.each != shortEach || o.within != shortWithin || !o.wants("pongs") || o.wants("tunnels") {
		t.Errorf("parse = %+v, %v", o, err)
	}
	if o, err = parse([]string{"-short", "-each", "7s"}); err != nil || o.each != 7*time.Second || !o.wants("tunnels") || o.memory != defaultMemory<<20 {
		t.Errorf("parse = %+v, %v, want what was given", o, err)
	}
	for _, bad := range [][]string{{"-only", "nothing"}, {"-each", "1ms"}, {"more"}} {
		if o, err := parse(bad); err == nil {
			t.Errorf("parse(%q) = %+v, want an error", bad, o)
		}
	}
}

// TestCrowdEnds: attackers stop with their time, whatever they are doing.
func TestCrowdEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	started := make(chan struct{}, 3)
	done := make(chan *tally)
	go func() {
		done <- crowd(ctx, 3, func(ctx context.Context, i int) string {
			started <- struct{}{}
			if i == 0 {
				return "refused"
			}
			<-ctx.Done()
			return "too late"
		})
	}()
	for range 3 {
		<-started
	}
	cancel()
	if got := <-done; got.of("too late") != 0 || got.of("refused") > 1 {
		t.Errorf("crowd = %s", got)
	}
}
