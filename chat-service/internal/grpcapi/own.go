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

// CreateInvite makes an invite.
func (s *Rooms) CreateInvite(ctx context.Context, r *chatv1.CreateInviteRequest) (*chatv1.CreateInviteResponse, error) {
	who, room, err := inRoom(ctx, caller.ScopeRooms, r.GetAsUserId(), r.GetRoomId())
	if err != nil {
		return nil, err
	}
	for name, number := range map[string]*uint32{"uses": r.Uses, "expiresInMs": r.ExpiresInMs} {
		if number != nil && *number == 0 {
			return nil, fault.Newf(fault.Invalid, "%s must be a whole number from 1", name)
		}
	}
	invite, until, err := s.service.Invite(ctx, who, usecases.InviteRequest{
		Room: room, Uses: int(r.GetUses()), Life: time.Duration(r.GetExpiresInMs()) * time.Millisecond, Role: access.Role(r.GetRole()),
	})
	if err != nil {
		return nil, err
	}
	return &chatv1.CreateInviteResponse{Invite: invite, InviteId: chat.HashInvite(invite).ID(), ExpiresAt: wire.Time(until)}, nil
}

// ListInvites tells which invites to a room are good.
func (s *Rooms) ListInvites(ctx context.Context, r *chatv1.ListInvitesRequest) (*chatv1.ListInvitesResponse, error) {
	who, room, err := inRoom(ctx, caller.ScopeRooms, r.GetAsUserId(), r.GetRoomId())
	if err != nil {
		return nil, err
	}
	var after chat.InviteHash
	if r.After != nil {
		if after, err = chat.ParseInviteID("after", r.GetAfter()); err != nil {
			return nil, err
		}
	}
	limit, err := pageLimit(r.Limit)
	if err != nil {
		return nil, err
	}
	list, more, err := s.service.Invites(ctx, who, room, after, limit)
	if err != nil {
		return nil, err
	}
	answer := &chatv1.ListInvitesResponse{}
	for _, i := range list {
		answer.Invites = append(answer.Invites, &chatv1.Invite{
			InviteId: i.Hash.ID(), By: string(i.By), Role: string(i.Role), Uses: uint32(min(max(i.Uses, 0), math.MaxInt32)), ExpiresAt: wire.Time(i.Until),
		})
	}
	if more {
		answer.Next = new(list[len(list)-1].Hash.ID())
	}
	return answer, nil
}

// RevokeInvite ends an invite.
func (s *Rooms) RevokeInvite(ctx context.Context, r *chatv1.RevokeInviteRequest) (*emptypb.Empty, error) {
	who, room, err := inRoom(ctx, caller.ScopeRooms, r.GetAsUserId(), r.GetRoomId())
	if err != nil {
		return nil, err
	}
	hash, err := chat.ParseInviteID("inviteId", r.GetInviteId())
	if err != nil {
		return nil, err
	}
	return done(ctx, func(done func(error)) error { return s.service.RevokeInvite(ctx, who, room, hash, done) })
}

// SetRoomPrefs changes how a user wants a room shown.
func (s *Rooms) SetRoomPrefs(ctx context.Context, r *chatv1.SetRoomPrefsRequest) (*emptypb.Empty, error) {
	who, err := askingUser(ctx, r.GetAsUserId())
	if err != nil {
		return nil, err
	}
	prefs := rules.SetPrefs{Muted: r.Muted, Hidden: r.Hidden, Pinned: r.Pinned}
	if prefs.Room, err = chat.ParseRoomID(r.GetRoomId()); err != nil {
		return nil, err
	}
	return done(ctx, func(done func(error)) error { return s.service.SetPrefs(who, prefs, done) })
}

// ListBlocks tells whom a user blocks.
func (s *Rooms) ListBlocks(ctx context.Context, r *chatv1.ListBlocksRequest) (*chatv1.ListBlocksResponse, error) {
	who, err := askingUser(ctx, r.GetAsUserId())
	if err != nil {
		return nil, err
	}
	limit, err := pageLimit(r.Limit)
	if err != nil {
		return nil, err
	}
	list, more, err := s.service.Blocks(ctx, who, chat.UserID(r.GetAfter()), limit)
	if err != nil {
		return nil, err
	}
	answer := &chatv1.ListBlocksResponse{}
	for _, b := range list {
		answer.Blocks = append(answer.Blocks, &chatv1.Block{UserId: string(b.User), BlockedAt: wire.Time(b.At)})
	}
	if more {
		answer.Next = new(string(list[len(list)-1].User))
	}
	return answer, nil
}

// BlockUser has a user block another one.
func (s *Rooms) BlockUser(ctx context.Context, r *chatv1.BlockUserRequest) (*emptypb.Empty, error) {
	return s.block(ctx, r, false)
}

// UnblockUser ends that.
func (s *Rooms) UnblockUser(ctx context.Context, r *chatv1.BlockUserRequest) (*emptypb.Empty, error) {
	return s.block(ctx, r, true)
}

func (s *Rooms) block(ctx context.Context, r *chatv1.BlockUserRequest, end bool) (*emptypb.Empty, error) {
	who, err := askingUser(ctx, r.GetAsUserId())
	if err != nil {
		return nil, err
	}
	other, err := chat.ParseUserID(r.GetUserId())
	if err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, s.service.Block(ctx, who, other, end)
}

// askingUser is asking for what is a user's own: a backend says whose.
func askingUser(ctx context.Context, asUser string) (usecases.Caller, error) {
	who, err := asking(ctx, caller.ScopeRooms, asUser)
	if err == nil && who.User == chat.System {
		err = fault.New(fault.Invalid, "asUserId is required")
	}
	return who, err
}
