package grpcapi

import (
	"context"
	"math"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
	"github.com/starling-chat/starling/chat-service/internal/wire"
	chatv1 "github.com/starling-chat/starling/proto/gen/starling/chat/v1"
)

// ListInbox tells a gateway which rooms are in the inbox of a user, and what the user is told of them.
func (s *Server) ListInbox(ctx context.Context, r *chatv1.ListInboxRequest) (*chatv1.ListInboxResponse, error) {
	user, err := chat.ParseUserID(r.GetUserId())
	if err != nil {
		return nil, err
	}
	page := usecases.RoomsPage{Limit: int(min(r.GetLimit(), math.MaxInt32)), Short: true}
	rooms, err := s.service.Rooms(ctx, usecases.Caller{User: user, Grants: wire.Grants(r.GetGrants())}, page)
	if err != nil {
		return nil, err
	}
	answer := &chatv1.ListInboxResponse{Rooms: make([]*chatv1.InboxRoom, len(rooms.List))}
	for i := range rooms.List {
		room := &rooms.List[i]
		answer.Rooms[i] = &chatv1.InboxRoom{RoomId: string(room.Room), Seq: room.Head}
		if !r.GetState() && room.Last != nil {
			answer.Rooms[i].Activity = wire.ActivityArgs(&chat.Activity{Room: room.Room, Seq: room.Head, N: room.N, Last: room.Last})
		}
	}
	if r.GetState() {
		answer.State = wire.InboxState(&rooms)
	}
	return answer, nil
}
