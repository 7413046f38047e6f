package grpcapi

import (
	"context"
	"errors"
	"time"

	"github.com/starling-chat/starling/presence-service/internal/presence"
	"github.com/starling-chat/starling/proto/caller"
	"github.com/starling-chat/starling/proto/fault"
	presencev1 "github.com/starling-chat/starling/proto/gen/starling/presence/v1"
)

const retryAfter = time.Second

var _ presencev1.PresenceServiceServer = (*Service)(nil)

// Service answers other backends, who ask through the edge with an API key.
type Service struct {
	presencev1.UnimplementedPresenceServiceServer
	query *presence.Query
}

// NewService answers from query.
func NewService(query *presence.Query) *Service { return &Service{query: query} }

// GetPresence tells the presence of 1 to 500 users. last_seen is absent for users who are online and for those never seen.
func (s *Service) GetPresence(ctx context.Context, req *presencev1.GetPresenceRequest) (*presencev1.GetPresenceResponse, error) {
	if err := caller.RequireScope(ctx, caller.ScopePresence); err != nil {
		return nil, err
	}
	users, err := parseUsers(req.GetUserId())
	if err != nil {
		return nil, err
	}
	statuses, err := s.query.Users(ctx, users)
	if err != nil {
		return nil, toFault(err)
	}
	resp := &presencev1.GetPresenceResponse{Users: make([]*presencev1.UserPresence, len(statuses))}
	for i, status := range statuses {
		u := &presencev1.UserPresence{UserId: string(status.User), Online: status.Online}
		if !status.LastSeen.IsZero() {
			text := presence.FormatTime(status.LastSeen)
			u.LastSeen = &text
		}
		resp.Users[i] = u
	}
	return resp, nil
}

func parseUsers(ids []string) ([]presence.UserID, error) {
	if len(ids) == 0 || len(ids) > presence.MaxAsked {
		return nil, fault.Newf(fault.Invalid, "userId must be given 1 to %d times", presence.MaxAsked)
	}
	users := make([]presence.UserID, len(ids))
	for i, id := range ids {
		var err error
		if users[i], err = presence.ParseUserID(id); err != nil {
			return nil, fault.Newf(fault.Invalid, "userId: %v", err)
		}
	}
	return users, nil
}

// toFault maps the domain's refusals to faults.
func toFault(err error) error {
	if errors.Is(err, presence.ErrWarming) || errors.Is(err, presence.ErrUnavailable) {
		return &fault.Error{Kind: fault.Unavailable, Message: "Presence is unavailable", RetryAfter: retryAfter, Cause: err}
	}
	return err
}
