package rules

import (
	"maps"
	"slices"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/proto/fault"
)

// The rules of a write stand in this file and in decide.go: who may, what follows, and which outcome a command has. They are pure: a Store
// says what there is (State), Decide says what is to be written (Changes). A batch is decided as if its commands came one
// after the other.
//
//	commands ─▶ NeedsOf ─▶ the Store locks and reads ─▶ State ─▶ Decide ─▶ Changes ─▶ the Store writes
//	                                                                    └▶ Outcomes

// Needs is what the Store has to find out for a batch. Each entry occurs once.
type Needs struct {
	Create  []chat.RoomID // to be made, where they do not exist, so that they can be locked
	Rooms   []chat.RoomID // to be locked
	Members []chat.Membership
	Names   []chat.UserName   // of those who join: to be kept, or newer ones found; without a text of those whom others make members
	Owners  []chat.RoomID     // whose owners have to be known
	Company []chat.Membership // of whom it has to be known whether others are in the room who could own it
	Counts  []chat.RoomID     // whose members are to be counted, where the room has a bound
	Repeats []Repeat          // only where they were asked for
	Logs    []chat.UserID     // whose logs are told something: to be locked, and made where they do not exist
	Infos   []chat.RoomID     // that are told of in a log
	Usage   []chat.UserID     // of whom it has to be known what they have used of their Quotas; all of them are among Names
	Prefs   []chat.Membership // whose Prefs have to be known
	Blocks  []Pair            // of which it has to be known whether they are
	Invites []chat.InviteHash // whose invitations have to be known
	Keys    []KeyID           // of requests that may have been answered before

	Markers   []chat.Membership // whose markers have to be known
	Mentioned []chat.Membership // who are told in their logs if they are members
	Messages  []chat.MessageRef // that are to be read
	Reactors  []Reactor         // whose reactions have to be known
	Pins      []chat.RoomID     // whose pinned messages are to be counted

	repeats bool // they were
}

// Repeat is what makes two Sends the same one.
type Repeat struct {
	Room        chat.RoomID
	Sender      chat.UserID
	ClientMsgID string
}

// NeedsOf lists what has to be known before Decide can decide the commands. A Store whose unique index finds repeats, as
// ErrConflict, asks for them only after that.
func NeedsOf(commands []Command, repeats bool) Needs {
	n := Needs{Rooms: make([]chat.RoomID, 0, len(commands)), Members: make([]chat.Membership, 0, len(commands)), repeats: repeats}
	for _, c := range commands {
		n.Rooms = append(n.Rooms, c.origin().Room)
		c.need(&n)
	}
	n.Create, n.Rooms, n.Members, n.Repeats = unique(n.Create), unique(n.Rooms), unique(n.Members), unique(n.Repeats)
	n.Owners, n.Company, n.Logs, n.Infos = unique(n.Owners), unique(n.Company), unique(n.Logs), unique(n.Infos)
	n.Counts, n.Usage = unique(n.Counts), unique(n.Usage)
	n.Prefs, n.Blocks, n.Invites, n.Keys = unique(n.Prefs), unique(n.Blocks), unique(n.Invites), unique(n.Keys)
	n.Markers, n.Mentioned = unique(n.Markers), unique(n.Mentioned)
	n.Names, n.Messages, n.Reactors, n.Pins = chat.Newest(n.Names), unique(n.Messages), unique(n.Reactors), unique(n.Pins)
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
	Now    time.Time     // the same by the clock of this process, which never steps; looked at under the locks
	Random func() uint64 // makes message ids of different rooms differ; need not be secret

	Rooms   map[chat.RoomID]Room          // those that exist
	Fresh   map[chat.RoomID]bool          // those of Needs.Create that did not exist
	Members map[chat.Membership]Member    // of those who are members, or were banned or muted
	Owners  map[chat.RoomID][]chat.UserID // of Needs.Owners: the members with the role, besides Room.Owner
	Company map[chat.Membership]bool      // of Needs.Company: others are in the room who could own it
	Names   map[chat.UserID]chat.Name     // the present ones of Needs.Names
	Sent    map[Repeat]Outcome            // the first messages of Repeats
	Usage   map[chat.UserID]Usage         // of Needs.Usage, where they have used anything
	Quotas  Quotas
	Repeats bool                           // Sent has all that there are
	Written map[int]Outcome                // by index: commands that an earlier try of unknown outcome wrote after all
	Again   bool                           // there was such a try: what it may have done is what is asked for
	Logs    map[chat.UserID]uint64         // the last sequences of Needs.Logs
	Prefs   map[chat.Membership]chat.Prefs // of Needs.Prefs
	Blocks  map[Pair]bool                  // of Needs.Blocks
	Invites map[chat.InviteHash]chat.Invitation
	Answers map[KeyID]Answer              // of Needs.Keys
	Infos   map[chat.RoomID]chat.RoomInfo // of Needs.Infos, those that exist; members are counted as far as maxCounted
	Counts  map[chat.RoomID]int           // of Needs.Counts, as far as it matters to who may come

	Markers   map[chat.Membership]chat.Marker  // of Needs.Markers, those of members
	Messages  map[chat.MessageRef]chat.Message // of Needs.Messages, those that exist
	KeepEdits bool                             // what a message was before an edit is kept
	Reacted   map[Reactor][]string             // of Needs.Reactors, the keys
	Pins      map[chat.RoomID]int              // of Needs.Pins
}

