package grpcapi

import (
	"cmp"
	"context"
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
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

// Rooms implements chatv1.RoomServiceServer by the use cases of client events.
type Rooms struct {
	chatv1.UnimplementedRoomServiceServer

	service *usecases.Service
}

// NewRooms returns Rooms on the use cases.
func NewRooms(service *usecases.Service) *Rooms { return &Rooms{service: service} }

var _ chatv1.RoomServiceServer = (*Rooms)(nil)

// CreateRoom makes a room.
func (s *Rooms) CreateRoom(ctx context.Context, r *chatv1.CreateRoomRequest) (*chatv1.RoomResponse, error) {
	who, err := asking(ctx, caller.ScopeRooms, r.GetAsUserId())
	if err != nil {
		return nil, err
	}
	request := usecases.CreateRequest{Kind: access.Kind(r.GetKind())}
	if r.GetRoomId() != "" {
		if request.Room, err = chat.ParseRoomID(r.GetRoomId()); err != nil {
			return nil, err
		}
	}
	patch, err := patchOf(r.GetProfile(), r.GetSettings())
	if err != nil {
		return nil, err
	}
	details, err := patch.Apply(chat.RoomDetails{})
	if err != nil {
		return nil, err
	}
	request.Profile, request.Settings = details.Profile, details.Settings
	for _, m := range r.GetMembers() {
		user, err := chat.ParseUserID(m.GetUserId())
		if err != nil {
			return nil, err
		}
		request.Members = append(request.Members, rules.Invited{User: user, Role: access.Role(m.GetRole())})
	}
	info, err := s.service.Create(ctx, who, request)
	if err != nil {
		return nil, err
	}
	answer := &chatv1.RoomResponse{Room: roomInfo(&info)}
	if who.User != chat.System {
		answer.Role = new(string(access.RoleOwner))
	}
	return answer, nil
}

// OpenRoom gives a direct room.
func (s *Rooms) OpenRoom(ctx context.Context, r *chatv1.OpenRoomRequest) (*chatv1.OpenRoomResponse, error) {
	who, err := asking(ctx, caller.ScopeRooms, r.GetAsUserId())
	if err != nil {
		return nil, err
	}
	users, err := usersOf(r.GetUserIds())
	if err != nil {
		return nil, err
	}
	info, created, err := s.service.Open(ctx, who, users)
	if err != nil {
		return nil, err
	}
	return &chatv1.OpenRoomResponse{Room: roomInfo(&info), Created: created}, nil
}

// GetRoom tells what a room is.
func (s *Rooms) GetRoom(ctx context.Context, r *chatv1.GetRoomRequest) (*chatv1.RoomResponse, error) {
	who, room, err := inRoom(ctx, caller.ScopeRooms, r.GetAsUserId(), r.GetRoomId())
	if err != nil {
		return nil, err
	}
	info, standing, err := s.service.Room(ctx, who, room)
	if err != nil {
		return nil, err
	}
	answer := &chatv1.RoomResponse{Room: roomInfo(&info)}
	if standing.Counts() {
		answer.Role = new(string(standing.Role))
		own, err := s.service.Own(ctx, who, room)
		if err != nil {
			return nil, err
		}
		answer.Marker, answer.Prefs = ownOf(own)
	}
	return answer, nil
}

// ownOf gives what a room is to a member of it.
func ownOf(own usecases.Own) (*chatv1.RoomMarker, *chatv1.RoomPrefs) {
	return &chatv1.RoomMarker{Seq: own.Marker.Seq, N: own.Marker.N}, &chatv1.RoomPrefs{Muted: own.Prefs.Muted, Hidden: own.Prefs.Hidden, Pinned: own.Prefs.Pinned}
}

// ListRoomMembers tells who is in a room.
func (s *Rooms) ListRoomMembers(ctx context.Context, r *chatv1.ListRoomMembersRequest) (*chatv1.ListRoomMembersResponse, error) {
	who, room, err := inRoom(ctx, caller.ScopeRooms, r.GetAsUserId(), r.GetRoomId())
	if err != nil {
		return nil, err
	}
	page := usecases.MembersPage{After: chat.UserID(r.GetAfter()), Query: r.GetQuery()}
	if page.Limit, err = pageLimit(r.Limit); err != nil {
		return nil, err
	}
	list, err := s.service.MemberList(ctx, who, room, page)
	if err != nil {
		return nil, err
	}
	answer := &chatv1.ListRoomMembersResponse{Count: uint32(min(max(list.Count, 0), math.MaxInt32))}
	for i := range list.List {
		answer.Members = append(answer.Members, roomMember(&list.List[i]))
	}
	if list.HasMore {
		answer.Next = new(string(list.List[len(list.List)-1].User))
	}
	return answer, nil
}

// GetRoomMember tells of one member of a room.
func (s *Rooms) GetRoomMember(ctx context.Context, r *chatv1.GetRoomMemberRequest) (*chatv1.RoomMember, error) {
	who, room, user, err := aboutUser(ctx, caller.ScopeRooms, r)
	if err != nil {
		return nil, err
	}
	m, err := s.service.Member(ctx, who, room, user)
	if err != nil {
		return nil, err
	}
	return roomMember(&m), nil
}

func roomMember(m *usecases.Member) *chatv1.RoomMember {
	return &chatv1.RoomMember{UserId: string(m.User), Name: m.Name, Role: string(m.Role), JoinedAt: wire.Time(m.JoinedAt)}
}

// AddMembers makes users members.
func (s *Rooms) AddMembers(ctx context.Context, r *chatv1.AddMembersRequest) (*chatv1.AddMembersResponse, error) {
	who, room, err := inRoom(ctx, caller.ScopeRooms, r.GetAsUserId(), r.GetRoomId())
	if err != nil {
		return nil, err
	}
	users, err := usersOf(r.GetUserIds())
	if err != nil {
		return nil, err
	}
	result, err := await(ctx, func(done func(usecases.ActResult, error)) error {
		return s.service.AddMembers(ctx, who, room, users, access.Role(r.GetRole()), done)
	})
	if err != nil {
		return nil, err
	}
	answer := &chatv1.AddMembersResponse{}
	for _, user := range result.Done {
		answer.Done = append(answer.Done, string(user))
	}
	for _, f := range result.Failed {
		answer.Failed = append(answer.Failed, &chatv1.FailedUser{UserId: string(f.User), Reason: string(f.Reason)})
	}
	return answer, nil
}

// SetMemberRole gives a member another role.
func (s *Rooms) SetMemberRole(ctx context.Context, r *chatv1.SetMemberRoleRequest) (*emptypb.Empty, error) {
	who, room, user, err := aboutUser(ctx, caller.ScopeRooms, r)
	if err != nil {
		return nil, err
	}
	return done(ctx, func(done func(error)) error {
		return s.service.SetRole(ctx, who, room, user, access.Role(r.GetRole()), done)
	})
}

// RemoveMember ends a membership. A user who ends its own leaves.
func (s *Rooms) RemoveMember(ctx context.Context, r *chatv1.RemoveMemberRequest) (*emptypb.Empty, error) {
	who, room, user, err := aboutUser(ctx, caller.ScopeRooms, r)
	if err != nil {
		return nil, err
	}
	if who.User != user {
		return done(ctx, func(done func(error)) error { return s.service.RemoveMember(ctx, who, room, user, r.GetReason(), done) })
	}
	var successor chat.UserID
	if r.GetSuccessor() != "" {
		if successor, err = chat.ParseUserID(r.GetSuccessor()); err != nil {
			return nil, err
		}
	}
	return done(ctx, func(done func(error)) error { return s.service.LeaveByCall(ctx, who, room, successor, done) })
}

// inRoom finds out who asks about which room.
func inRoom(ctx context.Context, scope, asUser, rawRoom string) (who usecases.Caller, room chat.RoomID, err error) {
	if who, err = asking(ctx, scope, asUser); err == nil {
		room, err = chat.ParseRoomID(rawRoom)
	}
	return who, room, err
}

// aboutUser finds out who asks about which user in which room.
func aboutUser(ctx context.Context, scope string, r interface {
	GetAsUserId() string
	GetRoomId() string
	GetUserId() string
},
) (who usecases.Caller, room chat.RoomID, user chat.UserID, err error) {
	if who, room, err = inRoom(ctx, scope, r.GetAsUserId(), r.GetRoomId()); err == nil {
		user, err = chat.ParseUserID(r.GetUserId())
	}
	return who, room, user, err
}

// asking finds out who asks, and the key by which the request is known, if it has one.
func asking(ctx context.Context, scope, asUser string) (usecases.Caller, error) {
	who, err := identified(ctx, scope, asUser)
	who.Asker = rules.AskedIn(ctx)
	if key := caller.IdempotencyKey(ctx); err == nil && key != "" {
		who.RequestKey, err = rules.ParseKey(key)
	}
	return who, err
}

// identified finds out who asks: a user by an access token; or a backend by an API key with a scope, as itself, or as the user whom it
// names.
func identified(ctx context.Context, scope, asUser string) (usecases.Caller, error) {
	identity, nobody := caller.Identity(ctx)
	switch {
	case nobody == nil:
		who, err := wire.SenderIs(identity).Caller()
		if err == nil && asUser != "" && asUser != string(who.User) {
			err = fault.New(fault.Forbidden, "An access token is good for its own user")
		}
		return who, err
	case len(caller.Scopes(ctx)) == 0:
		return usecases.Caller{}, nobody
	}
	if err := caller.RequireScope(ctx, scope); err != nil {
		return usecases.Caller{}, err
	}
	who := usecases.Caller{User: chat.System, Key: caller.KeyName(ctx)}
	if asUser == "" {
		return who, nil
	}
	user, err := chat.ParseUserID(asUser)
	if err != nil {
		return who, fault.New(fault.Invalid, "asUserId must be a user's id")
	}
	who.User = user
	return who, nil
}

// await makes a call that answers by a callback, and waits for the answer.
func await[T any](ctx context.Context, call func(done func(T, error)) error) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	answered := make(chan outcome, 1)
	var none T
	if err := call(func(v T, err error) { answered <- outcome{v, err} }); err != nil {
		return none, err
	}
	select {
	case o := <-answered:
		return o.value, o.err
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// done is await for a call that answers with nothing.
func done(ctx context.Context, call func(done func(error)) error) (*emptypb.Empty, error) {
	return await(ctx, func(done func(*emptypb.Empty, error)) error {
		return call(func(err error) { done(&emptypb.Empty{}, err) })
	})
}

func usersOf(ids []string) ([]chat.UserID, error) {
	users := make([]chat.UserID, len(ids))
	for i, id := range ids {
		var err error
		if users[i], err = chat.ParseUserID(id); err != nil {
			return nil, err
		}
	}
	return users, nil
}

// idsOf is the way back from usersOf.
func idsOf(users []chat.UserID) []string {
	ids := make([]string, len(users))
	for i, user := range users {
		ids[i] = string(user)
	}
	return ids
}

// profileOf reads the profile of a room.
func profileOf(p *chatv1.RoomProfile) (chat.Profile, error) {
	out := chat.Profile{Name: p.GetName(), Topic: p.GetTopic(), AvatarURL: p.GetAvatarUrl(), Data: p.GetDataJson()}
	if len(out.Data) == 0 && p.GetData() != nil {
		var err error
		if out.Data, err = protojson.Marshal(p.GetData()); err != nil {
			return out, fault.New(fault.Invalid, "profile.data must be an object")
		}
	}
	if len(out.Data) == 0 {
		return out, nil
	}
	var err error
	out.Data, err = wire.Data(out.Data)
	return out, err
}

func roomInfo(r *chat.RoomInfo) *chatv1.RoomInfo {
	info := &chatv1.RoomInfo{
		RoomId: string(r.Room), Kind: string(r.Kind), Version: r.Version, CreatedAt: wire.Time(r.CreatedAt),
		MemberCount: uint32(min(max(r.Members, 0), math.MaxInt32)),
		Profile:     &chatv1.RoomProfile{}, Settings: &chatv1.RoomSettings{Send: string(cmp.Or(r.Settings.Send, access.RoleMember))},
	}
	if ms := r.Settings.SlowMode.Milliseconds(); ms > 0 {
		info.Settings.SlowModeMs = new(uint32(ms)) //nolint:gosec // six hours at most
	}
	if most := r.Settings.MaxMembers; most > 0 {
		info.Settings.MaxMembers = new(uint32(most)) //nolint:gosec // bounded
	}
	if !r.ArchivedAt.IsZero() {
		info.ArchivedAt = new(wire.Time(r.ArchivedAt))
	}
	if r.Profile.Name != string(r.Room) {
		info.Profile.Name = given(r.Profile.Name)
	}
	info.Profile.Topic, info.Profile.AvatarUrl = given(r.Profile.Topic), given(r.Profile.AvatarURL)
	info.Profile.Data, info.Profile.DataJson = lossy(r.Profile.Data), r.Profile.Data
	return info
}

// given is nil for what is not there.
func given(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// timeOf reads an optional time; zero = it is not there.
func timeOf(name string, text *string) (time.Time, error) {
	if text == nil {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, *text)
	if err != nil {
		return t, fault.Newf(fault.Invalid, "%s must be a time such as 2030-01-31T12:00:00Z", name)
	}
	return t.UTC().Truncate(time.Millisecond), nil
}

// pageLimit reads how much is wanted; 0 = it is not said.
func pageLimit(limit *uint32) (int, error) {
	if limit == nil {
		return 0, nil
	}
	if *limit == 0 {
		return 0, fault.New(fault.Invalid, "limit must be a whole number from 1")
	}
	return int(min(*limit, math.MaxInt32)), nil
}
