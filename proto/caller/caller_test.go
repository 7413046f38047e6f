package caller_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/starling-chat/starling/proto/caller"
	"github.com/starling-chat/starling/proto/fault"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/limits"
)

// served is the context of a server that was called with this metadata.
func served(t *testing.T, identity *eventv1.Identity, scopes []string, address string) context.Context {
	t.Helper()
	md, err := caller.Metadata(identity, scopes, address)
	if err != nil {
		t.Fatal(err)
	}
	return metadata.NewIncomingContext(t.Context(), md)
}

func TestRoundTrip(t *testing.T) {
	want := &eventv1.Identity{
		UserId: strings.Repeat("𠮷", limits.UserIDChars), Name: "Zoë ☂", Role: "admin", LoginId: "l",
		ExpiresAt: timestamppb.New(time.Unix(1_700_000_000, 5)), IssuedAt: timestamppb.New(time.Unix(1_600_000_000, 0)),
	}
	ctx := served(t, want, []string{caller.ScopeEmit, caller.ScopeUsers}, "192.0.2.7")
	if got, err := caller.Identity(ctx); err != nil || !proto.Equal(got, want) {
		t.Errorf("Identity = %v, %v, want %v", got, err, want)
	}
	if got := caller.Address(ctx); got != "192.0.2.7" {
		t.Errorf("Address = %q, want 192.0.2.7", got)
	}
	for _, scope := range caller.AllScopes() {
		err, want := caller.RequireScope(ctx, scope), fault.Kind("")
		if scope != caller.ScopeEmit && scope != caller.ScopeUsers {
			want = fault.Forbidden
		}
		if fault.KindOf(err) != want {
			t.Errorf("RequireScope(%s) = %v, want %q", scope, err, want)
		}
	}
	// A scope is a whole word.
	if err := caller.RequireScope(served(t, nil, []string{"emit-nothing"}, ""), caller.ScopeEmit); fault.KindOf(err) != fault.Forbidden {
		t.Errorf("RequireScope of a longer word = %v, want forbidden", err)
	}
}

func TestNobody(t *testing.T) {
	for what, ctx := range map[string]context.Context{
		"no metadata":           t.Context(),
		"empty metadata":        served(t, nil, nil, ""),
		"an identity of no one": served(t, &eventv1.Identity{Name: "x"}, nil, ""),
		"garbage":               metadata.NewIncomingContext(t.Context(), metadata.Pairs("x-starling-identity-bin", "\xff")),
	} {
		if id, err := caller.Identity(ctx); fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("Identity of %s = %v, %v, want unauthenticated", what, id, err)
		}
		if err := caller.RequireScope(ctx, caller.ScopeEmit); fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("RequireScope of %s = %v, want unauthenticated", what, err)
		}
		if got := caller.Address(ctx); got != "" {
			t.Errorf("Address of %s = %q, want none", what, got)
		}
	}
}
