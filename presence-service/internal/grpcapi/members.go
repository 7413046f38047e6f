package grpcapi

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"

	"github.com/starling-chat/starling/presence-service/internal/presence"
	"github.com/starling-chat/starling/proto/fault"
	chatv1 "github.com/starling-chat/starling/proto/gen/starling/chat/v1"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

const membersTimeout = 2 * time.Second

var _ presence.Members = (*Members)(nil)

// Members asks chat-service.
type Members struct {
	client chatv1.ChatServiceClient
}

// NewMembers asks over a connection to chat-service.
func NewMembers(conn grpc.ClientConnInterface) *Members {
	return &Members{client: chatv1.NewChatServiceClient(conn)}
}

// Members implements presence.Members. Faults of chat-service (forbidden, not_found) pass through; no answer within 2 s is
// presence.ErrUnavailable, and so is its absence.
func (m *Members) Members(ctx context.Context, room string, as presence.Asker) ([]presence.UserID, error) {
	ctx, cancel := context.WithTimeout(ctx, membersTimeout)
	defer cancel()
	resp, err := m.client.ListMembers(ctx, &chatv1.ListMembersRequest{RoomId: room, AsUserId: string(as.User), Grants: opens(as)})
	if err != nil {
		return nil, away(err)
	}
	return users(resp.GetUserIds()), nil
}

// Roommates implements presence.Members, with errors as those of Members.
func (m *Members) Roommates(ctx context.Context, of presence.Asker, candidates []presence.UserID) ([]presence.UserID, error) {
	ctx, cancel := context.WithTimeout(ctx, membersTimeout)
	defer cancel()
	req := &chatv1.ListRoommatesRequest{UserId: string(of.User), Grants: opens(of), CandidateIds: make([]string, len(candidates))}
	for i, id := range candidates {
		req.CandidateIds[i] = string(id)
	}
	resp, err := m.client.ListRoommates(ctx, req)
	if err != nil {
		return nil, away(err)
	}
	return users(resp.GetUserIds()), nil
}

// opens is what the token of a user opens, as a gateway said.
func opens(as presence.Asker) []*eventv1.RoomGrant {
	grants, _ := as.Opens.([]*eventv1.RoomGrant)
	return grants
}

// away marks errors that say that chat-service does not answer.
func away(err error) error {
	err = fault.FromStatus(err)
	if kind := fault.KindOf(err); kind == fault.Timeout || kind == fault.Unavailable {
		return fmt.Errorf("%w: %w", presence.ErrUnavailable, err)
	}
	return err
}

func users(ids []string) []presence.UserID {
	list := make([]presence.UserID, len(ids))
	for i, id := range ids {
		list[i] = presence.UserID(id)
	}
	return list
}
