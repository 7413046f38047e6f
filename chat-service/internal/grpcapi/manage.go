package grpcapi

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/proto/caller"
	"github.com/starling-chat/starling/proto/fault"
	chatv1 "github.com/starling-chat/starling/proto/gen/starling/chat/v1"
)

// UpdateRoom changes what a room shows and what is allowed there.
func (s *Rooms) UpdateRoom(ctx context.Context, r *chatv1.UpdateRoomRequest) (*chatv1.UpdateRoomResponse, error) {
	who, room, err := inRoom(ctx, caller.ScopeRooms, r.GetAsUserId(), r.GetRoomId())
	if err != nil {
		return nil, err
	}
	if r.IfVersion != nil && r.GetIfVersion() == 0 {
		return nil, fault.New(fault.Invalid, "ifVersion must be a whole number from 1")
	}
	update := rules.Update{Origin: rules.Origin{Room: room}, IfVersion: r.GetIfVersion()}
	if update.Patch, err = patchOf(r.GetProfile(), r.GetSettings()); err != nil {
		return nil, err
	}
	version, err := await(ctx, func(done func(uint64, error)) error { return s.service.UpdateRoom(ctx, who, update, done) })
	if err != nil {
		return nil, err
	}
	return &chatv1.UpdateRoomResponse{Version: version}, nil
}

// ArchiveRoom makes a room one that can be read only.
func (s *Rooms) ArchiveRoom(ctx context.Context, r *chatv1.ArchiveRoomRequest) (*emptypb.Empty, error) {
	who, room, err := inRoom(ctx, caller.ScopeRooms, r.GetAsUserId(), r.GetRoomId())
	if err != nil {
		return nil, err
	}
	return done(ctx, func(done func(error)) error { return s.service.ArchiveRoom(ctx, who, room, done) })
}

// DeleteRoom ends a room.
func (s *Rooms) DeleteRoom(ctx context.Context, r *chatv1.DeleteRoomRequest) (*emptypb.Empty, error) {
	who, room, err := inRoom(ctx, caller.ScopeRooms, r.GetAsUserId(), r.GetRoomId())
	if err != nil {
		return nil, err
	}
	return done(ctx, func(done func(error)) error { return s.service.DeleteRoom(ctx, who, room, done) })
}

// patchOf reads a change of a room; what is absent stays.
func patchOf(p *chatv1.RoomProfile, settings *chatv1.RoomSettingsChange) (patch chat.Patch, err error) {
	if p != nil {
		patch.Name, patch.Topic, patch.AvatarURL = p.Name, p.Topic, p.AvatarUrl
	}
	if len(p.GetDataJson()) > 0 || p.GetData() != nil {
		profile, err := profileOf(p)
		if err != nil {
			return patch, err
		}
		patch.Data = &profile.Data
	}
	if settings == nil {
		return patch, nil
	}
	if settings.Send != nil {
		role := access.Role(settings.GetSend())
		if role == access.RoleMember {
			role = "" // as without the setting
		}
		patch.Send = &role
	}
	if settings.SlowModeMs != nil {
		patch.SlowMode = new(time.Duration(settings.GetSlowModeMs()) * time.Millisecond)
	}
	if settings.MaxMembers != nil {
		patch.MaxMembers = new(int(settings.GetMaxMembers()))
	}
	return patch, nil
}
