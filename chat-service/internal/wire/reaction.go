package wire

import (
	"slices"
	"strconv"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/message"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/platform/rawjson"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// MessageReact reads `{ roomId, messageId, key }`.
func MessageReact(args []byte) (r rules.React, err error) {
	var o object
	if o, r.Room, r.Message, err = objectOfMessage(args); err != nil {
		return r, err
	}
	r.Key, err = o.mustString("key")
	return r, err
}

// MessagePins reads `roomId` or `{ roomId, after?, limit? }`.
func MessagePins(args []byte) (room chat.RoomID, after uint64, limit int, err error) {
	if room, err = RoomOnly(args); err != nil {
		return "", 0, 0, err
	}
	o, err := firstObject(args)
	if err != nil {
		return room, 0, 0, nil //nolint:nilerr // the room's id alone
	}
	from, err := o.sequence("after")
	if err != nil {
		return "", 0, 0, err
	}
	if from != nil {
		after = *from
	}
	limit, err = o.limit()
	return room, after, limit, err
}

// PinsAck is the ack of message:pins. next is the sequence from which the next page goes on.
func PinsAck(list []chat.Message, more bool) []byte {
	b := appendMessages(append(make([]byte, 0, sizeHint(list)), `[{"ok":true,"messages":`...), list)
	if more {
		b = strconv.AppendUint(append(b, `,"next":`...), list[len(list)-1].Seq, 10)
	}
	return append(b, `}]`...)
}

// ReactAck is the ack of message:react and message:unreact; without a seq there was nothing to do.
func ReactAck(o rules.Outcome) []byte {
	b := []byte(`[{"ok":true`)
	if o.Changed {
		b = strconv.AppendUint(append(b, `,"seq":`...), o.Seq, 10)
	}
	return append(appendReactions(append(b, `,"reactions":`...), o.Details.Reactions, o.Details.Mine), `}]`...)
}

// appendReactions writes `[{ key, count, mine? }]`.
func appendReactions(b []byte, counts message.Counts, mine []string) []byte {
	b = append(b, '[')
	for i, c := range counts {
		if i > 0 {
			b = append(b, ',')
		}
		b = rawjson.AppendString(append(b, `{"key":`...), c.Key)
		b = strconv.AppendInt(append(b, `,"count":`...), int64(c.N), 10)
		if slices.Contains(mine, c.Key) {
			b = append(b, `,"mine":true`...)
		}
		b = append(b, '}')
	}
	return append(b, ']')
}

// reactionsArgs writes `[{ roomId, seq, messageId, changes: [{ key, userId, on }], counts: [{ key, count }] }]`.
func reactionsArgs(e chat.RoomEvent, f *chat.ReactionsChanged) []byte {
	b := append(appendOfMessage(make([]byte, 0, 256+80*len(f.Changes)), e, f.Message), `,"changes":[`...)
	for i, c := range f.Changes {
		if i > 0 {
			b = append(b, ',')
		}
		b = rawjson.AppendString(append(b, `{"key":`...), c.Key)
		b = rawjson.AppendString(append(b, `,"userId":`...), string(c.User))
		b = append(strconv.AppendBool(append(b, `,"on":`...), c.On), '}')
	}
	return append(appendReactions(append(b, `],"counts":`...), f.Counts, nil), `}]`...)
}

// pinnedEmit is message:pinned `{ roomId, seq, messageId, by, pinnedAt }` or message:unpinned `{ roomId, seq, messageId, by }`.
func pinnedEmit(e chat.RoomEvent, f chat.MessagePinned) *eventv1.Emit {
	b := appendBy(appendOfMessage(nil, e, f.Message), f.By)
	if f.Off {
		return &eventv1.Emit{Event: unpinned, Args: append(b, `}]`...)}
	}
	return &eventv1.Emit{Event: pinned, Args: append(appendTime(b, "pinnedAt", f.At), `}]`...)}
}

// appendOfMessage begins the arguments of an event about a message.
func appendOfMessage(b []byte, e chat.RoomEvent, id chat.MessageID) []byte {
	b = rawjson.AppendString(append(b, `[{"roomId":`...), string(e.Room))
	b = strconv.AppendUint(append(b, `,"seq":`...), e.Seq, 10)
	return append(appendUUID(append(b, `,"messageId":"`...), id), '"')
}
