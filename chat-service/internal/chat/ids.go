package chat

import (
	"encoding/binary"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/starling-chat/starling/proto/fault"
)

// Bounds of what clients give.
const (
	MaxRoomID      = 128       // characters
	MaxContent     = 16 << 10  // bytes of UTF-8
	MaxType        = 32        // characters
	MaxClientMsgID = 128       // characters
	maxUserID      = 256       // bytes
	maxSeq         = 1<<40 - 1 // what a message id has room for
)

// DefaultType is the type of a message whose sender names none.
const DefaultType = "text"

// RoomID names a room: 1 to 128 printable characters.
type RoomID string

// UserID names a user as auth-service does.
type UserID string

// System is the sender of messages that no user wrote.
const (
	System     UserID = "system"
	SystemName string = "System"
)

// ParseRoomID checks a room id from outside; fault Invalid names the field roomId.
func ParseRoomID(s string) (RoomID, error) {
	if s == "" {
		return "", fault.New(fault.Invalid, "roomId must not be empty")
	}
	// A character has at most four bytes: longer input is refused before it is read.
	if len(s) > MaxRoomID*utf8.UTFMax || utf8.RuneCountInString(s) > MaxRoomID {
		return "", fault.Newf(fault.Invalid, "roomId must have at most %d characters", MaxRoomID)
	}
	if !utf8.ValidString(s) {
		return "", fault.New(fault.Invalid, "roomId must be valid UTF-8")
	}
	for _, r := range s {
		if !unicode.IsPrint(r) && !unicode.Is(unicode.Zs, r) {
			return "", fault.New(fault.Invalid, "roomId must consist of printable characters")
		}
	}
	return RoomID(s), nil
}

// ParseUserID checks a user id from outside; fault Invalid names the field userId.
func ParseUserID(s string) (UserID, error) {
	switch {
	case s == "":
		return "", fault.New(fault.Invalid, "userId must not be empty")
	case len(s) > maxUserID:
		return "", fault.Newf(fault.Invalid, "userId must have at most %d bytes", maxUserID)
	}
	if err := checkText("userId", s); err != nil {
		return "", err
	}
	return UserID(s), nil
}

// checkText refuses what PostgreSQL cannot store as text.
func checkText(field, s string) error {
	if !utf8.ValidString(s) {
		return fault.Newf(fault.Invalid, "%s must be valid UTF-8", field)
	}
	if strings.IndexByte(s, 0) >= 0 {
		return fault.Newf(fault.Invalid, "%s must not contain the character U+0000", field)
	}
	return nil
}

// MessageID is a UUIDv7 that carries the message's sequence in its last 40 bits; see the package documentation.
type MessageID = uuid.UUID

// NewMessageID makes the id of a message with this sequence, created at this time.
func NewMessageID(at time.Time, seq uint64, random uint64) MessageID {
	var id MessageID
	binary.BigEndian.PutUint64(id[:8], uint64(at.UnixMilli())<<16|0x7000|random&0x0fff)
	binary.BigEndian.PutUint64(id[8:], 1<<63|(random>>12&(1<<22-1))<<40|seq&maxSeq)
	return id
}

// ParseMessageID reads an id from outside; fault Invalid names the field messageId.
func ParseMessageID(s string) (MessageID, error) {
	id, err := uuid.Parse(s)
	if err != nil || len(s) != 36 {
		return MessageID{}, fault.New(fault.Invalid, "messageId must be a message's id")
	}
	return id, nil
}

// SeqOf gives the sequence that a message id carries.
func SeqOf(id MessageID) uint64 { return binary.BigEndian.Uint64(id[8:]) & maxSeq }
