package typing

import (
	"sync"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/proto/fault"
)

// Spans of typing.
const (
	// Span is how long a start lasts without being renewed.
	Span = 5 * time.Second
	// Renewal is how often a room is told of renewals at most.
	Renewal = 3 * time.Second
	// Expiry is how long a start holds for those who were told: long enough for the next renewal to be told.
	Expiry = Span + Renewal
	// orphanSpan is when a replica speaks up for one that died: late enough for its own stop to have arrived.
	orphanSpan = Span + 2*time.Second
)

// Bounds of typing.
const (
	maxTyping  = 100_000 // sockets that one process remembers
	maxTypists = 50      // users whom a joiner is told of
)

// Note is what replicas tell each other, so that a start seen by one of them can be renewed or stopped by another.
type Note struct {
	Room   chat.RoomID
	Socket string
	User   chat.UserID
	Name   string // "" in a stop, and from a replica of an older release
	On     bool   // false: stopped
	Told   bool   // the room was told as well
}

// Gossip carries notes to all replicas; it may lose some.
type Gossip interface {
	Tell(note Note)
}

// Tracker knows who is typing where. A user types in a room as long as one of its sockets does, and the room is told of users: of the
// first socket's start, of renewals now and then, of the last socket's stop. A told start holds for Expiry, so that who missed a
// stop does not show it for ever; who joins is told of those who type by then.
//
// Each socket's typing has one owner: the replica that heard of it last, whose timer ends it.
//
//	       start, not known                        renewed
//	idle ────────────────────────────────▶ owned ◀──────────────────┐
//	  ▲   stop, message, leave,             │ └─────────────────────┘
//	  │   disconnect, 5 s                   │ a replica notes a start
//	  └─────────────────────────────────────┤
//	  ▲   a replica notes a stop            ▼
//	  └───────────────────────────────── followed: ends after 7 s (its owner died)
type Tracker struct {
	// Fixed at birth.
	publish func(chat.RoomEvent) error
	gossip  Gossip

	// Guarded by mu.
	mu      sync.Mutex
	rooms   map[chat.RoomID]map[chat.UserID]*typist
	sockets map[string]map[chat.RoomID]chat.UserID
	count   int // sockets in all rooms
	closed  bool
}

// typist is a user who types in a room.
type typist struct {
	name    string
	told    time.Time // when the room was told last
	sockets map[string]*typingSocket
}

type typingSocket struct {
	owned bool
	timer *time.Timer
}

// New returns a Tracker of nobody. publish sends an ephemeral event.
func New(publish func(chat.RoomEvent) error, gossip Gossip) *Tracker {
	return &Tracker{
		publish: publish, gossip: gossip,
		rooms: map[chat.RoomID]map[chat.UserID]*typist{}, sockets: map[string]map[chat.RoomID]chat.UserID{},
	}
}

// Start notes that a socket types in a room, and tells the other users there unless they were told a moment ago.
func (t *Tracker) Start(room chat.RoomID, user chat.UserID, name, socket string) error {
	note := Note{Room: room, Socket: socket, User: user, Name: name, On: true}
	tell, err := t.note(note, true)
	if err != nil {
		return err
	}
	note.Told = tell
	t.gossip.Tell(note)
	if !tell {
		return nil
	}
	err = t.publish(chat.RoomEvent{Room: room, Fact: chat.TypingStarted{User: user, Name: name}, ExceptUser: user, ExceptSocket: socket})
	if err != nil {
		return &fault.Error{Kind: fault.Unavailable, Message: "Service unavailable", RetryAfter: time.Second, Cause: err}
	}
	return nil
}

// Stop ends the typing of a socket in a room.
func (t *Tracker) Stop(room chat.RoomID, socket string) { t.stop(room, socket, false) }

// StopUser ends the typing of all sockets of a user in a room.
func (t *Tracker) StopUser(room chat.RoomID, user chat.UserID) {
	t.mu.Lock()
	var sockets []string
	if state := t.rooms[room][user]; state != nil {
		for socket := range state.sockets {
			sockets = append(sockets, socket)
		}
	}
	t.mu.Unlock()
	for _, socket := range sockets {
		t.stop(room, socket, false)
	}
}

// Disconnected ends what the gone socket typed, where this replica owns it.
func (t *Tracker) Disconnected(socket string) {
	t.mu.Lock()
	rooms := make([]chat.RoomID, 0, len(t.sockets[socket]))
	for room := range t.sockets[socket] {
		rooms = append(rooms, room)
	}
	t.mu.Unlock()
	for _, room := range rooms {
		t.stop(room, socket, true)
	}
}

// Typists lists some of those who type in a room, without one user.
func (t *Tracker) Typists(room chat.RoomID, except chat.UserID) (typists []chat.TypingStarted) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for user, state := range t.rooms[room] {
		if user != except && state.name != "" && len(typists) < maxTypists {
			typists = append(typists, chat.TypingStarted{User: user, Name: state.name})
		}
	}
	return typists
}

