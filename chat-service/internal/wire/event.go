package wire

import (
	"fmt"
	"strconv"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/typing"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
	"github.com/starling-chat/starling/platform/rawjson"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// The events that the service emits; docs/events.md has their payloads.
const (
	messageNew   = "message:new"
	edited       = "message:edited"
	deleted      = "message:deleted"
	reacted      = "message:reactions"
	pinned       = "message:pinned"
	unpinned     = "message:unpinned"
	userJoined   = "room:user-joined"
	userLeft     = "room:user-left"
	roleChanged  = "room:role"
	roomUpdated  = "room:updated"
	roomArchived = "room:archived"
	roomDeleted  = "room:deleted"
	messageRead  = "message:read"
	typingStart  = "typing:start"
	typingStop   = "typing:stop"
	roomHistory  = "room:history"
	notification = "notification"
	noticesRead  = "notification:read"
	received     = "chat:message:received"
)

// HistoryEmit is room:history for a joiner.
func HistoryEmit(messages []chat.Message) *eventv1.Emit {
	return &eventv1.Emit{Event: roomHistory, Args: HistoryArgs(messages)}
}

// ReceivedEmit is chat:message:received for the sender; id is raw JSON.
func ReceivedEmit(id []byte) *eventv1.Emit {
	return &eventv1.Emit{Event: received, Args: ReceivedArgs(id)}
}

// TypingEmit is typing:start `{ userId, userName, roomId, expiresInMs }`.
func TypingEmit(room chat.RoomID, f chat.TypingStarted) *eventv1.Emit {
	b := append(make([]byte, 0, 96+len(room)+len(f.User)+len(f.Name)), `[{"userId":`...)
	b = rawjson.AppendString(b, string(f.User))
	b = append(b, `,"userName":`...)
	b = rawjson.AppendString(b, f.Name)
	b = append(b, `,"roomId":`...)
	b = rawjson.AppendString(b, string(room))
	b = append(b, `,"expiresInMs":`...)
	b = strconv.AppendInt(b, typing.Expiry.Milliseconds(), 10)
	return &eventv1.Emit{Event: typingStart, Args: append(b, `}]`...)}
}

// NotificationEmit is the event notification.
func NotificationEmit(n usecases.Notification) *eventv1.Emit {
	return &eventv1.Emit{Event: notification, Args: NotificationArgs(n)}
}

// NotificationsReadEmit is notification:read `{ ids, unread }` for the user's other sockets.
func NotificationsReadEmit(ids []usecases.NotificationID, unread int) *eventv1.Emit {
	b := append(make([]byte, 0, 40+39*len(ids)), `[{"ids":[`...)
	for i, id := range ids {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendUUID(append(b, '"'), id), '"')
	}
	b = append(b, `],"unread":`...)
	b = strconv.AppendInt(b, int64(unread), 10)
	return &eventv1.Emit{Event: noticesRead, Args: append(b, `}]`...)}
}

// RoomEvent gives an event the form in which gateways get it.
func RoomEvent(e chat.RoomEvent) *eventv1.RoomEvent {
	p := &eventv1.RoomEvent{
		RoomId: string(e.Room), Seq: e.Seq, Emit: emit(e),
		ExceptSocketId: e.ExceptSocket, ExceptUserId: string(e.ExceptUser), EvictUserId: string(e.EvictUser),
	}
	if !e.CausedAt.IsZero() {
		p.CausedAt = timestamppb.New(e.CausedAt)
	}
	return p
}

// Encode is RoomEvent, marshalled.
func Encode(e chat.RoomEvent) (chat.EncodedEvent, error) {
	raw, err := proto.Marshal(RoomEvent(e))
	if err != nil {
		return chat.EncodedEvent{}, fmt.Errorf("encode room event: %w", err)
	}
	return chat.EncodedEvent{Room: e.Room, Seq: e.Seq, Bytes: raw}, nil
}

