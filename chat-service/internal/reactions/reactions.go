// Package reactions gathers what many users do with the messages of a room at the same time, so that a room is told a few facts a second,
// whatever the number of users.
//
//	quiet room     React ─▶ submitted at once; the room is busy for Interval
//	busy room      React ─▶ waits ─▶ at the end of Interval all are submitted as one command, and the room is busy for Interval again
//	               nothing waits at the end of Interval: the room is quiet
package reactions

import (
	"sync"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/proto/fault"
)

const (
	// Interval is how long a reaction waits at most for others.
	Interval = 150 * time.Millisecond
	// together bounds the reactions of one command.
	together = 500
	// maxWaiting bounds the reactions of a room that wait.
	maxWaiting = 5000
)

// Folder gathers reactions. It is safe for concurrent use.
type Folder struct {
	submit func(rules.Command, func(rules.Outcome)) error

	// Guarded by mu.
	mu     sync.Mutex
	rooms  map[chat.RoomID]*busy
	closed bool           // nothing waits any more
	ends   sync.WaitGroup // ends of Interval at which reactions are submitted; grows under mu, until closed
}

// busy is a room to which somebody reacted a moment ago.
type busy struct {
	timer   *time.Timer
	waiting []waiting
}

type waiting struct {
	react rules.React
	done  func(rules.Outcome)
}

// New returns a Folder that hands commands to submit, which calls done once unless it returns an error.
func New(submit func(c rules.Command, done func(rules.Outcome)) error) *Folder {
	return &Folder{submit: submit, rooms: map[chat.RoomID]*busy{}}
}

// React hands over a reaction. done is called once, with what became of it, unless there is an error.
func (f *Folder) React(r rules.React, done func(rules.Outcome)) error {
	f.mu.Lock()
	b := f.rooms[r.Room]
	switch {
	case f.closed:
	case b == nil:
		b = &busy{}
		b.timer = time.AfterFunc(Interval, func() { f.flush(r.Room) })
		f.rooms[r.Room] = b
	case len(b.waiting) >= maxWaiting:
		f.mu.Unlock()
		return fault.Retry(fault.Unavailable, "Too many reactions at once", Interval)
	default:
		b.waiting = append(b.waiting, waiting{r, done})
		f.mu.Unlock()
		return nil
	}
	f.mu.Unlock()
	return f.submit(r, done)
}

// flush submits what waits in a room. Where nothing does, the room is quiet again.
func (f *Folder) flush(room chat.RoomID) {
	f.mu.Lock()
	b := f.rooms[room]
	if b == nil {
		f.mu.Unlock()
		return
	}
	list := b.waiting
	if b.waiting = nil; len(list) == 0 {
		delete(f.rooms, room)
	} else {
		b.timer.Reset(Interval)
	}
	f.ends.Add(1)
	defer f.ends.Done()
	f.mu.Unlock()
	f.send(room, list)
}

// send submits reactions, together at most at a time.
func (f *Folder) send(room chat.RoomID, list []waiting) {
	for len(list) > 0 {
		some := list[:min(len(list), together)]
		list = list[len(some):]
		all := rules.Reactions{Origin: rules.Origin{Room: room}, Each: make([]rules.React, len(some))}
		for i, w := range some {
			all.Each[i] = w.react
		}
		answer := func(o rules.Outcome) {
			for i, w := range some {
				if o.Err != nil {
					w.done(rules.Outcome{Err: o.Err})
				} else {
					w.done(o.Details.Parts[i])
				}
			}
		}
		if err := f.submit(all, answer); err != nil {
			answer(rules.Outcome{Err: err})
		}
	}
}

// Close submits what waits; from then on nothing does. When it returns nothing is being submitted because an Interval ended.
func (f *Folder) Close() {
	f.mu.Lock()
	rooms := f.rooms
	f.rooms, f.closed = map[chat.RoomID]*busy{}, true
	f.mu.Unlock()
	for room, b := range rooms {
		b.timer.Stop()
		f.send(room, b.waiting)
	}
	f.ends.Wait()
}
