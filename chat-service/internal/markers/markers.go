// Package markers has rooms and the devices of users told how far these have read, at most a few times a second for each room, whatever the number
// of readers: what is told is the state by then.
//
//	quiet room   Tell ─▶ told at once; the room is busy for Interval
//	busy room    Tell ─▶ waits ─▶ at the end of Interval all are told together, each user once, and the room is busy for Interval again
//	             nobody waits at the end of Interval: the room is quiet
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
	// together bounds the users of one command.
	together = 500
	// most bounds the markers that wait. Beyond, they are told at once.
	most = 50_000
)

// Moved is a user whose marker in a room has moved.
type Moved struct {
	User chat.UserID

	// Shown is the message that the others in the room see the user to have read; zero = they see nothing.
	Shown    chat.MessageID
	Except   string    // the socket that does not get it
	CausedAt time.Time // zero = not known
}

// Teller tells markers. It is safe for concurrent use. A replica that ends without Close tells no more of what waits: the devices see it with the
// next change, or when they list rooms.
type Teller struct {
	// Fixed at birth.
	submit func(rules.Command, func(rules.Outcome)) error
	show   func(chat.RoomEvent)

	// Guarded by mu.
	mu      sync.Mutex
	rooms   map[chat.RoomID]*busy
	waiting int
	closed  bool
	ends    sync.WaitGroup // ends of Interval at which somebody is told; grows under mu, until closed
}

// busy is a room in which somebody read a moment ago.
type busy struct {
	timer   *time.Timer
	waiting []Moved
	index   map[chat.UserID]int // in waiting
}

// New returns a Teller that hands commands to submit, and what others see to show.
func New(submit func(c rules.Command, done func(rules.Outcome)) error, show func(chat.RoomEvent)) *Teller {
	return &Teller{submit: submit, show: show, rooms: map[chat.RoomID]*busy{}}
}

// Tell has the user's devices told of the marker in the room, and the others there of what the user has read.
func (t *Teller) Tell(room chat.RoomID, m Moved) {
	t.mu.Lock()
	b := t.rooms[room]
	if b == nil && !t.closed {
		t.begin(room)
	}
	waits := b != nil && t.wait(b, m)
	t.mu.Unlock()
	if !waits {
		t.send(room, []Moved{m})
	}
}

// begin makes a room busy.
func (t *Teller) begin(room chat.RoomID) *busy {
	b := &busy{index: map[chat.UserID]int{}, timer: time.AfterFunc(Interval, func() { t.over(room) })}
	t.rooms[room] = b
	return b
}

// wait has a marker wait for the end of Interval, unless too many do.
func (t *Teller) wait(b *busy, m Moved) bool {
	m.CausedAt = time.Time{} // what waits on purpose is not late
	if i, known := b.index[m.User]; known {
		if w := &b.waiting[i]; m.Shown != (chat.MessageID{}) && chat.SeqOf(m.Shown) > chat.SeqOf(w.Shown) {
			*w = m
		}
		return true
	}
	if t.waiting >= most {
		return false
	}
	t.waiting++
	b.index[m.User] = len(b.waiting)
	b.waiting = append(b.waiting, m)
	return true
}

// over tells what waits in a room. Where nothing does, the room is quiet again.
func (t *Teller) over(room chat.RoomID) {
	t.mu.Lock()
	b := t.rooms[room]
	if b == nil {
		t.mu.Unlock()
		return
	}
	list := b.waiting
	t.waiting -= len(list)
	if b.waiting, b.index = nil, map[chat.UserID]int{}; len(list) == 0 {
		delete(t.rooms, room)
	} else {
		b.timer.Reset(Interval)
	}
	t.ends.Add(1)
	defer t.ends.Done()
	t.mu.Unlock()
	t.send(room, list)
}

// send tells markers.
func (t *Teller) send(room chat.RoomID, list []Moved) {
	for _, m := range list {
		if m.Shown != (chat.MessageID{}) {
			read := chat.MessageRead{Message: m.Shown, User: m.User, Seq: chat.SeqOf(m.Shown)}
			t.show(chat.RoomEvent{Room: room, Fact: read, ExceptSocket: m.Except, CausedAt: m.CausedAt})
		}
	}
	for len(list) > 0 {
		some := list[:min(len(list), together)]
		list = list[len(some):]
		users := make([]chat.UserID, len(some))
		for i, m := range some {
			users[i] = m.User
		}
		answer := func(err error) {
			if kind := fault.KindOf(err); err != nil && (kind == fault.Unavailable || kind == fault.Timeout) {
				t.again(room, users)
			}
		}
		if err := t.submit(rules.TellMarkers{Origin: rules.Origin{Room: room}, Users: users}, func(o rules.Outcome) { answer(o.Err) }); err != nil {
			answer(err)
		}
	}
}

// again has the devices of users told at the end of Interval, because they could not be.
func (t *Teller) again(room chat.RoomID, users []chat.UserID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	b := t.rooms[room]
	if b == nil {
		b = t.begin(room)
	}
	for _, user := range users {
		t.wait(b, Moved{User: user})
	}
}

// Close tells what waits; from then on nothing does. When it returns nothing is being told because an Interval ended.
func (t *Teller) Close() {
	t.mu.Lock()
	all := t.rooms
	t.rooms, t.closed = map[chat.RoomID]*busy{}, true
	t.mu.Unlock()
	for room, b := range all {
		b.timer.Stop()
		t.send(room, b.waiting)
	}
	t.ends.Wait()
}
