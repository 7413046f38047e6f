package wire

import (
	"strconv"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
	"github.com/starling-chat/starling/platform/rawjson"
	"github.com/starling-chat/starling/proto/isotime"
)

// Time gives a time as clients see it.
func Time(t time.Time) string { return isotime.Format(t) }

// OK is the ack of an event that answers nothing else.
const OK = `[{"ok":true}]`

// SendAck is the ack of message:send.
func SendAck(o rules.Outcome) []byte {
	b := make([]byte, 0, 160)
	b = append(b, `[{"ok":true,"status":"delivered","id":"`...)
	b = appendUUID(b, o.ID)
	b = append(b, `","seq":`...)
	b = strconv.AppendUint(b, o.Seq, 10)
	b = append(b, `,"createdAt":"`...)
	b = append(isotime.Append(b, o.CreatedAt), '"')
	if o.N > 0 {
		b = strconv.AppendUint(append(b, `,"n":`...), o.N, 10)
	}
	return append(b, `}]`...)
}

// JoinAck is the ack of room:join.
func JoinAck(room chat.RoomID, v usecases.View) []byte {
	b := append(make([]byte, 0, 96+len(room)), `[{"ok":true,"roomId":`...)
	b = rawjson.AppendString(b, string(room))
	b = append(b, `,"seq":`...)
	b = strconv.AppendUint(b, v.Head, 10)
	b = append(b, `,"role":`...)
	b = rawjson.AppendString(b, string(v.Role))
	b = append(b, `,"hasMore":`...)
	b = strconv.AppendBool(b, v.HasMore)
	return append(b, `}]`...)
}

// HistoryArgs is the arguments of room:history: one array of messages, oldest first.
func HistoryArgs(messages []chat.Message) []byte {
	b := append(make([]byte, 0, sizeHint(messages)), '[')
	b = appendMessages(b, messages)
	return append(b, ']')
}

// HistoryAck is the ack of message:history.
func HistoryAck(v usecases.View) []byte {
	b := append(make([]byte, 0, sizeHint(v.Messages)), `[{"ok":true,"messages":`...)
	b = appendMessages(b, v.Messages)
	b = append(b, `,"hasMore":`...)
	b = strconv.AppendBool(b, v.HasMore)
	if v.Newer != nil {
		b = strconv.AppendBool(append(b, `,"hasNewer":`...), *v.Newer)
	}
	return append(b, `}]`...)
}

// ReadersAck is the ack of message:readers. next is the user from which the next page goes on.
func ReadersAck(r usecases.Readers) []byte {
	b := append(make([]byte, 0, 64+64*len(r.List)), `[{"ok":true,"readers":[`...)
	for i, reader := range r.List {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"userId":`...)
		b = rawjson.AppendString(b, string(reader.User))
		b = append(b, `,"seq":`...)
		b = strconv.AppendUint(b, reader.Seq, 10)
		b = append(b, '}')
	}
	b = append(b, `],"count":`...)
	b = strconv.AppendInt(b, int64(r.Count), 10)
	if r.HasMore {
		b = append(b, `,"next":`...)
		b = rawjson.AppendString(b, string(r.List[len(r.List)-1].User))
	}
	return append(b, `}]`...)
}

// NotificationsAck is the ack of notification:list.
func NotificationsAck(list []usecases.Notification, unread int) []byte {
	b := append(make([]byte, 0, 64+300*len(list)), `[{"ok":true,"notifications":[`...)
	for i := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendNotification(b, &list[i], true)
	}
	b = append(b, `],"unread":`...)
	b = strconv.AppendInt(b, int64(unread), 10)
	return append(b, `}]`...)
}

// UnreadAck is the ack of notification:read.
func UnreadAck(unread int) []byte {
	b := strconv.AppendInt([]byte(`[{"ok":true,"unread":`), int64(unread), 10)
	return append(b, `}]`...)
}

// NotificationArgs is the arguments of the event notification.
func NotificationArgs(n usecases.Notification) []byte {
	return append(appendNotification([]byte{'['}, &n, false), ']')
}

// ReceivedArgs is the arguments of chat:message:received; id is raw JSON.
func ReceivedArgs(id []byte) []byte {
	b := append([]byte(`[{"id":`), id...)
	return append(b, `,"status":"delivered"}]`...)
}

// MessageArgs is the arguments of message:new.
func MessageArgs(m *chat.Message) []byte {
	b := append(make([]byte, 0, 320+len(m.Content)+len(m.Content)/8), '[')
	return append(appendMessage(b, m), ']')
}

func sizeHint(messages []chat.Message) int {
	size := 64
	for i := range messages {
		size += 320 + len(messages[i].Content)
		if x := messages[i].Extras; x != nil {
			size += 320 + len(x.Data)
		}
	}
	return size
}

func appendMessages(b []byte, messages []chat.Message) []byte {
	b = append(b, '[')
	for i := range messages {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendMessage(b, &messages[i])
	}
	return append(b, ']')
}

func appendMessage(b []byte, m *chat.Message) []byte {
	b = append(b, `{"id":"`...)
	b = appendUUID(b, m.ID)
	b = append(b, `","roomId":`...)
	b = rawjson.AppendString(b, string(m.Room))
	b = append(b, `,"seq":`...)
	b = strconv.AppendUint(b, m.Seq, 10)
	if m.N > 0 {
		b = strconv.AppendUint(append(b, `,"n":`...), m.N, 10)
	}
	b = appendSender(append(b, `,"sender":`...), m.Sender)
	b = append(b, `,"content":`...)
	b = rawjson.AppendString(b, m.Content)
	b = append(b, `,"type":`...)
	b = rawjson.AppendString(b, m.Type)
	b = append(b, `,"createdAt":"`...)
	b = isotime.Append(b, m.CreatedAt)
	b = append(b, '"')
	if m.ClientMsgID != "" {
		b = append(b, `,"clientMsgId":`...)
		b = rawjson.AppendString(b, m.ClientMsgID)
	}
	if m.Sender.ID == chat.System {
		b = append(b, `,"system":true`...)
	}
	if m.Changed > 0 {
		b = strconv.AppendUint(append(b, `,"changed":`...), m.Changed, 10)
	}
	if m.Extras != nil {
		b = appendExtras(b, m.Extras)
	}
	return append(b, '}')
}

func appendNotification(b []byte, n *usecases.Notification, withRead bool) []byte {
	b = append(b, `{"id":"`...)
	b = appendUUID(b, n.ID)
	b = append(b, `","type":`...)
	b = rawjson.AppendString(b, n.Type)
	b = append(b, `,"title":`...)
	b = rawjson.AppendString(b, n.Title)
	b = append(b, `,"body":`...)
	b = rawjson.AppendString(b, n.Body)
	b = append(b, `,"data":`...)
	if len(n.Data) == 0 {
		b = append(b, null...)
	} else {
		b = append(b, n.Data...)
	}
	b = append(b, `,"createdAt":"`...)
	b = isotime.Append(b, n.CreatedAt)
	b = append(b, '"')
	if withRead {
		b = append(b, `,"read":`...)
		b = strconv.AppendBool(b, n.Read)
	}
	return append(b, '}')
}

const hexDigits = "0123456789abcdef"

// appendUUID writes the canonical form.
func appendUUID(b []byte, id chat.MessageID) []byte {
	for i, c := range id {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			b = append(b, '-')
		}
		b = append(b, hexDigits[c>>4], hexDigits[c&0xf])
	}
	return b
}
