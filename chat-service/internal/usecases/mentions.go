package usecases

import (
	"context"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/chat"
)

// maxMentionsPage bounds a page of mentions.
const maxMentionsPage = 100

// Mention is a message that mentions a user, or the whole room.
type Mention struct {
	Place   MentionsCursor
	ByToken bool          // the user is in the room by a claim of a token
	Message *chat.Message // nil: it is gone
}

// MentionsCursor is a place in a list of mentions: behind one of them. Zero is the list's start.
type MentionsCursor struct {
	At   time.Time // of the message
	Room chat.RoomID
	Seq  uint64
}

// MentionsPage is a page of mentions.
type MentionsPage struct {
	Messages []chat.Message // the newest first
	Next     MentionsCursor // where the next page begins; zero = this is the last one
}

// Mentions lists the messages of others that mention the caller, or all of a room in which the caller is, over all rooms. A page has fewer of them than
// there may be where tokens have opened rooms that this one does not. A limit of 0 means 100, the most.
func (s *Service) Mentions(ctx context.Context, c Caller, after MentionsCursor, limit int) (page MentionsPage, err error) {
	limit = pageLimit(limit, maxMentionsPage)
	list, err := s.store.Mentions(ctx, c.User, after, limit+1)
	if err != nil {
		return page, err
	}
	weight, last := 0, after
	ofRoom := map[chat.RoomID][]chat.Message{}
	for i, m := range list {
		if i == limit {
			page.Next = last
			break
		}
		hidden := m.Message == nil || m.Message.Sender.ID == c.User || m.ByToken && !c.granted(m.Place.Room).MayCount()
		if !hidden {
			if weight += weightOf(m.Message); weight > maxPageWeight && len(page.Messages) > 0 {
				page.Next = last
				break
			}
			page.Messages = append(page.Messages, *m.Message)
			ofRoom[m.Place.Room] = append(ofRoom[m.Place.Room], *m.Message)
		}
		last = m.Place
	}
	for room, list := range ofRoom { // the extras are those of the page
		if err := s.showMine(ctx, c, room, list); err != nil {
			return page, err
		}
	}
	return page, nil
}
