package chat

import (
	"slices"
	"time"

	"github.com/starling-chat/starling/proto/fault"
)

// The rules of a write stand in this file: who may, what follows, and which outcome a command has. They are pure: a Store
// says what there is (State), Decide says what is to be written (Changes). A batch is decided as if its commands came one
// after the other.
//
//	commands ─▶ NeedsOf ─▶ the Store locks and reads ─▶ State ─▶ Decide ─▶ Changes ─▶ the Store writes
//	                                                                    └▶ Outcomes

// Needs is what the Store has to find out for a batch. Each entry occurs once.
type Needs struct {
	Create  []RoomID // to be made before they are looked at, where they do not exist
	Rooms   []RoomID // to be locked
	Members []Membership
	Repeats []Repeat // only where they were asked for

	repeats bool // they were
}

// Repeat is what makes two Sends the same one.
type Repeat struct {
	Room        RoomID
	Sender      UserID
	ClientMsgID string
}

// NeedsOf lists what has to be known before Decide can decide the commands. A Store whose unique index finds repeats, as
// ErrConflict, asks for them only after that.
func NeedsOf(commands []Command, repeats bool) Needs {
	n := Needs{Rooms: make([]RoomID, 0, len(commands)), Members: make([]Membership, 0, len(commands)), repeats: repeats}
	for _, c := range commands {
		n.Rooms = append(n.Rooms, c.origin().Room)
		c.need(&n)
	}
	n.Create, n.Rooms, n.Members, n.Repeats = unique(n.Create), unique(n.Rooms), unique(n.Members), unique(n.Repeats)
	return n
}

// unique drops what occurred before, in place.
func unique[T comparable](list []T) []T {
	if len(list) < 2 {
		return list
	}
	seen := make(map[T]struct{}, len(list))
	return slices.DeleteFunc(list, func(v T) bool {
		_, known := seen[v]
		seen[v] = struct{}{}
		return known
	})
}

// State is what there is before a batch, under the locks of its rooms.
type State struct {
	At     time.Time     // the time of the batch: UTC, whole milliseconds
	Random func() uint64 // makes message ids of different rooms differ; need not be secret

	Rooms   map[RoomID]Room       // those that exist
	Members map[Membership]string // the names of those who are members
	Sent    map[Repeat]Outcome    // the first messages of Repeats
	Written map[int]Outcome       // by index: commands that an earlier try of unknown outcome wrote after all
}

// Room is the state of a room that a batch may change.
type Room struct {
	Seq   uint64 // of the last event
	Owner UserID // "" = nobody: the next who joins
}

// Changes is what a batch writes.
type Changes struct {
	// Events are the durable events in commit order; a MessageSent is a message to store as well.
	Events []RoomEvent
	// Left are memberships to delete, before Joined is written: who left and came again is in both.
	Left []Membership
	// Joined are memberships to add, in this order: it decides who is the longest member.
	Joined []NewMember
	// Rooms are the new states of the rooms.
	Rooms []ChangedRoom
}

// NewMember is a membership to add.
type NewMember struct {
	Membership

	Name string
	Seq  uint64 // of the event that made it one
}

// ChangedRoom is the new state of a room.
type ChangedRoom struct {
	ID RoomID
	Room

	// Inherit tells that the owner left: the longest of the members that remain follows, or nobody.
	Inherit bool
}

// Empty tells that there is nothing to write.
func (c *Changes) Empty() bool { return len(c.Events) == 0 }

// Decide says what the commands, one after the other, do to what there is. The outcomes go with the commands by index. State and
// commands stay as they are.
func Decide(state State, commands []Command) (Changes, []Outcome) {
	b := &batch{state: &state, rooms: make(map[RoomID]*changingRoom, 16)}
	b.changes.Events = make([]RoomEvent, 0, len(commands))
	outcomes := make([]Outcome, len(commands))
	for i, c := range commands {
		if written, ok := state.Written[i]; ok {
			outcomes[i] = written
			continue
		}
		outcomes[i] = c.decide(b)
	}
	b.collect()
	return b.changes, outcomes
}

// batch is a decision under way: what the commands so far have changed of the state.
type batch struct {
	state   *State
	changes Changes

	rooms   map[RoomID]*changingRoom // those looked at; nil: there is no such room
	order   []RoomID                 // in which they changed first
	members map[Membership]*changingMember
	touched []Membership // in the order in which they changed first
	sent    map[Repeat]Outcome
}

type changingRoom struct {
	Room

	changed bool
	inherit bool
}

type changingMember struct {
	was, is bool
	again   bool // left and came again
	name    string
	joined  int // the index of the event that made it one
}

// room gives the state of a room; nil: there is no such room.
func (b *batch) room(id RoomID) *changingRoom {
	r, known := b.rooms[id]
	if !known {
		if before, exists := b.state.Rooms[id]; exists {
			r = &changingRoom{Room: before}
		}
		b.rooms[id] = r
	}
	return r
}

// member tells whether the user is a member by now, and by which name.
func (b *batch) member(m Membership) (name string, is bool) {
	if changed := b.members[m]; changed != nil {
		return changed.name, changed.is
	}
	name, is = b.state.Members[m]
	return name, is
}

// change gives a membership to be changed.
func (b *batch) change(m Membership) *changingMember {
	changed := b.members[m]
	if changed == nil {
		name, was := b.state.Members[m]
		changed = &changingMember{was: was, is: was, name: name}
		if b.members == nil {
			b.members = map[Membership]*changingMember{}
		}
		b.members[m], b.touched = changed, append(b.touched, m)
	}
	return changed
}

