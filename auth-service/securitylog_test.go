package authservice

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/grpc/metadata"

	"github.com/starling-chat/starling/proto/caller"
	authv1 "github.com/starling-chat/starling/proto/gen/starling/auth/v1"
)

// records is a log that the test reads.
type records struct {
	mu  sync.Mutex
	raw bytes.Buffer
}

func (r *records) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.raw.Write(p)
}

func (r *records) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.raw.String()
}

// event gives the security events of a kind.
func (r *records) events(t *testing.T, act, result string) (found []map[string]any) {
	t.Helper()
	for line := range strings.Lines(r.text()) {
		var e map[string]any
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if e["msg"] == "security event" && e["event"] == act && e["result"] == result {
			found = append(found, e)
		}
	}
	return found
}

// TestSecurityLog: what matters to security is in the log, with who, from where and by which key; and no secret is.
func TestSecurityLog(t *testing.T) {
	s := newSystem(t)
	cfg := s.config(t)
	cfg.Limits.AccountBurst = 2
	cfg.DemoUsers = []DemoUser{{Username: "demo", Password: "password-of-demo"}}
	cfg.Accounts.AdminUsername, cfg.Accounts.AdminPassword = "root", "password-of-root"
	log := new(records)
	conn := launchWith(t, cfg, slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	waitReady(t, conn)
	client := authv1.NewAuthServiceClient(conn)
	ctx := at(t, "192.0.2.7")

	ann, err := client.Register(ctx, &authv1.RegisterRequest{Username: "ann", Password: password})
	if err != nil {
		t.Fatal(err)
	}
	id := ann.GetUser().GetId()
	login, err := client.Login(ctx, &authv1.LoginRequest{Username: "ann", Password: password})
	if err != nil {
		t.Fatal(err)
	}
	const slip = "my-password-in-the-wrong-field"
	for range 3 {
		_, _ = client.Login(ctx, &authv1.LoginRequest{Username: "ann", Password: "wrong horse"})
	}
	_, _ = client.Login(ctx, &authv1.LoginRequest{Username: slip, Password: "wrong horse"})
	_, _ = client.Register(ctx, &authv1.RegisterRequest{Username: "ann", Password: password})
	second, err := client.Refresh(ctx, &authv1.RefreshRequest{RefreshToken: ann.GetRefreshToken()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Refresh(ctx, &authv1.RefreshRequest{RefreshToken: second.GetRefreshToken()}); err != nil {
		t.Fatal(err)
	}
	s.age(t, 21)
	_, _ = client.Refresh(ctx, &authv1.RefreshRequest{RefreshToken: ann.GetRefreshToken()})
	if _, err := client.Logout(ctx, &authv1.LogoutRequest{RefreshToken: login.GetRefreshToken()}); err != nil {
		t.Fatal(err)
	}
	foreign, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"sub": "crm|1", "aud": "us", "exp": time.Now().Add(time.Minute).Unix(),
	}).SignedString([]byte(jwtSecret))
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{foreign, ann.GetAccessToken(), "garbage.of.nobody"} {
		_, _ = client.Authenticate(ctx, &authv1.AuthenticateRequest{Token: token})
	}
	_, _ = client.AuthenticateKey(ctx, &authv1.AuthenticateKeyRequest{Key: "guessed-api-key"})
	md, _ := caller.KeyMetadata("crm backend", []string{caller.ScopeUsers}, "198.51.100.4")
	if _, err := client.RevokeUser(metadata.NewOutgoingContext(t.Context(), md), &authv1.RevokeUserRequest{UserId: id}); err != nil {
		t.Fatal(err)
	}

	for _, want := range []struct {
		act, result string
		count       int
		attrs       map[string]any
	}{
		{"create", "ok", 2, nil},
		{"register", "ok", 1, map[string]any{"user_id": id, "address": "192.0.2.7", "level": "INFO"}},
		{"register", "refused", 1, map[string]any{"address": "192.0.2.7"}},
		{"login", "ok", 1, map[string]any{"user_id": id, "address": "192.0.2.7"}},
		{"login", "failed", 3, map[string]any{"user_id": id, "address": "192.0.2.7", "level": "WARN"}},
		{"login", "limited", 1, map[string]any{"address": "192.0.2.7"}},
		{"refresh", "ok", 0, nil},
		{"refresh", "reused", 1, map[string]any{"user_id": id, "address": "192.0.2.7"}},
		{"logout", "ok", 1, map[string]any{"user_id": id}},
		{"token", "failed", 3, map[string]any{"cause": "audience", "address": "192.0.2.7"}},
		{"api_key", "failed", 1, map[string]any{"address": "192.0.2.7"}},
		{"revoke", "ok", 1, map[string]any{"user_id": id, "api_key": "crm backend", "address": "198.51.100.4", "closed": 0.0}},
	} {
		found := log.events(t, want.act, want.result)
		if len(found) != want.count {
			t.Errorf("%d events %s %s, want %d: %v", len(found), want.act, want.result, want.count, found)
			continue
		}
		for key, value := range want.attrs {
			if found[0][key] != value {
				t.Errorf("%s %s: %s is %v, want %v", want.act, want.result, key, found[0][key], value)
			}
		}
	}
	text := log.text()
	for what, secret := range map[string]string{
		"a password": password, "a wrong password": "wrong horse", "a password as user name": slip, "a password of the settings": "password-of",
		"an access token": login.GetAccessToken(), "its payload": strings.Split(login.GetAccessToken(), ".")[1], "a foreign token": foreign,
		"a refresh token": ann.GetRefreshToken(), "its successor": second.GetRefreshToken(),
		"an API key": "guessed-api-key", "the API key of the settings": apiKey, "JWT_SECRET": jwtSecret,
	} {
		if strings.Contains(text, secret) {
			t.Errorf("the log has %s", what)
		}
	}
}