// Room is the state of a room that a batch may change.
type Room struct {
	Seq   uint64      // of the last event
	N     uint64      // of the last message
	Owner chat.UserID // "" = nobody: the next who joins
	Kind  access.Kind

	Settings chat.Settings
	Archived bool
}

// Member is what a room knows of a user.
type Member struct {
	Is   bool // a member; false: only a ban or a mute is known
	Name chat.Name
	Role access.Role // of a member that is not the Owner
	// ByToken tells of a member who came by a claim of a token.
	ByToken bool
	// The ends of a ban and of a mute: zero = there is none.
	BannedUntil, MutedUntil time.Time
	// SentAt is when it said something last; kept only in rooms with slow mode.
	SentAt time.Time
}

// Changes is what a batch writes.
type Changes struct {
	// Events are the durable events in commit order; a MessageSent is a message to store as well.
	Events []chat.RoomEvent
	// Left are memberships to delete, before Joined is written: who left and came again is in both.
	Left []chat.Membership
	// Joined are memberships to add, in this order: it decides who is the longest member.
	Joined []NewMember
	// Members are memberships that have changed.
	Members []ChangedMember
	// Restricted are what users are kept from, members or not, as it is now.
	Restricted []ChangedMember
	// Usage is what users have used of their Quotas, where that has changed, in the order of users.
	Usage []UserUsage
	// Audit is what moderators did.
	Audit []Audit
	// Rooms are the new states of the rooms.
	Rooms []ChangedRoom
	// Told are the facts of users' logs; they go out like Events, and behind them.
	Told []chat.RoomEvent
	// Logs are the new states of users' logs.
	Logs []ChangedLog
	// Repeats are those of refused commands, if they were not asked for: the Store looks for them and has the batch decided again, because
	// what was done before is not refused.
	Repeats []Repeat
	// Prefs are how users want rooms shown from now on, in order.
	Prefs []ChangedPrefs
	// Blocks are who blocks whom, or no longer, in order.
	Blocks []ChangedBlock
	// Invites are new invitations, and the uses that others have left, in order.
	Invites []chat.Invitation
	// Answers are to be kept, each under a key that has none.
	Answers []NewAnswer
	// Messages are those that have changed, as they are now.
	Messages []*ChangedMessage
	// Mentions are from now on, or no longer, in order.
	Mentions []ChangedMention
	// Reactions are from now on, or no longer, in order.
	Reactions []ChangedReaction
	// Unmade are rooms of State.Fresh that no command made after all: to be deleted.
	Unmade []chat.RoomID
}

// NewMember is a membership to add.
type NewMember struct {
	chat.Membership

	Name       chat.Name
	Role       access.Role
	ByToken    bool
	MutedUntil time.Time // zero = not muted
	SentAt     time.Time // as in Member
	Seq        uint64    // of the event that made it one
}

