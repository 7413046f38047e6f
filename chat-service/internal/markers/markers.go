// Package markers has the devices of users told how far they have read, at most a few times a second for each user and room: what is told is
// the state by then.
//
//	quiet     Tell ─▶ told at once; the user is busy in the room for Interval
//	busy      Tell ─▶ told at the end of Interval, once
package markers

import (
	"sync"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/proto/fault"
)

const (
	// Interval is how long a marker waits at most to be told.
	Interval = 500 * time.Millisecond
	// most bounds the markers that are busy. Beyond, they are told at once.
	most = 50_000
)

// Teller tells markers. It is safe for concurrent use. A replica that ends without Close tells no more of what waits: the devices see it with the
// next change, or when they list rooms.
type Teller struct {
	submit func(rules.Command, func(rules.Outcome)) error

	// Guarded by mu.
	mu     sync.Mutex
	busy   map[chat.Membership]*busy
	closed bool
}

type busy struct {
	timer *time.Timer
	again bool
}

// New returns a Teller that hands commands to submit.
func New(submit func(c rules.Command, done func(rules.Outcome)) error) *Teller {
	return &Teller{submit: submit, busy: map[chat.Membership]*busy{}}
}

// Tell has the user's devices told of the marker in the room.
func (t *Teller) Tell(m chat.Membership) {
	t.mu.Lock()
	b := t.busy[m]
	switch {
	case b != nil:
		b.again = true
		t.mu.Unlock()
		return
	case !t.closed && len(t.busy) < most:
		t.busy[m] = &busy{timer: time.AfterFunc(Interval, func() { t.over(m) })}
	}
	t.mu.Unlock()
	t.tell(m)
}

// over ends the time in which a marker is busy, or begins another one.
func (t *Teller) over(m chat.Membership) {
	t.mu.Lock()
	b := t.busy[m]
	if b == nil {
		t.mu.Unlock()
		return
	}
	again := b.again
	if b.again = false; again {
		b.timer.Reset(Interval)
	} else {
		delete(t.busy, m)
	}
	t.mu.Unlock()
	if again {
		t.tell(m)
	}
}

// tell hands over the command, and again at the end of Interval where it could not be done.
func (t *Teller) tell(m chat.Membership) {
	failed := func(err error) {
		if kind := fault.KindOf(err); err == nil || kind != fault.Unavailable && kind != fault.Timeout {
			return
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		if b := t.busy[m]; b != nil {
			b.again = true
		}
	}
	command := rules.TellMarkers{Origin: rules.Origin{Room: m.Room}, Users: []chat.UserID{m.User}}
	failed(t.submit(command, func(o rules.Outcome) { failed(o.Err) }))
}

// Close tells what waits; from then on nothing does.
func (t *Teller) Close() {
	t.mu.Lock()
	all := t.busy
	t.busy, t.closed = map[chat.Membership]*busy{}, true
	t.mu.Unlock()
	for m, b := range all {
		b.timer.Stop()
		if b.again {
			t.tell(m)
		}
	}
}
