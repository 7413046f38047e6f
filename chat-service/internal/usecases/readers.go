package usecases

import (
	"context"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
)

// maxReadersPage bounds a page of readers.
const maxReadersPage = 200

// Reader is how far a member has read: up to the message with this sequence.
type Reader struct {
	User chat.UserID
	Seq  uint64
}

// ReadersPage selects readers of a room: of a message, or those who have read anything.
type ReadersPage struct {
	Message *chat.MessageID
	Granted access.Rights // what who asks brings along
	After   chat.UserID   // only users behind this one in the order of the list; "" = from its start
	Limit   int
}

// Readers is a page of a room's readers, in one snapshot.
type Readers struct {
	ReadOutcome // of who asks, and of the message, if there is one

	List    []Reader // by user
	HasMore bool
	Count   int // of all pages; at most 10,000
}

// Readers lists for who may read the room how far the members have read. Answering is no receipt: only message:read is. A limit of 0 means 200,
// the most.
func (s *Service) Readers(ctx context.Context, c Caller, room chat.RoomID, page ReadersPage) (Readers, error) {
	page.Granted = c.granted(room)
	if page.Limit <= 0 || page.Limit > maxReadersPage {
		page.Limit = maxReadersPage
	}
	if err := chat.CheckText("after", string(page.After)); err != nil {
		return Readers{}, err
	}
	readers, err := s.store.Readers(ctx, c.of(room), page)
	if err == nil {
		err = readers.refusal(access.Read)
	}
	if err != nil {
		return Readers{}, err
	}
	return readers, nil
}