// ChangedMember is the new state of a user in a room.
type ChangedMember struct {
	chat.Membership
	Member
}

// ChangedRoom is the new state of a room.
type ChangedRoom struct {
	ID chat.RoomID
	Room

	// Details are what the room is now; nil: they have not changed.
	Details *chat.RoomDetails
	// Inherit tells that the owner left: the mightiest of the members that remain follows, among equals the longest, no guest, or nobody.
	Inherit bool
}

// Empty tells that there is nothing to write.
func (c *Changes) Empty() bool {
	return len(c.Events)+len(c.Audit)+len(c.Told)+len(c.Blocks)+len(c.Invites)+len(c.Answers) == 0
}

// Decide says what the commands, one after the other, do to what there is. The outcomes go with the commands by index. State and
// commands stay as they are.
func Decide(state State, commands []Command) (Changes, []Outcome) {
	b := &batch{state: &state, rooms: make(map[chat.RoomID]*changingRoom, 16)}
	b.changes.Events = make([]chat.RoomEvent, 0, len(commands))
	outcomes := make([]Outcome, len(commands))
	for i, c := range commands {
		if written, ok := state.Written[i]; ok {
			outcomes[i] = written
			continue
		}
		if o := c.origin(); o.Asker.gaveUp(state.Now) {
			outcomes[i] = b.givenUp()
			continue
		}
		outcomes[i] = c.decide(b)
	}
	b.collect()
	b.tellAll()
	return b.changes, outcomes
}

// givenUp is the outcome of a command for which nobody waits. It is not done, but an earlier try of unknown outcome may have done it.
func (b *batch) givenUp() Outcome {
	if b.state.Again {
		return Outcome{Err: fault.New(fault.Timeout, "The outcome is unknown")}
	}
	return Outcome{Err: fault.Retry(fault.Unavailable, "Not done in time", givenUpPause)}
}

// givenUpPause is what somebody is told who waits after all.
const givenUpPause = 250 * time.Millisecond

// batch is a decision under way: what the commands so far have changed of the state.
type batch struct {
	state   *State
	changes Changes

	rooms   map[chat.RoomID]*changingRoom // those looked at; nil: there is no such room
	order   []chat.RoomID                 // in which they changed first
	members map[chat.Membership]*changingMember
	touched []chat.Membership // in the order in which they changed first
	sent    map[Repeat]Outcome
	usage   map[chat.UserID]Usage // that has changed

	altered  map[chat.MessageRef]*ChangedMessage
	reacted  map[Reactor][]string // that have changed
	tellings []telling
	blocks   map[Pair]bool
	invites  map[chat.InviteHash]chat.Invitation
}

type changingRoom struct {
	Room

	details *chat.RoomDetails // nil: not changed
	changed bool
	inherit bool
	grown   int // by so many members
	pinned  int // so many messages more
}

type changingMember struct {
	Member

	before     Member
	was        bool
	again      bool // left and came again
	restricted bool // its ban or its mute changed
	joined     int  // the index of the event that made it one
}

// room gives the state of a room; nil: there is no such room, or no longer.
func (b *batch) room(id chat.RoomID) *changingRoom {
	r, known := b.rooms[id]
	if !known {
		if before, exists := b.state.Rooms[id]; exists {
			r = &changingRoom{Room: before}
		}
		b.rooms[id] = r
	}
	if r != nil && r.Kind == access.Deleted {
		return nil
	}
	return r
}

// make gives the state of a room that there was not; nil: it exists.
func (b *batch) make(id chat.RoomID, as chat.NewRoom) *changingRoom {
	if b.room(id) != nil || !b.state.Fresh[id] {
		return nil
	}
	r := &changingRoom{
		Room:    Room{Kind: as.Kind, Settings: as.Settings},
		details: &chat.RoomDetails{Profile: as.Profile, Settings: as.Settings, Version: 1},
	}
	b.rooms[id] = r
	return r
}

// member tells what a room knows of a user by now.
func (b *batch) member(m chat.Membership) Member {
	if changed := b.members[m]; changed != nil {
		return changed.Member
	}
	return b.state.Members[m]
}

