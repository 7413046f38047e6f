package grpcapi

import (
	"context"
	"errors"
	"time"

	"github.com/starling-chat/starling/presence-service/internal/presence"
	"github.com/starling-chat/starling/proto/caller"
	"github.com/starling-chat/starling/proto/fault"
	presencev1 "github.com/starling-chat/starling/proto/gen/starling/presence/v1"
	"github.com/starling-chat/starling/proto/isotime"
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
	return &presencev1.GetPresenceResponse{Users: wire(statuses)}, nil
}

// Watch grants a client of a gateway to watch users, or the members of a room.
func (s *Service) Watch(ctx context.Context, req *presencev1.WatchRequest) (*presencev1.WatchResponse, error) {
	as := presence.Asker{Opens: req.GetGrants()}
	var users []presence.UserID
	var err error
	if req.GetAsUserId() != "" || req.GetRoomId() != "" {
		if as.User, err = presence.ParseUserID(req.GetAsUserId()); err != nil {
			return nil, fault.Newf(fault.Invalid, "as_user_id: %v", err)
		}
	}
	if req.GetRoomId() == "" {
		if users, err = parseUsers(req.GetUserIds()); err != nil {
			return nil, err
		}
	}
	var grant presence.Grant
	switch {
	case req.GetRoomId() != "":
		grant, err = s.query.WatchRoom(ctx, as, req.GetRoomId(), req.GetRenewal())
	case as.User != "":
		grant, err = s.query.WatchUsers(ctx, as, users)
	default:
		grant, err = s.query.Renew(users)
	}
	if err != nil {
		return nil, s.watchFault(err)
	}
	resp := &presencev1.WatchResponse{Users: wire(grant.Users), Expires: grant.Expires}
	for _, id := range grant.Denied {
		resp.DeniedUserIds = append(resp.DeniedUserIds, string(id))
	}
	return resp, nil
}

// wire maps the presence of users. last_seen is absent for those who are online and those never seen.
func wire(statuses []presence.Status) []*presencev1.UserPresence {
	users := make([]*presencev1.UserPresence, len(statuses))
	for i, status := range statuses {
		users[i] = &presencev1.UserPresence{UserId: string(status.User), Online: status.Online}
		if !status.LastSeen.IsZero() {
			text := isotime.Format(status.LastSeen)
			users[i].LastSeen = &text
		}
	}
	return users
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

// watchFault is toFault with the size up to which a room can be watched.
func (s *Service) watchFault(err error) error {
	if errors.Is(err, presence.ErrTooLarge) {
		return fault.Newf(fault.TooLarge, "The room has more than %d members: too many to be watched; watch some of its users", s.query.MaxWatched)
	}
	return toFault(err)
}

// toFault maps the domain's refusals to faults.
func toFault(err error) error {
	if errors.Is(err, presence.ErrOff) {
		return fault.New(fault.Forbidden, "Presence is turned off here")
	}
	if errors.Is(err, presence.ErrWarming) || errors.Is(err, presence.ErrUnavailable) {
		return &fault.Error{Kind: fault.Unavailable, Message: "Presence is unavailable", RetryAfter: retryAfter, Cause: err}
	}
	return err
}
