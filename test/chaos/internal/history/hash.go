package history

import (
	"hash/fnv"
	"strconv"
	"strings"
)

// Hash is FNV-1a, 64 bits: of a message's content as the client sent it.
func Hash(s string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s))
	return h.Sum64()
}

// EventHash stands for a durable event in what its receivers must agree about, whenever they get it. kind is the event's name; of message:new
// and message:edited, id is the message's id and text empty, for what the message says may change; of other events about a message, text is
// the argument as it came; of room:user-joined and room:user-left both are empty. user is the id of who sent, joined or left.
func EventHash(kind string, seq uint64, user, id, text string) uint64 {
	h := fnv.New64a()
	for _, field := range []string{kind, strconv.FormatUint(seq, 10), user, id, text} {
		_, _ = h.Write([]byte(field))
		_, _ = h.Write([]byte{0})
	}
	return h.Sum64()
}

// LogHash stands for an event of a user's log: its name and its argument as it came, byte by byte.
func LogHash(kind string, argument []byte) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(kind))
	_, _ = h.Write([]byte{0})
	_, _ = h.Write(argument)
	return h.Sum64()
}

// MentionHash stands for a me:mention of a user's log: what it shows of the message is what that is by then.
func MentionHash(useq uint64, room, message string) uint64 {
	return EventHash("me:mention", useq, room, message, "")
}

// Lead stands for what a content and its preview have in common: the two words of its label.
func Lead(text string) uint64 {
	words := strings.Fields(text)
	return Hash(strings.Join(words[:min(len(words), 2)], " ")) //nolint:mnd // see SentLabel
}

// SentLabel is with what the content of a message of the run begins, and EditLabel that of an edit: no two are the same, and none is found in
// another content.
func SentLabel(user string, order int) string { return user + " #" + strconv.Itoa(order) + " " }

// EditLabel is described above.
func EditLabel(user string, order int) string { return user + " ~" + strconv.Itoa(order) + " " }
