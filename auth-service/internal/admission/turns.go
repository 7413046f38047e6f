package admission

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/starling-chat/starling/proto/fault"
)

// spared is how many turns those who have logged in before get for one of strangers, while both wait.
const spared = 3

// Party is who waits for a turn. Users who come back do not stand behind strangers who share their address.
type Party struct {
	Place string // of the client, see Origin
	Known bool   // the user has logged in from there before
}

// Turns gives out a bounded number of slots. Who finds none waits, and slots that come free go round the parties that wait, one to
// each: whoever sends a hundred logins at once waits for their own. A full queue takes a place from the party that has the most.
//
//	party      waiting          slots go to
//	10.0.0.1   a b c d e        a, f, g, b, h, c, d, e
//	10.0.0.2   f
//	10.0.0.3   g h
type Turns struct {
	wait  time.Duration // nobody waits longer
	queue int           // most that wait

	mu      sync.Mutex // guards what follows
	free    int
	waiting int
	lines   []*line // one for each party that waits, the next turn first
	row     int     // turns of known parties since strangers had one
}

type line struct {
	Party
	tickets []*ticket // oldest first, never empty
	served  bool      // has had a turn
}

// ticket is one place in a line. called gets true with a slot, and false when the place was taken away.
type ticket struct{ called chan bool }

// NewTurns has so many slots, for which so many may wait for so long.
func NewTurns(slots, queue int, wait time.Duration) *Turns {
	return &Turns{free: slots, queue: queue, wait: wait}
}

// Acquire waits for a slot; each success needs one Release. The fault is RateLimited, which callers, unlike Unavailable, do not
// repeat by themselves.
func (t *Turns) Acquire(ctx context.Context, p Party) error {
	mine, err := t.enter(p)
	if mine == nil {
		return err
	}
	timer := time.NewTimer(t.wait)
	defer timer.Stop()
	select {
	case got := <-mine.called:
		if !got {
			return errBusy()
		}
		return nil
	case <-timer.C:
		err = errBusy()
	case <-ctx.Done():
		err = fmt.Errorf("wait to hash a password: %w", ctx.Err())
	}
	if !t.leave(p, mine) && <-mine.called { // it came at the same moment
		t.Release()
	}
	return err
}

func errBusy() error {
	return fault.Retry(fault.RateLimited, "Too many logins at the moment, try again later", 2*time.Second)
}

// enter takes a slot, or a place to wait. Without either it fails.
func (t *Turns) enter(p Party) (*ticket, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.free > 0 {
		t.free--
		return nil, nil //nolint:nilnil // a slot is neither a place nor an error
	}
	own := t.line(p)
	ahead := 0
	if own != nil {
		ahead = len(own.tickets)
	}
	if t.waiting >= t.queue && !t.displace(p, ahead) {
		return nil, errBusy()
	}
	mine := &ticket{called: make(chan bool, 1)}
	if own == nil { // displace may have ended other lines, not this one
		own = &line{Party: p}
		// Before those that have had a turn: who comes with one login does not wait for a round of those who flood.
		i := slices.IndexFunc(t.lines, func(l *line) bool { return l.served })
		if i < 0 {
			i = len(t.lines)
		}
		t.lines = slices.Insert(t.lines, i, own)
	}
	own.tickets = append(own.tickets, mine)
	t.waiting++
	return mine, nil
}

func (t *Turns) line(p Party) *line {
	if i := t.index(p); i >= 0 {
		return t.lines[i]
	}
	return nil
}

func (t *Turns) index(p Party) int {
	return slices.IndexFunc(t.lines, func(l *line) bool { return l.Party == p })
}

// displace takes the last place of another line in favour of a newcomer with so many places ahead: of one that stays no shorter than
// the newcomer's, or of one of strangers when the newcomer has logged in before.
func (t *Turns) displace(p Party, ahead int) bool {
	from := -1
	for i, l := range t.lines {
		gives := len(l.tickets) > ahead+1 || p.Known && !l.Known && len(l.tickets) > ahead
		if gives && (from < 0 || l.yields(t.lines[from])) {
			from = i
		}
	}
	if from < 0 {
		return false
	}
	last := len(t.lines[from].tickets) - 1
	displaced := t.lines[from].tickets[last]
	t.remove(from, last)
	displaced.called <- false
	return true
}

// yields tells whether the line gives up a place before another one does: strangers first, then the longer one.
func (l *line) yields(other *line) bool {
	if l.Known != other.Known {
		return !l.Known
	}
	return len(l.tickets) > len(other.tickets)
}

// remove takes a ticket out of a line, and the line out of the round when it was the last one.
func (t *Turns) remove(i, j int) {
	l := t.lines[i]
	l.tickets = slices.Delete(l.tickets, j, j+1)
	t.waiting--
	if len(l.tickets) == 0 {
		t.lines = slices.Delete(t.lines, i, i+1)
	}
}

// leave gives a place back; false when it has been called.
func (t *Turns) leave(p Party, mine *ticket) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := t.index(p)
	if i < 0 {
		return false
	}
	j := slices.Index(t.lines[i].tickets, mine)
	if j < 0 {
		return false
	}
	t.remove(i, j)
	return true
}

// Release hands the slot on to whose turn it is.
func (t *Turns) Release() {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := t.next()
	if i < 0 {
		t.free++
		return
	}
	l := t.lines[i]
	first := l.tickets[0]
	t.remove(i, 0)
	l.served = true
	if len(l.tickets) > 0 { // to the end of the round
		t.lines = append(slices.Delete(t.lines, i, i+1), l)
	}
	first.called <- true
}

// next tells which line has the turn, -1 when nobody waits.
func (t *Turns) next() int {
	of := func(known bool) int {
		return slices.IndexFunc(t.lines, func(l *line) bool { return l.Known == known })
	}
	known, stranger := of(true), of(false)
	switch {
	case known < 0:
		t.row = 0
		return stranger
	case stranger >= 0 && t.row >= spared:
		t.row = 0
		return stranger
	}
	t.row++
	return known
}
