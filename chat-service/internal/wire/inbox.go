package wire

import (
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/message"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
	"github.com/starling-chat/starling/platform/rawjson"
)

// InboxState is the arguments of inbox:state.
func InboxState(l *usecases.RoomList) []byte {
	b := append(make([]byte, 0, 64+640*len(l.List)), `[{"rooms":[`...)
	for i := range l.List {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendInboxRoom(b, &l.List[i])
	}
	b = strconv.AppendUint(append(b, `],"useq":`...), l.Useq, 10)
	if next := RoomsCursor(l.Next); next != "" {
		b = rawjson.AppendString(append(b, `,"next":`...), next)
	}
	return append(b, `}]`...)
}

func appendInboxRoom(b []byte, r *usecases.RoomSummary) []byte {
	b = rawjson.AppendString(append(b, `{"roomId":`...), string(r.Room))
	b = rawjson.AppendString(append(b, `,"name":`...), r.Name)
	b = rawjson.AppendString(append(b, `,"kind":`...), string(r.Kind))
	b = rawjson.AppendString(append(b, `,"role":`...), string(r.Role))
	b = strconv.AppendUint(append(b, `,"seq":`...), r.Head, 10)
	b = strconv.AppendUint(append(b, `,"n":`...), r.N, 10)
	b = appendMarker(appendUnread(b, r.Marker), r.Marker)
	b = appendPrefs(append(b, `,"prefs":`...), r.Prefs)
	if b = append(b, `,"last":`...); r.Last == nil {
		b = append(b, null...)
	} else {
		b = appendLast(b, r.Last)
	}
	return append(b, '}')
}

// ActivityArgs is the arguments of room:activity.
func ActivityArgs(a *chat.Activity) []byte {
	b := rawjson.AppendString(append(make([]byte, 0, 512), `[{"roomId":`...), string(a.Room))
	b = strconv.AppendUint(append(b, `,"seq":`...), a.Seq, 10)
	b = strconv.AppendUint(append(b, `,"n":`...), a.N, 10)
	if a.Last != nil {
		b = appendLast(append(b, `,"last":`...), a.Last)
	}
	return append(b, `}]`...)
}

// appendLast writes what a list of rooms shows of a message. It is the same for every reader.
func appendLast(b []byte, m *chat.Message) []byte {
	b = append(appendUUID(append(b, `{"id":"`...), m.ID), '"')
	b = appendSender(append(b, `,"sender":`...), m.Sender)
	b = rawjson.AppendString(append(b, `,"preview":`...), message.Preview(m.Content))
	b = rawjson.AppendString(append(b, `,"type":`...), m.Type)
	b = appendTime(b, "createdAt", m.CreatedAt)
	if m.Deleted() {
		b = appendTime(b, "deletedAt", m.Extras.DeletedAt)
	}
	return append(b, '}')
}

// The numbers of the fields of a RoomEvent, and of its Emit, that MovesInbox looks for; a test checks them against the schema.
const (
	fieldEmit  = 3
	fieldEvent = 1
)

// MovesInbox tells whether an encoded event changes what inboxes show of its room: a message was sent, edited or deleted. Anything else is
// passed over unread.
func MovesInbox(event []byte) bool {
	switch string(bytesField(bytesField(event, fieldEmit), fieldEvent)) {
	case messageNew, edited, deleted:
		return true
	}
	return false
}

// bytesField finds the first field of a number, of those with a length; nil = there is none.
func bytesField(m []byte, number protowire.Number) []byte {
	for len(m) > 0 {
		n, kind, size := protowire.ConsumeTag(m)
		if size < 0 {
			return nil
		}
		m = m[size:]
		if n == number && kind == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(m)
			return value
		}
		if size = protowire.ConsumeFieldValue(n, kind, m); size < 0 {
			return nil
		}
		m = m[size:]
	}
	return nil
}
