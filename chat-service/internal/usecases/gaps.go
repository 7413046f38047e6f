package usecases

import (
	"context"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/proto/fault"
)

// What gateways ask to find and repair what they missed stands in this file; for them the log of a user is a room.

// Events reads durable events of a room or a user's log for a gateway: those after a sequence, up to another one (0 = the head), without
// holes. since, where it is not zero, selects those of a log that were stored after it. A limit of 0 means 1000.
func (s *Service) Events(ctx context.Context, room chat.RoomID, after, to uint64, since time.Time, limit int) ([]chat.EncodedEvent, uint64, error) {
	if limit <= 0 || limit > maxEventsPage {
		limit = maxEventsPage
	}
	if user, ok := chat.UserOf(room); ok {
		return s.store.LogEvents(ctx, user, chat.LogPage{After: after, To: to, Since: since, Limit: limit})
	}
	return s.store.Events(ctx, room, after, to, limit)
}

// Heads reads the last sequence of each room or log, and whether a caller, unless its User is "", is a member there; unknown ones are left
// out. A membership by a token that does not count is left to tell by ByToken alone.
func (s *Service) Heads(ctx context.Context, rooms []chat.RoomID, c Caller) (map[chat.RoomID]Head, error) {
	if len(rooms) > maxHeads {
		return nil, fault.Newf(fault.Invalid, "roomIds must have at most %d entries", maxHeads)
	}
	var own []chat.RoomID
	var users []chat.UserID
	for _, room := range rooms {
		if user, isLog := chat.UserOf(room); isLog {
			users = append(users, user)
		} else {
			own = append(own, room)
		}
	}
	heads := map[chat.RoomID]Head{}
	var err error
	if len(own) > 0 {
		heads, err = s.store.Heads(ctx, own, c.User)
	}
	for room, head := range heads {
		if head.ByToken && !c.granted(room).MayCount() {
			head.Member = false
			heads[room] = head
		}
	}
	if err != nil || len(users) == 0 {
		return heads, err
	}
	logs, err := s.store.LogHeads(ctx, users)
	for user, head := range logs {
		heads[chat.LogOf(user)] = Head{Seq: head, Member: user == c.User}
	}
	return heads, err
}

// maxGrown bounds the facts that one question about grown logs looks at.
const maxGrown = 5000

// GrownLogs tells whose logs have grown since a time.
func (s *Service) GrownLogs(ctx context.Context, since time.Time) (chat.Grown, error) {
	return s.store.GrownLogs(ctx, since, maxGrown)
}
