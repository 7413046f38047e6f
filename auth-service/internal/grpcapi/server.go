package grpcapi

import (
	"context"
	"log/slog"
	"math"
	"time"

	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/starling-chat/starling/auth-service/internal/apikeys"
	"github.com/starling-chat/starling/auth-service/internal/auth"
	"github.com/starling-chat/starling/auth-service/internal/users"
	"github.com/starling-chat/starling/proto/caller"
	authv1 "github.com/starling-chat/starling/proto/gen/starling/auth/v1"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

var _ authv1.AuthServiceServer = (*Server)(nil)

// Server answers starling.auth.v1.AuthService.
type Server struct {
	authv1.UnimplementedAuthServiceServer
	service *auth.Service
	log     *slog.Logger
}

// Register has a server answer all services of starling.auth.v1.
func Register(server grpc.ServiceRegistrar, service *auth.Service, accounts *users.Service, keys *apikeys.Service, log *slog.Logger) {
	authv1.RegisterAuthServiceServer(server, New(service, log))
	authv1.RegisterUserServiceServer(server, NewUsers(accounts, service))
	authv1.RegisterKeyServiceServer(server, NewKeys(keys))
}

// New answers with a service, and logs what goes wrong where nobody else does.
func New(service *auth.Service, log *slog.Logger) *Server { return &Server{service: service, log: log} }

// Register implements AuthServiceServer.
func (s *Server) Register(ctx context.Context, r *authv1.RegisterRequest) (*authv1.LoginResponse, error) {
	pair, err := s.service.Register(ctx, r.GetUsername(), r.GetPassword(), r.GetName(), caller.Address(ctx))
	return login(pair, err)
}

// Guest implements AuthServiceServer.
func (s *Server) Guest(ctx context.Context, r *authv1.GuestRequest) (*authv1.LoginResponse, error) {
	pair, err := s.service.Guest(ctx, r.GetName(), caller.Address(ctx))
	return login(pair, err)
}

// Login implements AuthServiceServer.
func (s *Server) Login(ctx context.Context, r *authv1.LoginRequest) (*authv1.LoginResponse, error) {
	pair, err := s.service.Login(ctx, r.GetUsername(), r.GetPassword(), caller.Address(ctx))
	return login(pair, err)
}

// Refresh implements AuthServiceServer.
func (s *Server) Refresh(ctx context.Context, r *authv1.RefreshRequest) (*authv1.LoginResponse, error) {
	pair, err := s.service.Refresh(ctx, r.GetRefreshToken(), caller.Address(ctx))
	return login(pair, err)
}

func login(p auth.Pair, err error) (*authv1.LoginResponse, error) {
	if err != nil {
		return nil, err
	}
	return &authv1.LoginResponse{
		AccessToken: p.AccessToken, RefreshToken: p.RefreshToken,
		ExpiresIn: int32(min(p.ExpiresIn/time.Second, math.MaxInt32)), //nolint:gosec // bounded
		User:      user(p.User),
	}, nil
}

// Logout implements AuthServiceServer.
func (s *Server) Logout(ctx context.Context, r *authv1.LogoutRequest) (*emptypb.Empty, error) {
	if err := s.service.Logout(ctx, r.GetRefreshToken(), caller.Address(ctx)); err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}

// Keys implements AuthServiceServer.
func (s *Server) Keys(context.Context, *emptypb.Empty) (*httpbody.HttpBody, error) {
	set, err := s.service.JWKS()
	if err != nil {
		return nil, err
	}
	return &httpbody.HttpBody{ContentType: "application/json", Data: set}, nil
}

// RevokeUser implements AuthServiceServer.
func (s *Server) RevokeUser(ctx context.Context, r *authv1.RevokeUserRequest) (*authv1.RevokeUserResponse, error) {
	if err := caller.RequireScope(ctx, caller.ScopeUsers); err != nil {
		return nil, err
	}
	id, err := auth.ParseUserID(r.GetUserId())
	if err != nil {
		return nil, err
	}
	closed, err := s.service.RevokeUser(ctx, id, auth.By{Key: caller.KeyName(ctx), Address: caller.Address(ctx)})
	if err != nil {
		return nil, err
	}
	return &authv1.RevokeUserResponse{Closed: int32(min(closed, math.MaxInt32))}, nil //nolint:gosec // bounded
}

// Authenticate implements AuthServiceServer.
func (s *Server) Authenticate(ctx context.Context, r *authv1.AuthenticateRequest) (*authv1.AuthenticateResponse, error) {
	id, err := s.service.Authenticate(ctx, r.GetToken(), caller.Address(ctx), auth.Check{Connecting: r.GetConnecting(), Fresh: r.GetFresh()})
	if err != nil {
		return nil, err
	}
	return &authv1.AuthenticateResponse{Identity: identity(id)}, nil
}

func identity(id auth.Identity) *eventv1.Identity {
	p := &eventv1.Identity{
		UserId: string(id.UserID), Name: id.Name, Role: string(id.Role), LoginId: string(id.LoginID), AvatarUrl: id.Picture,
		ExpiresAt: timestamp(id.Expires), IssuedAt: timestamp(id.IssuedAt), NameVersion: id.NameVersion, Generation: id.Generation,
	}
	for _, g := range id.Rooms {
		p.Rooms = append(p.Rooms, &eventv1.RoomGrant{Match: g.Match, Can: g.Can})
	}
	return p
}

// AuthenticateKey implements AuthServiceServer.
func (s *Server) AuthenticateKey(
	ctx context.Context, r *authv1.AuthenticateKeyRequest,
) (*authv1.AuthenticateKeyResponse, error) {
	key, err := s.service.AuthenticateKey(ctx, r.GetKey(), caller.Address(ctx))
	if err != nil {
		return nil, err
	}
	return &authv1.AuthenticateKeyResponse{Name: key.Name, Scopes: key.Scopes}, nil
}

// ListRevocations implements AuthServiceServer.
func (s *Server) ListRevocations(
	ctx context.Context, r *authv1.ListRevocationsRequest,
) (*authv1.ListRevocationsResponse, error) {
	page, err := s.service.Revocations(ctx, r.GetAfterId(), int(r.GetLimit()))
	if err != nil {
		return nil, err
	}
	response := &authv1.ListRevocationsResponse{NewestId: page.NewestID, Now: timestamp(page.Now)}
	for _, r := range page.Revocations {
		response.Revocations = append(response.Revocations, &eventv1.Revocation{
			Id: r.ID, UserId: string(r.UserID), LoginId: string(r.LoginID), RevokedAt: timestamp(r.RevokedAt), Generation: r.Generation,
		})
	}
	return response, nil
}

// GetUsers implements AuthServiceServer.
func (s *Server) GetUsers(ctx context.Context, r *authv1.GetUsersRequest) (*authv1.GetUsersResponse, error) {
	ids := make([]auth.UserID, 0, len(r.GetUserIds()))
	for _, raw := range r.GetUserIds() {
		id, err := auth.ParseUserID(raw)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	users, err := s.service.Users(ctx, ids)
	if err != nil {
		return nil, err
	}
	response := &authv1.GetUsersResponse{}
	for _, u := range users {
		response.Users = append(response.Users, user(u))
	}
	return response, nil
}

func user(u auth.User) *authv1.User {
	return &authv1.User{Id: string(u.ID), Username: u.Username, Name: u.Name, Role: string(u.Role)}
}

// timestamp leaves the zero time out and keeps what foreign tokens claim within what a Timestamp can say.
func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	p := timestamppb.New(t)
	if p.IsValid() {
		return p
	}
	if p.GetSeconds() > 0 {
		return timestamppb.New(time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC))
	}
	return timestamppb.New(time.Unix(0, 0))
}
