package grpcapi

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/starling-chat/starling/auth-service/internal/apikeys"
	"github.com/starling-chat/starling/auth-service/internal/auth"
	"github.com/starling-chat/starling/proto/caller"
	"github.com/starling-chat/starling/proto/fault"
	authv1 "github.com/starling-chat/starling/proto/gen/starling/auth/v1"
	"github.com/starling-chat/starling/proto/isotime"
)

var _ authv1.KeyServiceServer = (*Keys)(nil)

// Keys answers starling.auth.v1.KeyService.
type Keys struct {
	authv1.UnimplementedKeyServiceServer
	keys *apikeys.Service
}

// NewKeys answers with a service.
func NewKeys(keys *apikeys.Service) *Keys { return &Keys{keys: keys} }

// CreateKey implements KeyServiceServer.
func (s *Keys) CreateKey(ctx context.Context, r *authv1.CreateKeyRequest) (*authv1.CreateKeyResponse, error) {
	if err := caller.RequireScope(ctx, caller.ScopeKeys); err != nil {
		return nil, err
	}
	key := auth.APIKey{Name: r.GetName(), Scopes: r.GetScopes()}
	if r.ExpiresAt != nil {
		var err error
		if key.Expires, err = time.Parse(time.RFC3339, r.GetExpiresAt()); err != nil {
			return nil, fault.New(fault.Invalid, "expiresAt must be a time such as 2030-01-31T12:00:00Z")
		}
	}
	secret, made, err := s.keys.Add(ctx, key, caller.Scopes(ctx), by(ctx))
	if err != nil {
		return nil, err
	}
	return &authv1.CreateKeyResponse{Key: secret, About: aboutKey(made)}, nil
}

// ListKeys implements KeyServiceServer.
func (s *Keys) ListKeys(ctx context.Context, _ *authv1.ListKeysRequest) (*authv1.ListKeysResponse, error) {
	if err := caller.RequireScope(ctx, caller.ScopeKeys); err != nil {
		return nil, err
	}
	keys, err := s.keys.List(ctx)
	if err != nil {
		return nil, err
	}
	response := &authv1.ListKeysResponse{}
	for _, k := range keys {
		response.Keys = append(response.Keys, aboutKey(k))
	}
	return response, nil
}

// DeleteKey implements KeyServiceServer.
func (s *Keys) DeleteKey(ctx context.Context, r *authv1.DeleteKeyRequest) (*emptypb.Empty, error) {
	if err := caller.RequireScope(ctx, caller.ScopeKeys); err != nil {
		return nil, err
	}
	if err := s.keys.Remove(ctx, r.GetName(), by(ctx)); err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}

func aboutKey(k apikeys.Key) *authv1.ApiKey {
	about := &authv1.ApiKey{Name: k.Name, Scopes: k.Scopes, CreatedAt: isotime.Format(k.CreatedAt)}
	if !k.Expires.IsZero() {
		about.ExpiresAt = new(isotime.Format(k.Expires))
	}
	if !k.UsedAt.IsZero() {
		about.UsedAt = new(isotime.Format(k.UsedAt))
	}
	return about
}
