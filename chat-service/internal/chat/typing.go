package chat

import (
	"sync"
	"time"

	"github.com/starling-chat/starling/proto/fault"
)

// TypingSpan is how long a start lasts without being renewed.
const TypingSpan = 5 * time.Second

// Spans of one socket's typing in one room.
const (
	// orphanSpan is when a replica speaks up for one that died: late enough for its own stop to have arrived.
	orphanSpan = TypingSpan + 2*time.Second
	// maxTyping bounds what one process remembers.
	maxTyping = 100_000
)

// TypingNote is what replicas tell each other, so that a start seen by one of them can be renewed or stopped by another.
type TypingNote struct {
	Room   RoomID
	Socket string
	User   UserID
	On     bool // false: stopped
}

// Gossip carries notes to all replicas; it may lose some.
type Gossip interface {
	Tell(note TypingNote)
}

// Typing knows who is typing where. Each state has one owner: the replica that heard of it last, whose timer ends it.
//
//	       start, not known: tell the room         renewed: silent
//	idle ────────────────────────────────▶ owned ◀──────────────────┐
//	  ▲   stop, leave, disconnect, 5 s:     │ └─────────────────────┘
//	  │   tell the room, tell replicas      │ a replica notes a start
//	  └─────────────────────────────────────┤
//	  ▲   a replica notes a stop            ▼
//	  └───────────────────────────────── followed: after 7 s tell the room (its owner died)
type Typing struct {
	// Fixed at birth.
	publish func(RoomEvent) error
	gossip  Gossip

	// Guarded by mu.
	mu      sync.Mutex
	rooms   map[RoomID]map[string]*typist // → by socket
	sockets map[string]map[RoomID]struct{}
	count   int
	closed  bool
}

type typist struct {
	user  UserID
	owned bool
	timer *time.Timer
}

// NewTyping returns the memory of who is typing. publish sends an ephemeral event.
func NewTyping(publish func(RoomEvent) error, gossip Gossip) *Typing {
	return &Typing{
		publish: publish, gossip: gossip,
		rooms: map[RoomID]map[string]*typist{}, sockets: map[string]map[RoomID]struct{}{},
	}
}

// Start notes that a socket types in a room, and tells the others unless they know.
func (t *Typing) Start(room RoomID, user UserID, name, socket string) error {
	news, err := t.note(room, user, socket, true)
	if err != nil {
		return err
	}
	t.gossip.Tell(TypingNote{Room: room, Socket: socket, User: user, On: true})
	if !news {
		return nil
	}
	return unavailable(t.publish(RoomEvent{Room: room, Fact: TypingStarted{user, name}, ExceptSocket: socket}))
}

// Stop ends the typing of a socket in a room.
func (t *Typing) Stop(room RoomID, socket string) {
	if ended := t.remove(room, socket, false); ended != nil {
		t.tellStopped(room, socket, ended.user)
	}
}

// StopUser ends the typing of all sockets of a user in a room.
func (t *Typing) StopUser(room RoomID, user UserID) {
	t.mu.Lock()
	var sockets []string
	for socket, state := range t.rooms[room] {
		if state.user == user {
			sockets = append(sockets, socket)
		}
	}
	t.mu.Unlock()
	for _, socket := range sockets {
		t.Stop(room, socket)
	}
}

// Disconnected ends what the gone socket typed, where this replica owns it.
func (t *Typing) Disconnected(socket string) {
	t.mu.Lock()
	rooms := make([]RoomID, 0, len(t.sockets[socket]))
	for room := range t.sockets[socket] {
		rooms = append(rooms, room)
	}
	t.mu.Unlock()
	for _, room := range rooms {
		if ended := t.remove(room, socket, true); ended != nil {
			t.tellStopped(room, socket, ended.user)
		}
	}
}

// Heard takes in a note of another replica, which now owns that state. A replica must not hear its own notes.
func (t *Typing) Heard(n TypingNote) {
	if n.On {
		_, _ = t.note(n.Room, n.User, n.Socket, false) // full: then this replica does not know
		return
	}
	t.remove(n.Room, n.Socket, false)
}

// Close forgets everything without telling; the other replicas speak up after orphanSpan.
func (t *Typing) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for _, typists := range t.rooms {
		for _, state := range typists {
			state.timer.Stop()
		}
	}
	clear(t.rooms)
	clear(t.sockets)
	t.count = 0
}

// note records a start or a renewal; news tells that it was not known.
func (t *Typing) note(room RoomID, user UserID, socket string, owned bool) (news bool, err error) {
	span := orphanSpan
	if owned {
		span = TypingSpan
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if state := t.rooms[room][socket]; state != nil {
		state.timer.Stop()
		state.owned = owned
		state.timer = t.expireAfter(span, room, socket, state)
		return false, nil
	}
	if t.count >= maxTyping || t.closed {
		return false, fault.Retry(fault.Unavailable, "Too many are typing", time.Second)
	}
	state := &typist{user: user, owned: owned}
	if t.rooms[room] == nil {
		t.rooms[room] = map[string]*typist{}
	}
	if t.sockets[socket] == nil {
		t.sockets[socket] = map[RoomID]struct{}{}
	}
	t.rooms[room][socket] = state
	t.sockets[socket][room] = struct{}{}
	t.count++
	state.timer = t.expireAfter(span, room, socket, state)
	return true, nil
}

// expireAfter is called under mu, and so is set before the timer's function can look.
func (t *Typing) expireAfter(span time.Duration, room RoomID, socket string, state *typist) *time.Timer {
	var timer *time.Timer
	timer = time.AfterFunc(span, func() {
		t.mu.Lock()
		current := t.rooms[room][socket]
		valid := current == state && current.timer == timer
		if valid {
			t.drop(room, socket)
		}
		t.mu.Unlock()
		if valid {
			t.tellStopped(room, socket, state.user)
		}
	})
	return timer
}

// remove forgets a state and returns it; with ownedOnly it leaves those of other replicas to them.
func (t *Typing) remove(room RoomID, socket string, ownedOnly bool) *typist {
	t.mu.Lock()
	defer t.mu.Unlock()
	state := t.rooms[room][socket]
	if state == nil || ownedOnly && !state.owned {
		return nil
	}
	state.timer.Stop()
	t.drop(room, socket)
	return state
}

// drop needs mu.
func (t *Typing) drop(room RoomID, socket string) {
	delete(t.rooms[room], socket)
	if len(t.rooms[room]) == 0 {
		delete(t.rooms, room)
	}
	delete(t.sockets[socket], room)
	if len(t.sockets[socket]) == 0 {
		delete(t.sockets, socket)
	}
	t.count--
}

func (t *Typing) tellStopped(room RoomID, socket string, user UserID) {
	t.gossip.Tell(TypingNote{Room: room, Socket: socket, User: user})
	_ = t.publish(RoomEvent{Room: room, Fact: TypingStopped{user}, ExceptSocket: socket}) // ephemeral: nobody waits for it
}
