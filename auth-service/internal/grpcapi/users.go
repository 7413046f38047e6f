package grpcapi

import (
	"context"
	"math"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/starling-chat/starling/auth-service/internal/auth"
	"github.com/starling-chat/starling/auth-service/internal/users"
	"github.com/starling-chat/starling/proto/caller"
	"github.com/starling-chat/starling/proto/fault"
	authv1 "github.com/starling-chat/starling/proto/gen/starling/auth/v1"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/isotime"
)

var _ authv1.UserServiceServer = (*Users)(nil)

// Users answers starling.auth.v1.UserService.
type Users struct {
	authv1.UnimplementedUserServiceServer
	users     *users.Service
	passwords *auth.Service
}

// NewUsers answers with a service; passwords are changed by the other one.
func NewUsers(service *users.Service, passwords *auth.Service) *Users {
	return &Users{users: service, passwords: passwords}
}

func by(ctx context.Context) auth.By {
	return auth.By{Key: caller.KeyName(ctx), Address: caller.Address(ctx)}
}

// UpsertUsers implements UserServiceServer.
func (s *Users) UpsertUsers(ctx context.Context, r *authv1.UpsertUsersRequest) (*authv1.UpsertUsersResponse, error) {
	if err := caller.RequireScope(ctx, caller.ScopeUsers); err != nil {
		return nil, err
	}
	changes := make([]users.Change, len(r.GetUsers()))
	for i, u := range r.GetUsers() {
		id, err := auth.ParseUserID(u.GetId())
		if err != nil {
			return nil, err
		}
		changes[i] = users.Change{ID: id, Name: u.Name, AvatarURL: u.AvatarUrl} // nil: not said
		if changes[i].Data, err = object(u.GetData(), u.GetDataJson()); err != nil {
			return nil, err
		}
	}
	profiles, err := s.users.Upsert(ctx, changes, by(ctx))
	if err != nil {
		return nil, err
	}
	response := &authv1.UpsertUsersResponse{}
	for _, p := range profiles {
		response.Users = append(response.Users, profile(p))
	}
	return response, nil
}

// GetUser implements UserServiceServer.
func (s *Users) GetUser(ctx context.Context, r *authv1.GetUserRequest) (*authv1.UserProfile, error) {
	id, _, err := whose(ctx, r.GetUserId())
	if err != nil {
		return nil, err
	}
	p, err := s.users.Profile(ctx, id)
	if err != nil {
		return nil, err
	}
	return profile(p), nil
}

// UpdateUser implements UserServiceServer.
func (s *Users) UpdateUser(ctx context.Context, r *authv1.UpdateUserRequest) (*authv1.UserProfile, error) {
	id, own, err := whose(ctx, r.GetUserId())
	if err != nil {
		return nil, err
	}
	if own && r.Disabled != nil {
		return nil, fault.New(fault.Forbidden, "Only a backend changes disabled")
	}
	c := users.Change{ID: id, Name: r.Name, AvatarURL: r.AvatarUrl, Disabled: r.Disabled} // nil: not said
	if c.Data, err = object(r.GetData(), r.GetDataJson()); err != nil {
		return nil, err
	}
	p, err := s.users.Change(ctx, c, by(ctx))
	if err != nil {
		return nil, err
	}
	return profile(p), nil
}

// DeleteUser implements UserServiceServer.
func (s *Users) DeleteUser(ctx context.Context, r *authv1.DeleteUserRequest) (*emptypb.Empty, error) {
	if err := caller.RequireScope(ctx, caller.ScopeUsers); err != nil {
		return nil, err
	}
	id, err := auth.ParseUserID(r.GetUserId())
	if err != nil {
		return nil, err
	}
	if err := s.users.Delete(ctx, id, by(ctx)); err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}

// ListSessions implements UserServiceServer.
func (s *Users) ListSessions(ctx context.Context, _ *authv1.ListSessionsRequest) (*authv1.ListSessionsResponse, error) {
	me, id, err := endUser(ctx)
	if err != nil {
		return nil, err
	}
	list, err := s.users.Sessions(ctx, id)
	if err != nil {
		return nil, err
	}
	response := &authv1.ListSessionsResponse{}
	for _, l := range list {
		response.Sessions = append(response.Sessions, &authv1.Session{
			Id: string(l.ID), CreatedAt: isotime.Format(l.CreatedAt), UsedAt: isotime.Format(l.UsedAt), ExpiresAt: isotime.Format(l.ExpiresAt), Address: l.Address,
			Current: string(l.ID) == me.GetLoginId(),
		})
	}
	return response, nil
}

// EndSession implements UserServiceServer.
func (s *Users) EndSession(ctx context.Context, r *authv1.EndSessionRequest) (*emptypb.Empty, error) {
	_, id, err := endUser(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.users.EndSession(ctx, id, r.GetSessionId(), caller.Address(ctx)); err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}

// ChangePassword implements UserServiceServer.
func (s *Users) ChangePassword(ctx context.Context, r *authv1.ChangePasswordRequest) (*authv1.ChangePasswordResponse, error) {
	me, id, err := endUser(ctx)
	if err != nil {
		return nil, err
	}
	login := auth.LoginID(me.GetLoginId())
	ended, err := s.passwords.ChangePassword(ctx, id, login, r.GetOldPassword(), r.GetNewPassword(), caller.Address(ctx))
	if err != nil {
		return nil, err
	}
	return &authv1.ChangePasswordResponse{Ended: int32(min(ended, math.MaxInt32))}, nil //nolint:gosec // bounded
}

func endUser(ctx context.Context) (*eventv1.Identity, auth.UserID, error) {
	me, err := caller.Identity(ctx)
	if err != nil {
		return nil, "", err
	}
	id, err := auth.ParseUserID(me.GetUserId())
	return me, id, err
}

// whose lets a backend at every user, and a user at nobody else; own tells of the latter.
func whose(ctx context.Context, raw string) (id auth.UserID, own bool, err error) {
	if id, err = auth.ParseUserID(raw); err != nil {
		return "", false, err
	}
	me, err := caller.Identity(ctx)
	if err != nil {
		return id, false, caller.RequireScope(ctx, caller.ScopeUsers)
	}
	if me.GetUserId() != raw {
		return "", true, fault.New(fault.Forbidden, "An access token is good for its own user")
	}
	return id, true, nil
}

// object gives the JSON of data, nil where there is none.
func object(data *structpb.Struct, text []byte) ([]byte, error) {
	if len(text) > 0 || data == nil {
		return text, nil
	}
	return protojson.Marshal(data)
}

func profile(p users.Profile) *authv1.UserProfile {
	r := &authv1.UserProfile{
		Id: string(p.ID), Username: p.Username, Name: p.Name, AvatarUrl: p.AvatarURL, DataJson: p.Data, Role: string(p.Role),
		Disabled: p.Disabled, CreatedAt: isotime.Format(p.CreatedAt),
	}
	if len(r.GetDataJson()) == 0 {
		r.DataJson = []byte("{}")
	}
	lossy := &structpb.Struct{} // for who reads no text; numbers and texts go as far as protobuf's
	if protojson.Unmarshal(r.GetDataJson(), lossy) == nil {
		r.Data = lossy
	}
	return r
}
