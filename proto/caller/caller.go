// Package caller carries who asks in gRPC metadata, from the gateway's edge to the services.
//
// The edge authenticates (an end user by access token, another backend by API key) and the services authorise. Services
// believe this metadata because only parts of the system reach them (tokens of the callers, TLS, network policy), and of users only
// what gateways say (package access).
package caller

import (
	"context"
	"slices"
	"strings"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/proto/fault"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

const (
	identityKey = "x-starling-identity-bin"
	scopesKey   = "x-starling-scopes"
	keyNameKey  = "x-starling-key-bin"
	addressKey  = "x-starling-address"

	idempotencyKey = "idempotency-key"
)

// Scopes of API keys.
const (
	ScopeNotifications = "notifications"
	ScopeMessages      = "messages"
	ScopeEmit          = "emit"
	ScopeSockets       = "sockets"
	ScopePresence      = "presence"
	ScopeUsers         = "users"
	ScopeKeys          = "keys"
	ScopeRooms         = "rooms"
	ScopeModeration    = "moderation"
)

// AllScopes lists every scope.
func AllScopes() []string {
	return []string{
		ScopeNotifications, ScopeMessages, ScopeEmit, ScopeSockets, ScopePresence, ScopeUsers, ScopeKeys, ScopeRooms, ScopeModeration,
	}
}

// Metadata makes the metadata of a call: identity may be nil, scopes and address (the client's IP) may be empty.
func Metadata(identity *eventv1.Identity, scopes []string, address string) (metadata.MD, error) {
	md := metadata.MD{}
	if identity != nil {
		raw, err := proto.Marshal(identity)
		if err != nil {
			return nil, err
		}
		md.Set(identityKey, string(raw))
	}
	if len(scopes) > 0 {
		md.Set(scopesKey, strings.Join(scopes, " "))
	}
	if address != "" {
		md.Set(addressKey, address)
	}
	return md, nil
}

// KeyMetadata makes the metadata of a call of another backend: with what its API key is called and may do, and the backend's address.
func KeyMetadata(name string, scopes []string, address string) (metadata.MD, error) {
	md, err := Metadata(nil, scopes, address)
	if err == nil && name != "" {
		md.Set(keyNameKey, name)
	}
	return md, err
}

// KeyOf gives what the API key is called by which md was made; ok is false for the metadata of users and strangers.
func KeyOf(md metadata.MD) (name string, ok bool) {
	names := md.Get(keyNameKey)
	if len(names) == 0 {
		return "", false
	}
	return names[0], true
}

// KeyName gives what the API key of the backend that asks is called, for logs; "" when unknown.
func KeyName(ctx context.Context) string { return first(ctx, keyNameKey) }

// Identity gives the end user who asks; fault Unauthenticated when there is none.
func Identity(ctx context.Context) (*eventv1.Identity, error) {
	raw := first(ctx, identityKey)
	if raw == "" {
		return nil, fault.New(fault.Unauthenticated, "Authentication required")
	}
	var id eventv1.Identity
	if err := proto.Unmarshal([]byte(raw), &id); err != nil || id.GetUserId() == "" {
		return nil, fault.New(fault.Unauthenticated, "Invalid token")
	}
	return &id, nil
}

// WithoutIdentity is ctx, of a call that came in, without the user in whose name a caller asks who may not say so.
func WithoutIdentity(ctx context.Context) context.Context {
	md, ok := metadata.FromIncomingContext(ctx)
	if !ok || len(md.Get(identityKey)) == 0 {
		return ctx
	}
	md = md.Copy()
	md.Delete(identityKey)
	return metadata.NewIncomingContext(ctx, md)
}

// RequireScope refuses a caller whose API key lacks a scope: Unauthenticated without a key, Forbidden with another one.
func RequireScope(ctx context.Context, scope string) error {
	have := first(ctx, scopesKey)
	if have == "" {
		return fault.New(fault.Unauthenticated, "API key required")
	}
	if !slices.Contains(strings.Fields(have), scope) {
		return fault.Newf(fault.Forbidden, "The API key lacks the scope %s", scope)
	}
	return nil
}

// Scopes gives what the API key of the backend that asks may do; none for users and strangers.
func Scopes(ctx context.Context) []string { return strings.Fields(first(ctx, scopesKey)) }

// SetIdempotencyKey adds to the metadata of a call the key by which it is known when it comes again: printable ASCII.
func SetIdempotencyKey(md metadata.MD, key string) { md.Set(idempotencyKey, key) }

// IdempotencyKey gives the key by which a call is known when it comes again; "" = it has none.
func IdempotencyKey(ctx context.Context) string { return first(ctx, idempotencyKey) }

// Address gives the IP address of the client that asked, as the edge saw it; "" when unknown.
func Address(ctx context.Context) string { return first(ctx, addressKey) }

func first(ctx context.Context, key string) string {
	md, ok := metadata.FromIncomingContext(ctx)
	if !ok {
		return ""
	}
	if values := md.Get(key); len(values) > 0 {
		return values[0]
	}
	return ""
}
