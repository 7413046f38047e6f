package access

import (
	"time"

	"github.com/starling-chat/starling/proto/fault"
)

// Kind tells who may enter a room. The zero value is that of no room; who is no member cannot enter it.
type Kind string

// The kinds of rooms.
const (
	Public  Kind = "public"  // anyone may enter
	Private Kind = "private" // who was added
	Direct  Kind = "direct"  // a few users, who never change
	Deleted Kind = "deleted" // nobody: there is no such room any more
)

// Role is what a member may do, in the form in which clients get it.
type Role string

// The roles, the mightiest first.
const (
	RoleOwner     Role = "owner"
	RoleModerator Role = "moderator"
	RoleMember    Role = "member"
	// RoleGuest is that of every member who is a guest, and of nobody else: it is neither given nor taken. In a room it is as good as a member's,
	// and never leads to a better one.
	RoleGuest Role = "guest"
)

// rank orders the roles; that of a word which is no role is 0.
func (r Role) rank() int {
	switch r {
	case RoleOwner:
		return 4
	case RoleModerator:
		return 3
	case RoleMember:
		return 2
	case RoleGuest:
		return 1
	default:
		return 0
	}
}

// Valid tells that the word is a role that can be given.
func (r Role) Valid() bool { return r.rank() > RoleGuest.rank() }

// Above tells whether a role is mightier than another one.
func (r Role) Above(other Role) bool { return r.rank() > other.rank() }

// Forever is the end of a ban or a mute that has none.
func Forever() time.Time { return time.Date(9999, time.December, 31, 0, 0, 0, 0, time.UTC) }

// Act is what a user wants to do in a room.
type Act int

// The acts.
const (
	Look     Act = iota // see from outside what the room is
	Enter               // become a member, or come back as one
	Read                // messages, events, receipts of others, who is there
	Attend              // as a member: say how far one has read
	Speak               // as a member: store a message, or say what is not stored
	React               // as a member: react to what was said
	Moderate            // as a member: manage the room and its members
	Own                 // as an owner: end the room
)

// Standing is what there is between a user and a room: all that decides what the user may do there.
type Standing struct {
	Exists bool
	Kind   Kind
	Member bool
	Role   Role // of a member
	// ByToken tells of a membership that came by a claim of a token: it counts while the token has such a claim.
	ByToken bool
	// Granted is what whoever asks brings along.
	Granted Rights
	// Of the room: it can be read only; the least role that may say something, "" = a member's.
	Archived bool
	Send     Role
	// The ends of a ban and of a mute: zero = there is none. A banned user is no member.
	BannedUntil, MutedUntil time.Time
}

// Refuse returns the fault for an act that the user may not do; nil = it may.
func (s *Standing) Refuse(act Act, at time.Time) error {
	switch {
	case !s.Exists, s.Kind == Deleted:
		return NoRoom()
	case s.Granted.has(Everything):
		return nil
	case s.BannedUntil.After(at):
		return Banned(s.BannedUntil)
	case s.Counts():
		return s.refuseMember(act, at)
	case act == Enter && s.Archived && (s.Kind == Public || s.Granted.has(MayJoin)):
		return Archived()
	case act == Read && s.Granted.has(MayRead), act == Enter && s.Granted.has(MayJoin), act == Look && s.Granted != 0:
		return nil
	case s.Kind != Public && s.Granted == 0:
		return NoRoom()
	case act == Enter && s.Kind != Public:
		return fault.Because(fault.Forbidden, fault.ReasonNotAllowed, "The token does not let its user join this room")
	case act == Enter, act == Look:
		return nil
	}
	return notMember()
}

// Counts tells whether the user is a member for what is asked now.
func (s *Standing) Counts() bool { return s.Member && (!s.ByToken || s.Granted.MayCount()) }

func (s *Standing) refuseMember(act Act, at time.Time) error {
	says := act == Speak || act == React
	switch {
	case says && s.Archived:
		return Archived()
	case says && s.MutedUntil.After(at) && s.Kind == Direct: // by nobody else than one of the two
		return Blocked()
	case says && s.MutedUntil.After(at):
		return &fault.Error{Kind: fault.Forbidden, Reason: fault.ReasonMuted, Message: "You are muted in this room", Until: ending(s.MutedUntil)}
	case says && s.ByToken && !s.Granted.has(MaySend):
		return fault.Because(fault.Forbidden, fault.ReasonNotAllowed, "The token does not let its user send in this room")
	case act == Speak && s.Send.Above(RoleMember) && s.Send.Above(s.Role):
		return fault.Because(fault.Forbidden, fault.ReasonNotAllowed, "Your role in the room may not say anything here")
	case act == Moderate && RoleModerator.Above(s.Role):
		return fault.Because(fault.Forbidden, fault.ReasonNotAllowed, "Only a moderator of the room may do this")
	case act == Own && s.Role != RoleOwner:
		return fault.Because(fault.Forbidden, fault.ReasonNotAllowed, "Only an owner of the room may do this")
	}
	return nil
}

// ending is what a client is told of the end of a ban or a mute: zero, which is nothing, where there is none.
func ending(until time.Time) time.Time {
	if until.Equal(Forever()) {
		return time.Time{}
	}
	return until
}

// NoRoom is the refusal of whatever is asked of a room that there is not, or that one may not see.
func NoRoom() error { return fault.New(fault.NotFound, "Room not found") }

// Archived is the refusal of what would change an archived room.
func Archived() error {
	return fault.Because(fault.Forbidden, fault.ReasonArchived, "The room is archived: it can be read only")
}

func notMember() error { return fault.New(fault.Forbidden, "Not a member of this room") }

// Blocked is the refusal of what one of two users has blocked between them.
func Blocked() error {
	return fault.Because(fault.Forbidden, fault.ReasonBlocked, "One of you has blocked the other")
}

// Banned is the refusal of a banned user.
func Banned(until time.Time) error {
	return &fault.Error{Kind: fault.Forbidden, Reason: fault.ReasonBanned, Message: "You are banned from this room", Until: ending(until)}
}
