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
)

// Role is what a member may do, in the form in which clients get it.
type Role string

// The roles, the mightiest first.
const (
	RoleOwner     Role = "owner"
	RoleModerator Role = "moderator"
	RoleMember    Role = "member"
)

// rank orders the roles; that of a word which is no role is 0.
func (r Role) rank() int {
	switch r {
	case RoleOwner:
		return 3
	case RoleModerator:
		return 2
	case RoleMember:
		return 1
	default:
		return 0
	}
}

// Valid tells that the word is a role.
func (r Role) Valid() bool { return r.rank() > 0 }

// Above tells whether a role is mightier than another one.
func (r Role) Above(other Role) bool { return r.rank() > other.rank() }

// Forever is the end of a ban or a mute that has none.
func Forever() time.Time { return time.Date(9999, time.December, 31, 0, 0, 0, 0, time.UTC) }

// Act is what a user wants to do in a room.
type Act int

// The acts.
const (
	Enter    Act = iota // become a member, or look at the room from outside
	Read                // messages, events, receipts, who is there
	Speak               // store a message, or say what is not stored
	Moderate            // manage the room and its members
)

// Standing is what there is between a user and a room: all that decides what the user may do there.
type Standing struct {
	Exists bool
	Kind   Kind
	Member bool
	Role   Role // of a member
	// The ends of a ban and of a mute: zero = there is none. A banned user is no member.
	BannedUntil, MutedUntil time.Time
}

// Refuse returns the fault for an act that the user may not do; nil = it may.
func (s *Standing) Refuse(act Act, at time.Time) error {
	switch {
	case !s.Exists:
		return NoRoom()
	case s.BannedUntil.After(at):
		return Banned(s.BannedUntil)
	case s.Member:
		return s.refuseMember(act, at)
	case s.Kind != Public:
		return NoRoom()
	case act != Enter:
		return notMember()
	}
	return nil
}

func (s *Standing) refuseMember(act Act, at time.Time) error {
	switch {
	case act == Speak && s.MutedUntil.After(at):
		return &fault.Error{Kind: fault.Forbidden, Reason: fault.ReasonMuted, Message: "You are muted in this room", Until: ending(s.MutedUntil)}
	case act == Moderate && RoleModerator.Above(s.Role):
		return fault.Because(fault.Forbidden, fault.ReasonNotAllowed, "Only a moderator of the room may do this")
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

func notMember() error { return fault.New(fault.Forbidden, "Not a member of this room") }

// Banned is the refusal of a banned user.
func Banned(until time.Time) error {
	return &fault.Error{Kind: fault.Forbidden, Reason: fault.ReasonBanned, Message: "You are banned from this room", Until: ending(until)}
}
