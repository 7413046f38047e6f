package postgres

import (
	"time"

	"github.com/starling-chat/starling/chat-service/internal/chat"
)

// lastMessage is a message that an outer join may have left out.
type lastMessage struct {
	seq                        *int64
	id                         *[16]byte
	sender, senderName         *string
	content, kind, clientMsgID *string
	createdAt                  *time.Time
}

func (l lastMessage) message(room chat.RoomID) *chat.Message {
	if l.seq == nil {
		return nil
	}
	return &chat.Message{
		ID: *l.id, Room: room, Seq: uint64(*l.seq), //nolint:gosec // counts from 1
		Sender:  chat.Sender{ID: chat.UserID(*l.sender), Name: *l.senderName},
		Content: *l.content, Type: *l.kind, ClientMsgID: *l.clientMsgID, CreatedAt: *l.createdAt,
	}
}
