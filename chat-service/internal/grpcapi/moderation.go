package grpcapi

import (
	"context"
	"math"
	"time"

	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
	"github.com/starling-chat/starling/chat-service/internal/wire"
	"github.com/starling-chat/starling/proto/caller"
	"github.com/starling-chat/starling/proto/fault"
	chatv1 "github.com/starling-chat/starling/proto/gen/starling/chat/v1"
)

// ListBans tells who is banned from a room.
func (s *Rooms) ListBans(ctx context.Context, r *chatv1.ListRestrictionsRequest) (*chatv1.ListBansResponse, error) {
	users, next, err := s.restricted(ctx, r, false)
	return &chatv1.ListBansResponse{Bans: users, Next: next}, err
}

// ListMutes tells who is muted in a room.
func (s *Rooms) ListMutes(ctx context.Context, r *chatv1.ListRestrictionsRequest) (*chatv1.ListMutesResponse, error) {
	users, next, err := s.restricted(ctx, r, true)
	return &chatv1.ListMutesResponse{Mutes: users, Next: next}, err
}

func (s *Rooms) restricted(ctx context.Context, r *chatv1.ListRestrictionsRequest, mutes bool) (users []*chatv1.RestrictedUser, next *string, err error) {
	who, room, err := inRoom(ctx, caller.ScopeModeration, r.GetAsUserId(), r.GetRoomId())
	if err != nil {
		return nil, nil, err
	}
	page := usecases.RestrictedPage{Mutes: mutes, After: chat.UserID(r.GetAfter())}
	if page.Limit, err = pageLimit(r.Limit); err != nil {
		return nil, nil, err
	}
	list, more, err := s.service.Restricted(ctx, who, room, page)
	if err != nil {
		return nil, nil, err
	}
	for _, u := range list {
		users = append(users, &chatv1.RestrictedUser{UserId: string(u.User), Until: end(u.Until)})
	}
	if more {
		next = new(string(list[len(list)-1].User))
	}
	return users, next, nil
}

// end is the end of a ban or a mute; nil = it has none.
func end(until time.Time) *string {
	if until.IsZero() || until.Equal(access.Forever()) {
		return nil
	}
	return new(wire.Time(until))
}

// BanUser bans a user from a room.
func (s *Rooms) BanUser(ctx context.Context, r *chatv1.RestrictUserRequest) (*emptypb.Empty, error) {
	return s.restrict(ctx, r, false)
}

// MuteUser mutes a user in a room.
func (s *Rooms) MuteUser(ctx context.Context, r *chatv1.RestrictUserRequest) (*emptypb.Empty, error) {
	return s.restrict(ctx, r, true)
}

func (s *Rooms) restrict(ctx context.Context, r *chatv1.RestrictUserRequest, mute bool) (*emptypb.Empty, error) {
	who, room, user, err := aboutUser(ctx, caller.ScopeModeration, r)
	if err != nil {
		return nil, err
	}
	until, err := timeOf("until", r.Until)
	if err != nil {
		return nil, err
	}
	if r.Until == nil || until.After(access.Forever()) {
		until = access.Forever()
	} else if until.IsZero() { // the year 1: it would end the ban
		return nil, fault.New(fault.Invalid, "until must be in the future")
	}
	restrict := rules.Restrict{Origin: rules.Origin{Room: room}, Who: user, Mute: mute, Until: until, Why: r.GetReason()}
	return done(ctx, func(done func(error)) error { return s.service.Restrict(ctx, who, restrict, done) })
}

// UnbanUser ends a ban.
func (s *Rooms) UnbanUser(ctx context.Context, r *chatv1.FreeUserRequest) (*emptypb.Empty, error) {
	return s.free(ctx, r, false)
}

// UnmuteUser ends a mute.
func (s *Rooms) UnmuteUser(ctx context.Context, r *chatv1.FreeUserRequest) (*emptypb.Empty, error) {
	return s.free(ctx, r, true)
}

func (s *Rooms) free(ctx context.Context, r *chatv1.FreeUserRequest, mute bool) (*emptypb.Empty, error) {
	who, room, user, err := aboutUser(ctx, caller.ScopeModeration, r)
	if err != nil {
		return nil, err
	}
	free := rules.Restrict{Origin: rules.Origin{Room: room}, Who: user, Mute: mute, Why: r.GetReason()}
	return done(ctx, func(done func(error)) error { return s.service.Restrict(ctx, who, free, done) })
}

// ListAudit tells what was done to rooms and their members.
func (s *Rooms) ListAudit(ctx context.Context, r *chatv1.ListAuditRequest) (*chatv1.ListAuditResponse, error) {
	who, err := asking(ctx, caller.ScopeModeration, r.GetAsUserId())
	if err != nil {
		return nil, err
	}
	page, err := auditPage(r)
	if err != nil {
		return nil, err
	}
	entries, more, err := s.service.Audit(ctx, who, page)
	if err != nil {
		return nil, err
	}
	answer := &chatv1.ListAuditResponse{}
	for i := range entries {
		answer.Entries = append(answer.Entries, auditEntry(&entries[i]))
	}
	if more {
		answer.Next = new(entries[len(entries)-1].ID)
	}
	return answer, nil
}

func auditPage(r *chatv1.ListAuditRequest) (page usecases.AuditPage, err error) {
	if r.RoomId != nil {
		if page.Room, err = chat.ParseRoomID(r.GetRoomId()); err != nil {
			return page, err
		}
	}
	if r.UserId != nil {
		if page.User, err = chat.ParseUserID(r.GetUserId()); err != nil {
			return page, err
		}
	}
	if page.By = chat.UserID(r.GetById()); r.ById != nil && page.By != chat.System {
		if _, err = chat.ParseUserID(r.GetById()); err != nil {
			return page, fault.New(fault.Invalid, "byId must be a user's id, or system")
		}
	}
	if page.Since, err = timeOf("since", r.Since); err != nil {
		return page, err
	}
	if page.Until, err = timeOf("until", r.Until); err != nil {
		return page, err
	}
	if page.Before = r.GetBefore(); page.Before > math.MaxInt64 {
		return page, fault.New(fault.Invalid, "before is too large")
	}
	page.Limit, err = pageLimit(r.Limit)
	return page, err
}

func auditEntry(e *usecases.AuditEntry) *chatv1.AuditEntry {
	return &chatv1.AuditEntry{
		Id: e.ID, At: wire.Time(e.At), RoomId: string(e.Room), ById: string(e.By), ApiKey: given(e.Key), Act: e.Act,
		UserId: given(string(e.User)), Role: given(string(e.Role)), Until: end(e.Until), Reason: given(e.Why),
	}
}