func emit(e chat.RoomEvent) *eventv1.Emit {
	switch f := e.Fact.(type) {
	case chat.MessageSent:
		return &eventv1.Emit{Event: messageNew, Args: MessageArgs(&f.Message)}
	case chat.MessageEdited:
		return &eventv1.Emit{Event: edited, Args: editedArgs(e, &f.Message)}
	case chat.MessageDeleted:
		return &eventv1.Emit{Event: deleted, Args: deletedMessageArgs(e, f)}
	case *chat.ReactionsChanged:
		return &eventv1.Emit{Event: reacted, Args: reactionsArgs(e, f)}
	case chat.MessagePinned:
		return pinnedEmit(e, f)
	case chat.UserJoined:
		return &eventv1.Emit{Event: userJoined, Args: joinedArgs(e, f)}
	case chat.UserLeft:
		return &eventv1.Emit{Event: userLeft, Args: leftArgs(e, f)}
	case chat.RoomAdded:
		return &eventv1.Emit{Event: roomAdded, Args: addedArgs(e.Seq, &f)}
	case chat.RoomRemoved:
		return &eventv1.Emit{Event: roomRemoved, Args: removedArgs(e.Seq, f)}
	case chat.PrefsChanged:
		return &eventv1.Emit{Event: prefsChanged, Args: prefsArgs(e.Seq, f)}
	case chat.MarkerMoved:
		return &eventv1.Emit{Event: markerMoved, Args: markerArgs(e.Seq, f)}
	case chat.Mentioned:
		return &eventv1.Emit{Event: mentioned, Args: mentionedArgs(e.Seq, &f.Message)}
	case chat.LogReset:
		return &eventv1.Emit{Event: logReset, Args: append(appendUseq(nil, e.Seq), `}]`...)}
	case chat.RoleChanged:
		return &eventv1.Emit{Event: roleChanged, Args: roleArgs(e, f)}
	case chat.RoomUpdated:
		return &eventv1.Emit{Event: roomUpdated, Args: updatedArgs(e, f)}
	case chat.RoomArchived:
		return &eventv1.Emit{Event: roomArchived, Args: archivedArgs(e, f)}
	case chat.RoomDeleted:
		return &eventv1.Emit{Event: roomDeleted, Args: deletedArgs(e, f)}
	case chat.MessageRead:
		return &eventv1.Emit{Event: messageRead, Args: readArgs(e.Room, f)}
	case chat.TypingStarted:
		return TypingEmit(e.Room, f)
	case chat.TypingStopped:
		return &eventv1.Emit{Event: typingStop, Args: userArgs(e, f.User)}
	case chat.RoomMessage:
		return &eventv1.Emit{Event: f.Emit.Event, Args: f.Emit.Args, Attachments: f.Emit.Attachments}
	}
	return nil
}

// joinedArgs writes `[{ userId, userName, roomId, seq, by? }]`.
func joinedArgs(e chat.RoomEvent, f chat.UserJoined) []byte {
	b := append(make([]byte, 0, 64+len(e.Room)+len(f.User)+len(f.Name)), `[{"userId":`...)
	b = rawjson.AppendString(b, string(f.User))
	b = append(b, `,"userName":`...)
	b = rawjson.AppendString(b, f.Name)
	b = appendRoom(b, e)
	return append(appendBy(b, f.By), `}]`...)
}

// leftArgs writes `[{ userId, roomId, seq, by?, reason? }]`.
func leftArgs(e chat.RoomEvent, f chat.UserLeft) []byte {
	b := append(make([]byte, 0, 96+len(e.Room)+len(f.User)+len(f.By)), `[{"userId":`...)
	b = appendRoom(rawjson.AppendString(b, string(f.User)), e)
	b = appendBy(b, f.By)
	if f.Reason != "" {
		b = rawjson.AppendString(append(b, `,"reason":`...), f.Reason)
	}
	return append(b, `}]`...)
}

// roleArgs writes `[{ userId, role, roomId, seq, by }]`.
func roleArgs(e chat.RoomEvent, f chat.RoleChanged) []byte {
	b := append(make([]byte, 0, 96+len(e.Room)+len(f.User)+len(f.By)), `[{"userId":`...)
	b = rawjson.AppendString(b, string(f.User))
	b = rawjson.AppendString(append(b, `,"role":`...), string(f.Role))
	return append(appendBy(appendRoom(b, e), f.By), `}]`...)
}

// userArgs writes `[{ userId, roomId, seq? }]`; the sequence only of durable events.
func userArgs(e chat.RoomEvent, user chat.UserID) []byte {
	b := append(make([]byte, 0, 64+len(e.Room)+len(user)), `[{"userId":`...)
	b = rawjson.AppendString(b, string(user))
	return append(appendRoom(b, e), `}]`...)
}

// appendRoom writes `,"roomId":…,"seq":…`.
func appendRoom(b []byte, e chat.RoomEvent) []byte {
	b = append(b, `,"roomId":`...)
	b = rawjson.AppendString(b, string(e.Room))
	if e.Seq > 0 {
		b = append(b, `,"seq":`...)
		b = strconv.AppendUint(b, e.Seq, 10)
	}
	return b
}

// appendBy writes `,"by":…`, unless nobody else did it.
func appendBy(b []byte, by chat.UserID) []byte {
	if by == "" {
		return b
	}
	return rawjson.AppendString(append(b, `,"by":`...), string(by))
}

func readArgs(room chat.RoomID, f chat.MessageRead) []byte {
	b := append([]byte(nil), `[{"messageId":"`...)
	b = appendUUID(b, f.Message)
	b = append(b, `","userId":`...)
	b = rawjson.AppendString(b, string(f.User))
	b = append(b, `,"roomId":`...)
	b = rawjson.AppendString(b, string(room))
	b = append(b, `,"seq":`...)
	b = strconv.AppendUint(b, f.Seq, 10)
	return append(b, `}]`...)
}
