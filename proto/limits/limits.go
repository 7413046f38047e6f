// Package limits declares the bounds of names that more than one part of Starling takes in: every service and the gateway
// ask here, so that what one of them lets in none of the others refuses.
//
// Ids are bounded in characters, because that is what people count; a character has at most four bytes, which bounds the
// bytes as well. Three things downstream rely on the bytes:
//
//   - PostgreSQL's indexes: a row of a B-tree has at most 2,704 bytes. The widest key of ours is that of repeated messages:
//     a room id, a user id and a clientMsgId, 1,536 bytes.
//   - NATS's subjects: no id stands in them as it is. Package subject makes tokens of at most 65 bytes.
//   - Messages that list users, which stay below NATS's max_payload (4 MB) by their number: 2,000 sockets in one delta of
//     presence are 1.1 MB at most.
//
// A bound may grow in a release, and the parts of it may start in any order: a part that does not know the new bound
// refuses what is beyond its own. It must never shrink, for what is stored was let in under the old one.
package limits

import (
	"unicode"
	"unicode/utf8"
)

// Bounds of ids.
const (
	// UserIDChars and UserIDBytes bound a user id: the subject of a token, or the id that auth-service gave.
	UserIDChars = 128
	UserIDBytes = UserIDChars * utf8.UTFMax
	// RoomIDChars and RoomIDBytes bound a room id, which clients choose.
	RoomIDChars = 128
	RoomIDBytes = RoomIDChars * utf8.UTFMax
	// ClientMsgIDChars bounds the id that a client gives its message, ClientMsgIDBytes its bytes.
	ClientMsgIDChars = 128
	ClientMsgIDBytes = ClientMsgIDChars * utf8.UTFMax
	// IdempotencyKeyChars bounds the key by which a client asks for the same again.
	IdempotencyKeyChars = 64
)

// SystemUserID is the sender's id of messages that no user wrote. It names no user, so that nobody whose login system calls them
// so can speak as the System, or take its clientMsgIds.
const SystemUserID = "system"

// ValidUserID tells whether s can name a user: 1 to UserIDChars printable characters in valid UTF-8, other than SystemUserID.
// The space U+0020 is the only one that counts as printable.
func ValidUserID(s string) bool {
	return s != SystemUserID && printable(s, UserIDChars, unicode.IsPrint)
}

// ValidRoomID tells whether s can name a room: 1 to RoomIDChars printable characters or spaces of any kind in valid UTF-8.
func ValidRoomID(s string) bool {
	return printable(s, RoomIDChars, func(r rune) bool { return unicode.IsPrint(r) || unicode.Is(unicode.Zs, r) })
}

// ValidIdempotencyKey tells whether s can be an idempotency key: 1 to IdempotencyKeyChars printable characters in valid UTF-8.
func ValidIdempotencyKey(s string) bool {
	return printable(s, IdempotencyKeyChars, unicode.IsPrint)
}

// printable refuses long input by its bytes before it reads the characters.
func printable(s string, chars int, allowed func(rune) bool) bool {
	if s == "" || len(s) > chars*utf8.UTFMax || !utf8.ValidString(s) {
		return false
	}
	n := 0
	for _, r := range s {
		if n++; n > chars || !allowed(r) {
			return false
		}
	}
	return true
}
