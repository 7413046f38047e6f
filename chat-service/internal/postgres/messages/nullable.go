package messages

import (
	"time"

	"github.com/starling-chat/starling/chat-service/internal/chat"
)

// Nullable is a message that an outer join may have left out.
type Nullable struct {
	seq                        *int64
	id                         *[16]byte
	sender, senderName         *string
	content, kind, clientMsgID *string
	createdAt                  *time.Time

	rare RareRow
}

// Into lists where the columns go: those of a message but its room, and Rare.
func (l *Nullable) Into() []any {
	return append([]any{&l.seq, &l.id, &l.sender, &l.senderName, &l.content, &l.kind, &l.clientMsgID, &l.createdAt}, l.rare.Into()...)
}

// Message gives the message, or nil.
func (l *Nullable) Message(room chat.RoomID) *chat.Message {
	if l.seq == nil {
		return nil
	}
	m := &chat.Message{
		ID: *l.id, Room: room, Seq: uint64(*l.seq), //nolint:gosec // counts from 1
		Sender:  chat.Sender{ID: chat.UserID(*l.sender), Name: *l.senderName},
		Content: *l.content, Type: *l.kind, ClientMsgID: *l.clientMsgID, CreatedAt: *l.createdAt,
	}
	l.rare.Complete(m)
	return m
}