// next takes the room's next number.
func (b *batch) next(id RoomID, r *changingRoom) uint64 {
	if !r.changed {
		r.changed, b.order = true, append(b.order, id)
	}
	r.Seq++
	return r.Seq
}

// happened adds an event of a membership.
func (b *batch) happened(o Origin, r *changingRoom, e RoomEvent) Outcome {
	e.Room, e.Seq, e.ExceptSocket, e.CausedAt = o.Room, b.next(o.Room, r), o.Socket, o.CausedAt
	b.changes.Events = append(b.changes.Events, e)
	return Outcome{Position: Position{Seq: e.Seq}, CreatedAt: b.state.At, Changed: true}
}

// collect lists what is different from the state.
func (b *batch) collect() {
	for _, id := range b.order {
		r := b.rooms[id]
		b.changes.Rooms = append(b.changes.Rooms, ChangedRoom{ID: id, Room: r.Room, Inherit: r.inherit})
	}
	var joined []Membership
	for _, m := range b.touched {
		c := b.members[m]
		if c.was && (!c.is || c.again) {
			b.changes.Left = append(b.changes.Left, m)
		}
		if c.is && (!c.was || c.again) {
			joined = append(joined, m)
		}
	}
	slices.SortFunc(joined, func(x, y Membership) int { return b.members[x].joined - b.members[y].joined })
	for _, m := range joined {
		b.changes.Joined = append(b.changes.Joined, NewMember{m, b.members[m].name, b.changes.Events[b.members[m].joined].Seq})
	}
}

func (c Send) need(n *Needs) {
	if !c.System {
		n.Members = append(n.Members, c.membership())
	}
	if n.repeats && c.ClientMsgID != "" {
		n.Repeats = append(n.Repeats, c.repeat())
	}
}

func (c Send) repeat() Repeat { return Repeat{c.Room, c.User, c.ClientMsgID} }

// decide stores the message of a member, once for each client message id.
func (c Send) decide(b *batch) Outcome {
	r := b.room(c.Room)
	if r == nil {
		return Outcome{Err: errNoRoom()}
	}
	if first, ok := b.sentBefore(c); ok {
		return first
	}
	name := c.Name
	if !c.System {
		known, is := b.member(c.membership())
		if !is {
			return Outcome{Err: errNotMember()}
		}
		if name == "" {
			name = known
		}
	}
	seq := b.next(c.Room, r)
	m := Message{
		ID: NewMessageID(b.state.At, seq, b.state.Random()), Room: c.Room, Seq: seq, Sender: Sender{ID: c.User, Name: name},
		Content: c.Content, Type: c.Type, CreatedAt: b.state.At, ClientMsgID: c.ClientMsgID,
	}
	b.changes.Events = append(b.changes.Events, RoomEvent{Room: c.Room, Seq: seq, Fact: MessageSent{m}, CausedAt: c.CausedAt})
	o := Outcome{Position: Position{Seq: seq, ID: m.ID}, CreatedAt: b.state.At}
	if c.ClientMsgID != "" {
		if b.sent == nil {
			b.sent = map[Repeat]Outcome{}
		}
		b.sent[c.repeat()] = o
	}
	o.Changed = true
	return o
}

// sentBefore finds the first message with the same client message id. Its sender need no longer be a member.
func (b *batch) sentBefore(c Send) (Outcome, bool) {
	if c.ClientMsgID == "" {
		return Outcome{}, false
	}
	if first, ok := b.sent[c.repeat()]; ok {
		return first, true
	}
	first, ok := b.state.Sent[c.repeat()]
	first.Changed = false
	return first, ok
}

func (c Join) need(n *Needs) {
	n.Members = append(n.Members, c.membership())
	if c.Create {
		n.Create = append(n.Create, c.Room)
	}
}

// decide makes the user a member, and the owner of a room that has none.
func (c Join) decide(b *batch) Outcome {
	r := b.room(c.Room)
	if r == nil {
		return Outcome{Err: errNoRoom()}
	}
	if _, is := b.member(c.membership()); is {
		return Outcome{}
	}
	m := b.change(c.membership())
	m.is, m.again, m.name, m.joined = true, m.was, c.Name, len(b.changes.Events)
	if r.Owner == "" && !r.inherit {
		r.Owner = c.User
	}
	return b.happened(c.Origin, r, RoomEvent{Fact: UserJoined{User: c.User, Name: c.Name}})
}

func (c Leave) need(n *Needs) { n.Members = append(n.Members, c.membership()) }

// decide ends the membership, if there is one. When the owner leaves, the longest member follows.
func (c Leave) decide(b *batch) Outcome {
	r := b.room(c.Room)
	if r == nil {
		return Outcome{}
	}
	if _, is := b.member(c.membership()); !is {
		return Outcome{}
	}
	m := b.change(c.membership())
	m.is, m.again = false, false
	if r.Owner == c.User {
		r.Owner, r.inherit = "", true
	}
	return b.happened(c.Origin, r, RoomEvent{Fact: UserLeft{User: c.User}, EvictUser: c.User})
}

var _, _, _ Command = Send{}, Join{}, Leave{}

// errNoRoom and errNotMember are refusals that writes and reads share.
func errNoRoom() error    { return fault.New(fault.NotFound, "Room not found") }
func errNotMember() error { return fault.New(fault.Forbidden, "Not a member of this room") }
