package chat

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/starling-chat/starling/proto/fault"
	"github.com/starling-chat/starling/proto/limits"
)

// Bounds of what clients give; those of ids are in package limits.
const (
	MaxContent = 16 << 10  // bytes of UTF-8
	MaxType    = 32        // characters
	maxSeq     = 1<<40 - 1 // what a message id has room for
)

// DefaultType is the type of a message whose sender names none.
const DefaultType = "text"

// RoomID names a room, within the bounds of limits.ValidRoomID.
type RoomID string

// UserID names a user as auth-service does.
type UserID string

// System is the sender of messages that no user wrote.
const (
	System     UserID = limits.SystemUserID
	SystemName string = "System"
)

// ParseRoomID checks a room id from outside; fault Invalid names the field roomId.
func ParseRoomID(s string) (RoomID, error) {
	if s == "" {
		return "", fault.New(fault.Invalid, "roomId must not be empty")
	}
	if limits.ValidRoomID(s) {
		return RoomID(s), nil
	}
	// What is wrong with it? Input beyond the bytes is not read.
	switch {
	case len(s) > limits.RoomIDBytes || utf8.RuneCountInString(s) > limits.RoomIDChars:
		return "", fault.Newf(fault.Invalid, "roomId must have at most %d characters", limits.RoomIDChars)
	case !utf8.ValidString(s):
		return "", fault.New(fault.Invalid, "roomId must be valid UTF-8")
	default:
		return "", fault.New(fault.Invalid, "roomId must consist of printable characters")
	}
}

// ParseUserID checks a user id from outside; fault Invalid names the field userId.
func ParseUserID(s string) (UserID, error) {
	if !limits.ValidUserID(s) {
		return "", fault.Newf(fault.Invalid, "userId must be 1 to %d printable characters, and not %s", limits.UserIDChars, limits.SystemUserID)
	}
	return UserID(s), nil
}

// CheckText refuses what PostgreSQL cannot store as text.
func CheckText(field, s string) error {
	if !utf8.ValidString(s) {
		return fault.Newf(fault.Invalid, "%s must be valid UTF-8", field)
	}
	if strings.IndexByte(s, 0) >= 0 {
		return fault.Newf(fault.Invalid, "%s must not contain the character U+0000", field)
	}
	return nil
}

// Membership is a pair to look up.
type Membership struct {
	Room RoomID
	User UserID
}

// directPrefix begins the id of a direct room. What follows is a hash of its users.
const directPrefix = "direct:"

// DirectID is the id of the direct room of these users, in any order. It says nothing about them, and two who open their room at
// once open the same one.
func DirectID(users []UserID) RoomID {
	sorted := slices.Clone(users)
	slices.Sort(sorted)
	h := sha256.New()
	for _, user := range sorted { // with its length, so that no two lists read the same
		_, _ = h.Write([]byte(strconv.Itoa(len(user)) + ":" + string(user)))
	}
	return RoomID(directPrefix + base64.RawURLEncoding.EncodeToString(h.Sum(nil)))
}

// IsDirectID tells whether an id has the form of a direct room's. Nobody makes such a room but by opening it.
func IsDirectID(id RoomID) bool {
	hash, is := strings.CutPrefix(string(id), directPrefix)
	if !is {
		return false
	}
	raw, err := base64.RawURLEncoding.DecodeString(hash)
	return err == nil && len(raw) == sha256.Size
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