// standing is what there is between a user and a room by now; r may be nil.
func (b *batch) standing(r *changingRoom, user chat.UserID, m Member) access.Standing {
	if r == nil {
		return access.Standing{}
	}
	s := access.Standing{
		Exists: true, Kind: r.Kind, Member: m.Is, Role: chat.RoleOf(user, r.Owner, m.Role), ByToken: m.ByToken, BannedUntil: m.BannedUntil, MutedUntil: m.MutedUntil,
		Send: r.Settings.Send, Archived: r.Archived,
	}
	return s
}

// asking is the standing of whoever the command comes from, with what it brings along. A backend that asks as itself is as mighty as an
// owner.
func (b *batch) asking(r *changingRoom, o Origin) access.Standing {
	s := b.standing(r, o.User, b.member(o.membership()))
	s.Granted = o.Granted
	if o.User == chat.System {
		s.Role = access.RoleOwner
	}
	return s
}

// change gives a membership to be changed.
func (b *batch) change(m chat.Membership) *changingMember {
	changed := b.members[m]
	if changed == nil {
		before := b.state.Members[m]
		changed = &changingMember{Member: before, before: before, was: before.Is}
		if b.members == nil {
			b.members = map[chat.Membership]*changingMember{}
		}
		b.members[m], b.touched = changed, append(b.touched, m)
	}
	return changed
}

// touch has the room written, whether an event of it happens or not.
func (b *batch) touch(id chat.RoomID, r *changingRoom) {
	if !r.changed {
		r.changed, b.order = true, append(b.order, id)
	}
}

// next takes the room's next number.
func (b *batch) next(id chat.RoomID, r *changingRoom) uint64 {
	b.touch(id, r)
	r.Seq++
	return r.Seq
}

// happened adds an event of a membership.
func (b *batch) happened(o Origin, r *changingRoom, e chat.RoomEvent) Outcome {
	e.Room, e.Seq, e.ExceptSocket, e.CausedAt = o.Room, b.next(o.Room, r), o.Socket, o.CausedAt
	b.changes.Events = append(b.changes.Events, e)
	return Outcome{Position: Position{Seq: e.Seq}, CreatedAt: b.state.At, Changed: true}
}

// differs tells that a membership is to be written again.
func (c *changingMember) differs() bool {
	return c.Role != c.before.Role || c.ByToken != c.before.ByToken || !c.MutedUntil.Equal(c.before.MutedUntil) ||
		!c.SentAt.Equal(c.before.SentAt)
}

// collect lists what is different from the state.
func (b *batch) collect() {
	for _, id := range b.order {
		r := b.rooms[id]
		b.changes.Rooms = append(b.changes.Rooms, ChangedRoom{ID: id, Room: r.Room, Details: r.details, Inherit: r.inherit})
	}
	for id, fresh := range b.state.Fresh {
		if fresh && b.rooms[id] == nil {
			b.changes.Unmade = append(b.changes.Unmade, id)
		}
	}
	slices.Sort(b.changes.Unmade)
	for _, user := range slices.Sorted(maps.Keys(b.usage)) {
		b.changes.Usage = append(b.changes.Usage, UserUsage{user, b.usage[user]})
	}
	var joined []chat.Membership
	for _, m := range b.touched {
		c := b.members[m]
		if c.was && (!c.Is || c.again) {
			b.changes.Left = append(b.changes.Left, m)
		}
		if c.Is && (!c.was || c.again) {
			joined = append(joined, m)
		} else if c.Is && c.differs() {
			b.changes.Members = append(b.changes.Members, ChangedMember{m, c.Member})
		}
		if c.restricted {
			b.changes.Restricted = append(b.changes.Restricted, ChangedMember{m, c.Member})
		}
	}
	slices.SortFunc(joined, func(x, y chat.Membership) int { return b.members[x].joined - b.members[y].joined })
	for _, m := range joined {
		c := b.members[m]
		b.changes.Joined = append(b.changes.Joined, NewMember{
			m, c.Name, c.Role, c.ByToken, c.MutedUntil, c.SentAt, b.changes.Events[c.joined].Seq,
		})
	}
}