// Heard takes in a note of another replica, which now owns that state. A replica must not hear its own notes.
func (t *Tracker) Heard(n Note) {
	if n.On {
		_, _ = t.note(n, false) // full: then this replica does not know
		return
	}
	if user, last := t.remove(n.Room, n.Socket, false); last && !n.Told {
		// The user's last two sockets ended at once, each on a replica that took the other for alive.
		t.tellStopped(n.Room, user, n.Socket)
	}
}

// Close forgets everything without telling; the other replicas speak up after orphanSpan.
func (t *Tracker) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for _, typists := range t.rooms {
		for _, state := range typists {
			for _, socket := range state.sockets {
				socket.timer.Stop()
			}
		}
	}
	clear(t.rooms)
	clear(t.sockets)
	t.count = 0
}

// note records a start or a renewal; tell says that it is for this replica to tell the room.
func (t *Tracker) note(n Note, owned bool) (tell bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	state := t.rooms[n.Room][n.User]
	if state == nil || state.sockets[n.Socket] == nil {
		if t.count >= maxTyping || t.closed {
			return false, fault.Retry(fault.Unavailable, "Too many are typing", time.Second)
		}
		state = t.add(n)
	}
	socket := state.sockets[n.Socket]
	if socket.timer != nil {
		socket.timer.Stop()
	}
	span := orphanSpan
	if owned {
		span = Span
	}
	socket.owned, socket.timer = owned, t.expireAfter(span, n.Room, n.Socket, socket)
	if n.Name != "" {
		state.name = n.Name
	}
	now := time.Now()
	tell = owned && now.Sub(state.told) >= Renewal
	// Also where another replica was the first, and told the room before this one listened.
	if tell || n.Told || state.told.IsZero() {
		state.told = now
	}
	return tell, nil
}

// add needs mu. It makes a socket's typing, without its timer.
func (t *Tracker) add(n Note) *typist {
	if t.rooms[n.Room] == nil {
		t.rooms[n.Room] = map[chat.UserID]*typist{}
	}
	state := t.rooms[n.Room][n.User]
	if state == nil {
		state = &typist{sockets: make(map[string]*typingSocket, 1)}
		t.rooms[n.Room][n.User] = state
	}
	if t.sockets[n.Socket] == nil {
		t.sockets[n.Socket] = make(map[chat.RoomID]chat.UserID, 1)
	}
	state.sockets[n.Socket], t.sockets[n.Socket][n.Room] = &typingSocket{}, n.User
	t.count++
	return state
}

// expireAfter is called under mu, and so is set before the timer's function can look.
func (t *Tracker) expireAfter(span time.Duration, room chat.RoomID, id string, socket *typingSocket) *time.Timer {
	var timer *time.Timer
	timer = time.AfterFunc(span, func() {
		t.mu.Lock()
		user := t.sockets[id][room]
		valid := false
		last := false
		if state := t.rooms[room][user]; state != nil && state.sockets[id] == socket && socket.timer == timer {
			valid, last = true, t.drop(room, user, id)
		}
		t.mu.Unlock()
		if valid {
			t.stopped(room, user, id, last)
		}
	})
	return timer
}

// stop ends a socket's typing; with ownedOnly it leaves those of other replicas to them.
func (t *Tracker) stop(room chat.RoomID, socket string, ownedOnly bool) {
	if user, last := t.remove(room, socket, ownedOnly); user != "" {
		t.stopped(room, user, socket, last)
	}
}

// remove forgets a socket's typing, and tells whose it was, "" when there is nothing to forget; last: the user types no more.
func (t *Tracker) remove(room chat.RoomID, socket string, ownedOnly bool) (user chat.UserID, last bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	user, known := t.sockets[socket][room]
	if !known {
		return "", false
	}
	state := t.rooms[room][user].sockets[socket]
	if ownedOnly && !state.owned {
		return "", false
	}
	state.timer.Stop()
	return user, t.drop(room, user, socket)
}

// drop needs mu.
func (t *Tracker) drop(room chat.RoomID, user chat.UserID, socket string) (last bool) {
	state := t.rooms[room][user]
	delete(state.sockets, socket)
	if last = len(state.sockets) == 0; last {
		delete(t.rooms[room], user)
	}
	if len(t.rooms[room]) == 0 {
		delete(t.rooms, room)
	}
	delete(t.sockets[socket], room)
	if len(t.sockets[socket]) == 0 {
		delete(t.sockets, socket)
	}
	t.count--
	return last
}

// stopped tells the replicas that a socket's typing ended, and the room when it was the user's last one.
func (t *Tracker) stopped(room chat.RoomID, user chat.UserID, socket string, last bool) {
	t.gossip.Tell(Note{Room: room, Socket: socket, User: user, Told: last})
	if last {
		t.tellStopped(room, user, socket)
	}
}

func (t *Tracker) tellStopped(room chat.RoomID, user chat.UserID, socket string) {
	// Ephemeral: nobody waits for it.
	_ = t.publish(chat.RoomEvent{Room: room, Fact: chat.TypingStopped{User: user}, ExceptUser: user, ExceptSocket: socket})
}
