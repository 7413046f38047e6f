package chat

import (
	"time"

	"github.com/google/uuid"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/message"
)

// RoomEvent is a fact of a room. Durable ones have the room's next sequence, ephemeral ones 0.
type RoomEvent struct {
	Room         RoomID
	Seq          uint64
	Fact         Fact
	ExceptSocket string    // does not get it
	ExceptUser   UserID    // whose sockets do not get it
	EvictUser    UserID    // whose sockets leave the room after it
	CausedAt     time.Time // zero = not known
	Trace        string    // of an ephemeral event: traceparent of the span that caused it; "" = it is not traced
}

// Fact is what happened; the types below are the whole set.
type Fact interface{ fact() }

// The durable facts.
type (
	// MessageSent is message:new.
	MessageSent struct{ Message Message }
	// MessageEdited is message:edited: the message as it is now.
	MessageEdited struct{ Message Message }
	// MessageDeleted is message:deleted.
	MessageDeleted struct {
		Message MessageID
		By      UserID
		At      time.Time
	}
	// UserJoined is room:user-joined.
	UserJoined struct {
		User UserID
		Name string
		By   UserID // who added the user; "" = it came by itself
	}
	// UserLeft is room:user-left.
	UserLeft struct {
		User   UserID
		By     UserID // who ended the membership; "" = the user
		Reason string // LeftRemoved, LeftBanned; "" = the user left
	}
	// RoomUpdated is room:updated: what the room is now.
	RoomUpdated struct {
		Details RoomDetails
		By      UserID
	}
	// RoomArchived is room:archived.
	RoomArchived struct {
		At time.Time
		By UserID
	}
	// RoomDeleted is room:deleted, the last event of a room.
	RoomDeleted struct{ By UserID }
	// RoleChanged is room:role.
	RoleChanged struct {
		User UserID
		Role access.Role
		By   UserID
	}
)

// ReactionsChanged is message:reactions.
type ReactionsChanged struct {
	Message MessageID
	Changes []ReactionChange
	Counts  message.Counts // all that there are of the message
}

// ReactionChange is one of the changes in ReactionsChanged, in order.
type ReactionChange struct {
	Key  string
	User UserID
	On   bool
}

// MessagePinned is message:pinned, or message:unpinned where it is Off.
type MessagePinned struct {
	Message MessageID
	By      UserID
	At      time.Time
	Off     bool
}

// Why somebody is no member any more, in UserLeft.
const (
	LeftRemoved = "removed"
	LeftBanned  = "banned"
)

// The ephemeral facts.
type (
	// MessageRead is message:read, with the sequence of the message read.
	MessageRead struct {
		Message MessageID
		User    UserID
		Seq     uint64
	}
	// TypingStarted is typing:start, which holds for typing.Expiry.
	TypingStarted struct {
		User UserID
		Name string
	}
	// TypingStopped is typing:stop.
	TypingStopped struct{ User UserID }
	// RoomMessage is room:message: what a client said, already in wire form.
	RoomMessage struct{ Emit Emit }
)

func (MessageSent) fact()       {}
func (MessageEdited) fact()     {}
func (MessageDeleted) fact()    {}
func (*ReactionsChanged) fact() {}
func (MessagePinned) fact()     {}
func (UserJoined) fact()        {}
func (UserLeft) fact()          {}
func (RoleChanged) fact()       {}
func (RoomUpdated) fact()       {}
func (RoomArchived) fact()      {}
func (RoomDeleted) fact()       {}
func (MessageRead) fact()       {}
func (TypingStarted) fact()     {}
func (TypingStopped) fact()     {}
func (RoomMessage) fact()       {}

// Emit is an event in the form in which clients get it; the domain passes it on unread.
type Emit struct {
	Event       string
	Args        []byte
	Attachments [][]byte
}

// EncodedEvent is a durable event in the form in which it travels, encoded once for the outbox and the publisher.
type EncodedEvent struct {
	Room  RoomID
	Seq   uint64
	Bytes []byte
}

// OutboxID names an outbox row.
type OutboxID = uuid.UUID

// Outgoing is one outbox row: the events of one transaction in commit order.
type Outgoing struct {
	Trace  string // traceparent of the commit's span; "" = it is not traced
	ID     OutboxID
	Events []EncodedEvent
}
