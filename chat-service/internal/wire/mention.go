package wire

import (
	"strconv"
	"strings"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
	"github.com/starling-chat/starling/platform/rawjson"
	"github.com/starling-chat/starling/proto/fault"
)

// MentionList reads nothing, or `{ after?, limit? }`.
func MentionList(args []byte) (after usecases.MentionsCursor, limit int, err error) {
	elements, err := splitArgs(args)
	if err != nil || len(elements) == 0 || string(elements[0]) == null {
		return after, 0, err
	}
	o, err := firstObject(args)
	if err != nil {
		return after, 0, err
	}
	if limit, err = o.limit(); err != nil {
		return after, 0, err
	}
	text, given, err := o.string("after")
	if err == nil && given {
		after, err = ParseMentionsCursor(text)
	}
	return after, limit, err
}

// MentionsCursor gives a cursor as clients get it, "" for none: the microseconds since 1970 of the message, its sequence, and the room's id.
func MentionsCursor(c usecases.MentionsCursor) string {
	if c == (usecases.MentionsCursor{}) {
		return ""
	}
	return strconv.FormatInt(c.At.UnixMicro(), 10) + ":" + strconv.FormatUint(c.Seq, 10) + ":" + string(c.Room)
}

// ParseMentionsCursor is the way back from MentionsCursor, and takes no "".
func ParseMentionsCursor(s string) (c usecases.MentionsCursor, err error) {
	micros, rest, _ := strings.Cut(s, ":")
	seq, room, _ := strings.Cut(rest, ":")
	n, err := strconv.ParseUint(micros, 10, 53)
	if err == nil {
		c.At = time.UnixMicro(int64(n))
		c.Seq, err = strconv.ParseUint(seq, 10, 53)
	}
	if err == nil {
		c.Room, err = chat.ParseRoomID(room)
	}
	if err != nil {
		return c, fault.New(fault.Invalid, "after must be the next of another page")
	}
	return c, nil
}

// MentionsAck is the ack of mention:list.
func MentionsAck(page *usecases.MentionsPage) []byte {
	b := append(make([]byte, 0, sizeHint(page.Messages)), `[{"ok":true,"mentions":[`...)
	for i := range page.Messages {
		if i > 0 {
			b = append(b, ',')
		}
		m := &page.Messages[i]
		b = rawjson.AppendString(append(b, `{"roomId":`...), string(m.Room))
		b = append(appendMessage(append(b, `,"message":`...), m), '}')
	}
	b = append(b, ']')
	if next := MentionsCursor(page.Next); next != "" {
		b = rawjson.AppendString(append(b, `,"next":`...), next)
	}
	return append(b, `}]`...)
}
