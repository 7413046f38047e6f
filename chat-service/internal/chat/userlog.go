package chat

import (
	"time"

	"github.com/starling-chat/starling/proto/limits"
)

// What happens to a user's own rooms is told to all devices of the user by a log, which is a room with an id of its own: its facts
// are numbered without holes, in the transaction that makes them true.

// LogOf is the id of a user's log. No client can name it.
func LogOf(user UserID) RoomID { return RoomID(limits.UserLog(string(user))) }

// UserOf tells whose log an id names; ok is false for that of any other room.
func UserOf(room RoomID) (user UserID, ok bool) {
	name, ok := limits.UserOfLog(string(room))
	return UserID(name), ok
}

// The facts of a user's log.
type (
	// RoomAdded is me:room-added.
	RoomAdded struct {
		Room RoomInfo
		By   UserID // who added the user, or opened the room; "" = the user itself
	}
	// RoomRemoved is me:room-removed.
	RoomRemoved struct {
		Room   RoomID
		Reason string // LeftBySelf, LeftRemoved, LeftBanned, LeftDeleted
	}
	// MarkerMoved is me:marker: how far the user has read by the event of the room with the sequence At.
	MarkerMoved struct {
		Room   RoomID
		Marker Marker
		At     uint64
	}
	// Mentioned is me:mention: a message mentions the user. It is told again with what the message is by then.
	Mentioned struct{ Message Message }
	// LogReset is me:reset: the log does not have what was asked for. It takes no number; its own is the log's head.
	LogReset struct{}
)

func (RoomAdded) fact()   {}
func (RoomRemoved) fact() {}
func (MarkerMoved) fact() {}
func (Mentioned) fact()   {}
func (LogReset) fact()    {}

// Marker is how far a member has read.
type Marker struct {
	Seq    uint64 // of the message; 0 = none
	N      uint64 // how many messages of the room are read, or came before the member
	Unread uint64 // how many are not; at most MaxUnread

	Mentions int // how many of those mention the user or the whole room; at most MaxMentions
}

// MaxMentions is the largest number of messages that mention a user which is told.
const MaxMentions = 100

// MaxUnread is the largest number of unread messages that is told.
const MaxUnread = 1000

// Why a room is no longer one of the user's, beside LeftRemoved and LeftBanned.
const (
	LeftBySelf  = "left"
	LeftDeleted = "deleted"
)

// LogPage selects facts of a user's log: those after a sequence, up to another one (0 = the head), or those stored after a time.
type LogPage struct {
	After, To uint64
	Since     time.Time // zero = by sequence
	Limit     int
}

// Misses tells whether the log, which stands at head, does not have all of the page: it was trimmed, or never had it. first is where what was found
// begins; 0 = nothing was.
func (p *LogPage) Misses(head, first uint64) bool {
	switch {
	case !p.Since.IsZero():
		return false
	case p.After > head:
		return true
	case first > 0:
		return first > p.After+1
	default:
		return p.After < head && (p.To == 0 || p.To > p.After)
	}
}

// Grown is whose logs have grown.
type Grown struct {
	Heads map[UserID]uint64
	Until time.Time // since of the next question
	More  bool
}

// GrownMargin is how long a fact may take from its time to its commit.
const GrownMargin = 6 * time.Second
