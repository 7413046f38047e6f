package authservice

import (
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/starling-chat/starling/platform/rpc"
	"github.com/starling-chat/starling/proto/caller"
	"github.com/starling-chat/starling/proto/fault"
	authv1 "github.com/starling-chat/starling/proto/gen/starling/auth/v1"
)

// TestAPIKeys: a key is made with scopes and an end, is stored hashed, tells its last use, and ends; the key of the settings stays.
func TestAPIKeys(t *testing.T) {
	s := newSystem(t)
	cfg := s.config(t)
	client := start(t, cfg)
	conn, err := rpc.Dial(cfg.RPC.Listen, rpc.ClientConfig{Token: cfg.RPC.Token})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	keys := authv1.NewKeyServiceClient(conn)
	md, err := caller.KeyMetadata("default", caller.AllScopes(), "192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	backend := metadata.NewOutgoingContext(t.Context(), md)
	show := func(key string) (*authv1.AuthenticateKeyResponse, error) {
		return client.AuthenticateKey(t.Context(), &authv1.AuthenticateKeyRequest{Key: key})
	}

	end := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	made, err := keys.CreateKey(backend, &authv1.CreateKeyRequest{Name: "crm", Scopes: []string{"users", "emit", "emit"}, ExpiresAt: new(end.Format(time.RFC3339))})
	if err != nil || !strings.HasPrefix(made.GetKey(), "starling_") || made.GetAbout().UsedAt != nil || made.GetAbout().GetExpiresAt() != end.Format("2006-01-02T15:04:05.000Z") {
		t.Fatalf("CreateKey() = %v, %v, want a key that ends at %v and was never used", made.GetAbout(), err, end)
	}
	known, err := show(made.GetKey())
	if err != nil || known.GetName() != "crm" || !slices.Equal(known.GetScopes(), []string{"emit", "users"}) {
		t.Errorf("AuthenticateKey(made) = %v, %v, want crm with emit and users", known, err)
	}
	if _, err := show(apiKey); err != nil {
		t.Errorf("AuthenticateKey(of the settings) = %v, want nil", err)
	}
	list, err := keys.ListKeys(backend, &authv1.ListKeysRequest{})
	if err != nil || len(list.GetKeys()) != 2 || list.GetKeys()[0].GetName() != "crm" || list.GetKeys()[0].UsedAt == nil || list.GetKeys()[1].GetName() != "default" || list.GetKeys()[1].ExpiresAt != nil {
		t.Errorf("ListKeys() = %v, %v, want crm, used, and default, without end", list, err)
	}
	var stored string
	if err := s.pool.QueryRow(t.Context(), `SELECT string_agg(k::text, ' ') FROM api_keys k`).Scan(&stored); err != nil || strings.Contains(stored, made.GetKey()) {
		t.Errorf("the database has %q, %v, want no key", stored, err)
	}
	for what, tc := range map[string]struct {
		request *authv1.CreateKeyRequest
		kind    fault.Kind
	}{
		"a name that is there":   {&authv1.CreateKeyRequest{Name: "crm", Scopes: []string{"emit"}}, fault.Conflict},
		"the settings' name":     {&authv1.CreateKeyRequest{Name: "default", Scopes: []string{"emit"}}, fault.Invalid},
		"no name":                {&authv1.CreateKeyRequest{Scopes: []string{"emit"}}, fault.Invalid},
		"no scope":               {&authv1.CreateKeyRequest{Name: "a"}, fault.Invalid},
		"an unknown scope":       {&authv1.CreateKeyRequest{Name: "a", Scopes: []string{"all"}}, fault.Invalid},
		"an end that is past":    {&authv1.CreateKeyRequest{Name: "a", Scopes: []string{"emit"}, ExpiresAt: new("2020-01-01T00:00:00Z")}, fault.Invalid},
		"an end that is no time": {&authv1.CreateKeyRequest{Name: "a", Scopes: []string{"emit"}, ExpiresAt: new("")}, fault.Invalid},
	} {
		_, err := keys.CreateKey(backend, tc.request)
		wantFault(t, "CreateKey("+what+")", err, tc.kind, "")
	}
	_, err = keys.CreateKey(withScopes(t, caller.ScopeKeys), &authv1.CreateKeyRequest{Name: "more", Scopes: []string{"users"}})
	wantFault(t, "CreateKey(more than the asking key has)", err, fault.Forbidden, "users")
	_, err = keys.ListKeys(withScopes(t, caller.ScopeUsers), &authv1.ListKeysRequest{})
	wantFault(t, "ListKeys(without scope)", err, fault.Forbidden, "keys")

	refused := func(key, what string) {
		t.Helper()
		var err error
		for deadline := time.Now().Add(30 * time.Second); err == nil && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			_, err = show(key)
		}
		wantFault(t, "AuthenticateKey("+what+")", err, fault.Unauthenticated, "Invalid API key")
	}
	if _, err := s.pool.Exec(t.Context(), `UPDATE api_keys SET expires_at = now() WHERE name = 'crm'`); err != nil {
		t.Fatal(err)
	}
	refused(made.GetKey(), "ended")
	other, err := keys.CreateKey(backend, &authv1.CreateKeyRequest{Name: "other", Scopes: []string{"emit"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := show(other.GetKey()); err != nil {
		t.Errorf("AuthenticateKey(another) = %v, want nil", err)
	}
	if _, err := keys.DeleteKey(backend, &authv1.DeleteKeyRequest{Name: "other"}); err != nil {
		t.Errorf("DeleteKey() = %v, want nil", err)
	}
	_, err = keys.DeleteKey(backend, &authv1.DeleteKeyRequest{Name: "other"})
	wantFault(t, "DeleteKey(again)", err, fault.NotFound, "")
	refused(other.GetKey(), "removed")
}
