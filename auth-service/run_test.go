package authservice

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/starling-chat/starling/platform/bus/bustest"
	"github.com/starling-chat/starling/platform/pg"
	"github.com/starling-chat/starling/platform/pg/pgtest"
	"github.com/starling-chat/starling/platform/rpc"
	"github.com/starling-chat/starling/platform/settings"
	"github.com/starling-chat/starling/proto/caller"
	"github.com/starling-chat/starling/proto/fault"
	authv1 "github.com/starling-chat/starling/proto/gen/starling/auth/v1"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

const (
	jwtSecret = "a secret of the operator's own login system"
	apiKey    = "an api key of the settings"
	password  = "correct horse"
)

// system is PostgreSQL, NATS and replicas of the service.
type system struct {
	database pg.Config
	pool     *pgxpool.Pool
	nc       *nats.Conn // a gateway's
	natsURL  settings.URL
}

func newSystem(t *testing.T) *system {
	t.Helper()
	s := &system{database: pgtest.New(t, Migrations(), "auth")}
	var err error
	if s.pool, err = pg.Open(t.Context(), s.database); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.pool.Close)
	server := bustest.Server(t)
	s.natsURL = settings.URL(server.URL())
	s.nc = bustest.Connect(t, server)
	return s
}

func (s *system) config(t *testing.T) Config {
	t.Helper()
	var cfg Config
	if err := settings.Parse("auth-service", "", &cfg, []string{
		"--admin-listen=", "--grpc-listen=" + freeAddr(t), "--db-max-conns=6",
		"--database-url=" + s.database.URL.Reveal(), "--nats-url=" + s.natsURL.Reveal(),
		"--argon2-memory-kib=64", "--argon2-time=1", "--argon2-parallelism=1",
		"--jwt-secret=" + jwtSecret, "--auth-auto-provision", "--api-key=" + apiKey, "--service-token=between services",
	}); err != nil {
		t.Fatal(err)
	}
	return cfg
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// start runs a replica until the test ends and waits until it is ready.
func start(t *testing.T, cfg Config) authv1.AuthServiceClient {
	t.Helper()
	conn := launch(t, cfg)
	waitReady(t, conn)
	return authv1.NewAuthServiceClient(conn)
}

func launch(t *testing.T, cfg Config) *grpc.ClientConn {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, cfg, slog.New(slog.NewTextHandler(t.Output(), nil))) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run() = %v, want nil", err)
		}
	})
	conn, err := rpc.Dial(cfg.Listen.GRPC, rpc.ClientConfig{Token: cfg.Listen.ServiceToken})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func waitReady(t *testing.T, conn *grpc.ClientConn) {
	t.Helper()
	health := healthpb.NewHealthClient(conn)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		answer, err := health.Check(t.Context(), &healthpb.HealthCheckRequest{})
		if err == nil && answer.GetStatus() == healthpb.HealthCheckResponse_SERVING {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("health after 20s = %v, %v, want SERVING", answer, err)
		}
	}
}

// wantFault checks kind and message of a call's error; an empty message is not checked.
func wantFault(t *testing.T, call string, err error, kind fault.Kind, message string) {
	t.Helper()
	if err = fault.FromStatus(err); fault.KindOf(err) != kind || message != "" && !strings.Contains(err.Error(), message) {
		t.Errorf("%s = %v, want %s: %s", call, err, kind, message)
	}
}

func register(t *testing.T, client authv1.AuthServiceClient, username string) *authv1.LoginResponse {
	t.Helper()
	pair, err := client.Register(t.Context(), &authv1.RegisterRequest{Username: username, Password: password})
	if err != nil {
		t.Fatalf("Register(%s): %v", username, err)
	}
	return pair
}

func authenticate(t *testing.T, client authv1.AuthServiceClient, token string) (*eventv1.Identity, error) {
	t.Helper()
	answer, err := client.Authenticate(t.Context(), &authv1.AuthenticateRequest{Token: token})
	return answer.GetIdentity(), err
}

func refresh(t *testing.T, client authv1.AuthServiceClient, token string) (*authv1.LoginResponse, error) {
	t.Helper()
	return client.Refresh(t.Context(), &authv1.RefreshRequest{RefreshToken: token})
}

// withScopes is a caller with an API key.
func withScopes(t *testing.T, scopes ...string) context.Context {
	t.Helper()
	md, err := caller.Metadata(nil, scopes, "192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	return metadata.NewOutgoingContext(t.Context(), md)
}

// wantRefused waits for at most the second in which a revoked token may still work.
func wantRefused(t *testing.T, client authv1.AuthServiceClient, token, what string) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if _, err = authenticate(t, client, token); err != nil {
			break
		}
	}
	wantFault(t, "Authenticate("+what+") after 1s", err, fault.Unauthenticated, "Invalid token")
}

func TestAccounts(t *testing.T) {
	s := newSystem(t)
	client := start(t, s.config(t))
	ctx := t.Context()

	ann, err := client.Register(ctx, &authv1.RegisterRequest{Username: "Ann", Password: password, Name: " Ann B. "})
	if err != nil {
		t.Fatal(err)
	}
	id := ann.GetUser().GetId()
	want := &authv1.User{Id: id, Username: "ann", Name: "Ann B.", Role: "user"}
	if !proto.Equal(ann.GetUser(), want) || ann.GetExpiresIn() != 900 {
		t.Errorf("Register() = %v, %d s, want %v, 900 s", ann.GetUser(), ann.GetExpiresIn(), want)
	}
	identity, err := authenticate(t, client, ann.GetAccessToken())
	if err != nil || identity.GetUserId() != id || identity.GetName() != "Ann B." || identity.GetRole() != "user" || identity.GetLoginId() == "" {
		t.Errorf("Authenticate() = %v, %v, want %v", identity, err, want)
	}
	if life := identity.GetExpiresAt().AsTime().Sub(identity.GetIssuedAt().AsTime()); life < 14*time.Minute || life > 15*time.Minute {
		t.Errorf("the access token lives %v, want 15m", life)
	}
	if _, err := client.Login(ctx, &authv1.LoginRequest{Username: "ANN", Password: password}); err != nil {
		t.Errorf("Login(ANN) = %v, want nil", err)
	}
	users, err := client.GetUsers(ctx, &authv1.GetUsersRequest{UserIds: []string{id, "nobody"}})
	if err != nil || len(users.GetUsers()) != 1 || !proto.Equal(users.GetUsers()[0], want) {
		t.Errorf("GetUsers() = %v, %v, want only %v", users, err, want)
	}

	_, err = client.Register(ctx, &authv1.RegisterRequest{Username: "aNN", Password: password})
	wantFault(t, "Register(taken)", err, fault.Conflict, "The username is taken")
	_, err = client.Register(ctx, &authv1.RegisterRequest{Username: "a", Password: password})
	wantFault(t, "Register(a)", err, fault.Invalid, "username")
	_, err = client.Register(ctx, &authv1.RegisterRequest{Username: "bob", Password: "short"})
	wantFault(t, "Register(short password)", err, fault.Invalid, "password")
	_, err = client.Register(ctx, &authv1.RegisterRequest{Username: "bob", Password: password, Name: "\x07"})
	wantFault(t, "Register(bell)", err, fault.Invalid, "name")

	const wrong = "Wrong username or password"
	for range 10 {
		_, err = client.Login(ctx, &authv1.LoginRequest{Username: "ann", Password: "wrong horse"})
		wantFault(t, "Login(wrong password)", err, fault.Unauthenticated, wrong)
	}
	_, err = client.Login(ctx, &authv1.LoginRequest{Username: "ann", Password: password})
	wantFault(t, "Login after 10 failures", err, fault.RateLimited, "")
	_, err = client.Login(ctx, &authv1.LoginRequest{Username: "nobody", Password: password})
	wantFault(t, "Login(unknown)", err, fault.Unauthenticated, wrong)
	_, err = client.Login(ctx, &authv1.LoginRequest{Username: "no such name!", Password: password})
	wantFault(t, "Login(malformed)", err, fault.Unauthenticated, wrong)
}

func TestRefresh(t *testing.T) {
	s := newSystem(t)
	client := start(t, s.config(t))
	first := register(t, client, "ann")
	second, err := refresh(t, client, first.GetRefreshToken())
	if err != nil || second.GetRefreshToken() == first.GetRefreshToken() {
		t.Fatalf("Refresh() = %v, %v, want another token", second.GetRefreshToken(), err)
	}
	again, err := refresh(t, client, first.GetRefreshToken())
	if err != nil || again.GetRefreshToken() != second.GetRefreshToken() {
		t.Errorf("Refresh() of a token spent just now = %v, %v, want the same successor %v", again.GetRefreshToken(), err, second.GetRefreshToken())
	}
	third, err := refresh(t, client, second.GetRefreshToken())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := authenticate(t, client, third.GetAccessToken()); err != nil {
		t.Errorf("Authenticate(refreshed) = %v, want nil", err)
	}

	// After the grace the same use is a theft: the family ends and its sockets are told.
	revocations := subscribe(t, s.nc)
	if _, err := s.pool.Exec(t.Context(), `UPDATE refresh_tokens SET spent_at = spent_at - interval '21 seconds'`); err != nil {
		t.Fatal(err)
	}
	_, err = refresh(t, client, first.GetRefreshToken())
	wantFault(t, "Refresh(reused)", err, fault.Unauthenticated, "Invalid refresh token")
	if r := next(t, revocations); r.GetLoginId() == "" || r.GetUserId() != first.GetUser().GetId() {
		t.Errorf("published %v, want a revocation of the login", r)
	}
	_, err = refresh(t, client, third.GetRefreshToken())
	wantFault(t, "Refresh(unspent token of the family)", err, fault.Unauthenticated, "Invalid refresh token")
	wantRefused(t, client, third.GetAccessToken(), "token of the family")

	_, err = refresh(t, client, strings.Repeat("A", 43))
	wantFault(t, "Refresh(unknown)", err, fault.Unauthenticated, "Invalid refresh token")
	_, err = refresh(t, client, "")
	wantFault(t, "Refresh(none)", err, fault.Unauthenticated, "Invalid refresh token")
	expired := register(t, client, "bob")
	if _, err := s.pool.Exec(t.Context(), `UPDATE refresh_tokens SET expires_at = now()`); err != nil {
		t.Fatal(err)
	}
	_, err = refresh(t, client, expired.GetRefreshToken())
	wantFault(t, "Refresh(expired)", err, fault.Unauthenticated, "Invalid refresh token")
}

func TestConcurrentRefreshOnTwoReplicas(t *testing.T) {
	s := newSystem(t)
	replicas := []authv1.AuthServiceClient{start(t, s.config(t)), start(t, s.config(t))}
	pair := register(t, replicas[0], "ann")
	for range 5 {
		successors := make([]string, 12)
		var all sync.WaitGroup
		for i := range successors {
			all.Go(func() {
				answer, err := refresh(t, replicas[i%2], pair.GetRefreshToken())
				if err != nil {
					t.Errorf("Refresh() at once = %v, want nil", err)
				}
				successors[i] = answer.GetRefreshToken()
			})
		}
		all.Wait()
		if got := slices.Compact(slices.Sorted(slices.Values(successors))); len(got) != 1 {
			t.Fatalf("one token has %d successors, want 1", len(got))
		}
		pair.RefreshToken = successors[0]
	}
	var unspent int
	if err := s.pool.QueryRow(t.Context(), `SELECT count(*) FROM refresh_tokens WHERE spent_at IS NULL`).Scan(&unspent); err != nil || unspent != 1 {
		t.Errorf("%d unspent tokens, %v, want 1", unspent, err)
	}
}

// subscribe is a gateway that does not answer.
func subscribe(t *testing.T, nc *nats.Conn) *nats.Subscription {
	t.Helper()
	sub, err := nc.SubscribeSync(subject.Revoked)
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sub.Unsubscribe() })
	return sub
}

func next(t *testing.T, sub *nats.Subscription) *eventv1.Revocation {
	t.Helper()
	msg, err := sub.NextMsg(3 * time.Second)
	if err != nil {
		t.Fatalf("wait for a revocation: %v", err)
	}
	var r eventv1.Revocation
	if err := proto.Unmarshal(msg.Data, &r); err != nil {
		t.Fatal(err)
	}
	return &r
}

func TestRevokeUser(t *testing.T) {
	s := newSystem(t)
	here, there := start(t, s.config(t)), start(t, s.config(t))
	var gateways atomic.Int32
	for _, id := range []string{"g1", "g2", "g2"} { // one of them answers twice
		if _, err := s.nc.Subscribe(subject.Revoked, func(msg *nats.Msg) {
			gateways.Add(1)
			raw, _ := proto.Marshal(&eventv1.RevocationReply{GatewayId: id, Closed: 3})
			_ = msg.Respond(raw)
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	ann, bob := register(t, here, "ann"), register(t, here, "bob")
	for _, client := range []authv1.AuthServiceClient{here, there} { // cached in both
		if _, err := authenticate(t, client, ann.GetAccessToken()); err != nil {
			t.Fatal(err)
		}
	}
	request := &authv1.RevokeUserRequest{UserId: ann.GetUser().GetId()}
	_, err := here.RevokeUser(t.Context(), request)
	wantFault(t, "RevokeUser without key", err, fault.Unauthenticated, "API key required")
	_, err = here.RevokeUser(withScopes(t, caller.ScopeEmit), request)
	wantFault(t, "RevokeUser without scope", err, fault.Forbidden, "users")
	_, err = here.RevokeUser(withScopes(t, caller.ScopeUsers), &authv1.RevokeUserRequest{UserId: "nobody"})
	wantFault(t, "RevokeUser(nobody)", err, fault.NotFound, "")

	answer, err := here.RevokeUser(withScopes(t, caller.ScopeUsers), request)
	if err != nil || answer.GetClosed() != 6 {
		t.Errorf("RevokeUser() = %v, %v, want 6 closed by 2 gateways", answer, err)
	}
	// A login at once is not covered by the revocation, on any replica and for any gateway.
	login, err := there.Login(t.Context(), &authv1.LoginRequest{Username: "ann", Password: password})
	if err != nil {
		t.Fatalf("Login right after a revocation: %v", err)
	}
	page, err := there.ListRevocations(t.Context(), &authv1.ListRevocationsRequest{})
	if err != nil || len(page.GetRevocations()) != 1 {
		t.Fatalf("ListRevocations() = %v, %v, want one", page, err)
	}
	for _, client := range []authv1.AuthServiceClient{here, there} {
		wantRefused(t, client, ann.GetAccessToken(), "revoked")
		identity, err := authenticate(t, client, login.GetAccessToken())
		if err != nil || identity.GetIssuedAt().AsTime().Before(page.GetRevocations()[0].GetRevokedAt().AsTime()) {
			t.Errorf("Authenticate(new login) = %v, %v, want issued after %v", identity, err, page.GetRevocations()[0])
		}
		if _, err := authenticate(t, client, bob.GetAccessToken()); err != nil {
			t.Errorf("Authenticate(bob) = %v, want nil", err)
		}
	}
	_, err = refresh(t, here, ann.GetRefreshToken())
	wantFault(t, "Refresh(revoked)", err, fault.Unauthenticated, "")
}

func TestLogout(t *testing.T) {
	s := newSystem(t)
	client := start(t, s.config(t))
	phone := register(t, client, "ann")
	laptop, err := client.Login(t.Context(), &authv1.LoginRequest{Username: "ann", Password: password})
	if err != nil {
		t.Fatal(err)
	}
	identity, err := authenticate(t, client, phone.GetAccessToken())
	if err != nil {
		t.Fatal(err)
	}
	revocations := subscribe(t, s.nc)
	for range 2 { // a repeated logout is fine
		if _, err := client.Logout(t.Context(), &authv1.LogoutRequest{RefreshToken: phone.GetRefreshToken()}); err != nil {
			t.Errorf("Logout() = %v, want nil", err)
		}
	}
	if r := next(t, revocations); r.GetLoginId() != identity.GetLoginId() || r.GetUserId() != identity.GetUserId() || r.GetId() != 1 {
		t.Errorf("published %v, want revocation 1 of login %s", r, identity.GetLoginId())
	}
	wantRefused(t, client, phone.GetAccessToken(), "logged out")
	if _, err := authenticate(t, client, laptop.GetAccessToken()); err != nil {
		t.Errorf("Authenticate(other login) = %v, want nil", err)
	}
	_, err = client.Logout(t.Context(), &authv1.LogoutRequest{RefreshToken: "x"})
	wantFault(t, "Logout(x)", err, fault.Invalid, "refreshToken")
}

func TestListRevocations(t *testing.T) {
	s := newSystem(t)
	client := start(t, s.config(t))
	list := func(after int64, limit int32) (ids []int64, newest int64) {
		t.Helper()
		page, err := client.ListRevocations(t.Context(), &authv1.ListRevocationsRequest{AfterId: after, Limit: limit})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range page.GetRevocations() {
			ids = append(ids, r.GetId())
		}
		return ids, page.GetNewestId()
	}
	if ids, newest := list(0, 0); len(ids) != 0 || newest != 0 {
		t.Errorf("ListRevocations() of an empty log = %v, newest %d, want none, 0", ids, newest)
	}
	// Logouts at once; a reader that follows the log misses none.
	const logouts = 30
	var all sync.WaitGroup
	for i := range logouts {
		pair := register(t, client, "user"+string(rune('a'+i%26))+strings.Repeat("x", 2+i/26))
		all.Go(func() {
			if _, err := client.Logout(t.Context(), &authv1.LogoutRequest{RefreshToken: pair.GetRefreshToken()}); err != nil {
				t.Errorf("Logout() = %v, want nil", err)
			}
		})
	}
	var seen []int64
	for deadline := time.Now().Add(10 * time.Second); len(seen) < logouts && time.Now().Before(deadline); {
		after := int64(0)
		if n := len(seen); n > 0 {
			after = seen[n-1]
		}
		ids, newest := list(after, 7)
		if seen = append(seen, ids...); len(seen) > 0 && seen[len(seen)-1] > newest {
			t.Errorf("newest id is %d, want at least %d", newest, seen[len(seen)-1])
		}
	}
	all.Wait()
	for i, id := range seen {
		if id != int64(i+1) {
			t.Fatalf("the log reads %v, want 1 to %d without holes", seen, logouts)
		}
	}
	if ids, newest := list(-1, 0); len(ids) != 0 || newest != logouts || len(seen) != logouts {
		t.Errorf("ListRevocations(-1) = %v, newest %d after %d read, want none, %d", ids, newest, len(seen), logouts)
	}
	_, err := client.ListRevocations(t.Context(), &authv1.ListRevocationsRequest{Limit: 1001})
	wantFault(t, "ListRevocations(limit 1001)", err, fault.Invalid, "limit")
}

func TestForgottenRevocationsAreAnnounced(t *testing.T) {
	s := newSystem(t)
	revocations := subscribe(t, s.nc)
	// A replica that died between commit and announcement left this.
	if _, err := s.pool.Exec(t.Context(), `WITH h AS (UPDATE revocation_head SET id = 1)
INSERT INTO revocations (id, user_id, revoked_at) VALUES (1, 'ann', now())`); err != nil {
		t.Fatal(err)
	}
	start(t, s.config(t))
	if r := next(t, revocations); r.GetId() != 1 || r.GetUserId() != "ann" {
		t.Errorf("announced %v, want revocation 1", r)
	}
}

func TestForeignTokens(t *testing.T) {
	s := newSystem(t)
	client := start(t, s.config(t))
	cfg := s.config(t)
	cfg.External.Provision = false
	strict := start(t, cfg)
	sign := func(claims jwt.MapClaims) string {
		t.Helper()
		claims["exp"] = time.Now().Add(time.Minute).Unix()
		token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(jwtSecret))
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	_, err := authenticate(t, strict, sign(jwt.MapClaims{"sub": "crm|7"}))
	wantFault(t, "Authenticate(unknown sub)", err, fault.Unauthenticated, "User not found")

	identity, err := authenticate(t, client, sign(jwt.MapClaims{"sub": "crm|7", "name": "Zoë", "role": "admin"}))
	if err != nil || identity.GetUserId() != "crm|7" || identity.GetName() != "Zoë" || identity.GetRole() != "admin" || identity.GetIssuedAt() != nil {
		t.Errorf("Authenticate(provisioned) = %v, %v, want crm|7, Zoë, admin, no time of issue", identity, err)
	}
	if identity, err = authenticate(t, client, sign(jwt.MapClaims{"sub": "crm|7", "name": "Zoë B."})); err != nil || identity.GetName() != "Zoë B." {
		t.Errorf("Authenticate(renamed) = %v, %v, want Zoë B.", identity, err)
	}
	if identity, err = authenticate(t, strict, sign(jwt.MapClaims{"sub": "crm|7"})); err != nil || identity.GetName() != "Zoë" {
		t.Errorf("Authenticate(known) = %v, %v, want Zoë", identity, err)
	}
	users, err := client.GetUsers(t.Context(), &authv1.GetUsersRequest{UserIds: []string{"crm|7"}})
	if err != nil || len(users.GetUsers()) != 1 || users.GetUsers()[0].GetName() != "Zoë" || users.GetUsers()[0].GetUsername() != "" {
		t.Errorf("GetUsers(crm|7) = %v, %v, want Zoë without username", users, err)
	}

	before := sign(jwt.MapClaims{"sub": "crm|7", "iat": time.Now().Unix()})
	if _, err := client.RevokeUser(withScopes(t, caller.ScopeUsers), &authv1.RevokeUserRequest{UserId: "crm|7"}); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, client, before, "foreign, revoked")
	if _, err := authenticate(t, client, sign(jwt.MapClaims{"sub": "crm|7", "iat": time.Now().Unix() + 1})); err != nil {
		t.Errorf("Authenticate(signed after the revocation) = %v, want nil", err)
	}

	if _, err := s.pool.Exec(t.Context(), `UPDATE users SET deleted_at = now()`); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	_, err = authenticate(t, client, sign(jwt.MapClaims{"sub": "crm|7", "iat": time.Now().Unix() + 1}))
	wantFault(t, "Authenticate(deleted)", err, fault.Unauthenticated, "User not found")
}

func TestKeys(t *testing.T) {
	s := newSystem(t)
	cfg := s.config(t)
	cfg.Tokens.KeySecret = "hush"
	other := cfg
	other.Listen.GRPC = freeAddr(t)
	here, there := start(t, cfg), start(t, other)

	set, err := here.Keys(t.Context(), &emptypb.Empty{})
	if err != nil {
		t.Fatal(err)
	}
	var keys struct{ Keys []map[string]string }
	if err := json.Unmarshal(set.GetData(), &keys); err != nil || len(keys.Keys) != 1 {
		t.Fatalf("Keys() = %s, %v, want one key", set.GetData(), err)
	}
	key := keys.Keys[0]
	if diff := cmp.Diff(map[string]string{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": key["kid"], "x": key["x"]}, key); diff != "" {
		t.Errorf("Keys() (-want +got):\n%s", diff)
	}
	var sealed bool
	if err := s.pool.QueryRow(t.Context(), `SELECT sealed FROM signing_keys`).Scan(&sealed); err != nil || !sealed {
		t.Errorf("the signing key is sealed %v, %v, want true", sealed, err)
	}
	if _, err := authenticate(t, there, register(t, here, "ann").GetAccessToken()); err != nil {
		t.Errorf("Authenticate() on the other replica = %v, want nil", err)
	}

	known, err := here.AuthenticateKey(t.Context(), &authv1.AuthenticateKeyRequest{Key: apiKey})
	if err != nil || known.GetName() != "default" || !slices.Equal(known.GetScopes(), caller.AllScopes()) {
		t.Errorf("AuthenticateKey() = %v, %v, want default with all scopes", known, err)
	}
	_, err = here.AuthenticateKey(t.Context(), &authv1.AuthenticateKeyRequest{Key: "guess"})
	wantFault(t, "AuthenticateKey(guess)", err, fault.Unauthenticated, "Invalid API key")
}

func TestSeed(t *testing.T) {
	s := newSystem(t)
	cfg := s.config(t)
	mallory := register(t, start(t, cfg), "root") // before the operator thought of it
	cfg.Listen.GRPC = freeAddr(t)
	cfg.DemoUsers = []DemoUser{{Username: "alice", Password: "alice-password", Name: "Alice"}}
	cfg.Accounts.AdminUsername, cfg.Accounts.AdminPassword = "root", "the operator's"
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	var client authv1.AuthServiceClient
	for range 2 { // also at the second start
		client = start(t, cfg)
		cfg.Listen.GRPC = freeAddr(t)
	}
	alice, err := client.Login(t.Context(), &authv1.LoginRequest{Username: "alice", Password: "alice-password"})
	if err != nil || alice.GetUser().GetName() != "Alice" || alice.GetUser().GetRole() != "user" {
		t.Errorf("Login(alice) = %v, %v, want Alice, user", alice.GetUser(), err)
	}
	admin, err := client.Login(t.Context(), &authv1.LoginRequest{Username: "root", Password: "the operator's"})
	if err != nil || admin.GetUser().GetRole() != "admin" {
		t.Errorf("Login(root) = %v, %v, want an admin", admin.GetUser(), err)
	}
	wantRefused(t, client, mallory.GetAccessToken(), "of root before the promotion")
	_, err = client.Login(t.Context(), &authv1.LoginRequest{Username: "root", Password: password})
	wantFault(t, "Login(root, old password)", err, fault.Unauthenticated, "")
}

func TestStartsBeforeItsDependencies(t *testing.T) {
	s := newSystem(t)
	cfg := s.config(t)
	cfg.NATS.URL = settings.URL("nats://" + freeAddr(t)) // never there
	address, err := url.Parse(cfg.Database.URL.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	real := address.Host
	address.Host = freeAddr(t) // there later
	cfg.Database.URL = settings.URL(address.String())
	conn := launch(t, cfg)
	client := authv1.NewAuthServiceClient(conn)
	health := healthpb.NewHealthClient(conn)
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		answer, err := health.Check(t.Context(), &healthpb.HealthCheckRequest{})
		if err == nil {
			if answer.GetStatus() != healthpb.HealthCheckResponse_NOT_SERVING {
				t.Errorf("health without a database is %v, want NOT_SERVING", answer.GetStatus())
			}
			break
		}
	}
	_, err = client.Login(t.Context(), &authv1.LoginRequest{Username: "ann", Password: password})
	wantFault(t, "Login() without a database", err, fault.Unavailable, "")
	_, err = client.Keys(t.Context(), &emptypb.Empty{})
	wantFault(t, "Keys() without a database", err, fault.Unavailable, "")

	forward(t, address.Host, real)
	waitReady(t, conn)
	pair := register(t, client, "ann")
	if _, err := authenticate(t, client, pair.GetAccessToken()); err != nil {
		t.Errorf("Authenticate() without NATS = %v, want nil", err)
	}
	if _, err := client.Logout(t.Context(), &authv1.LogoutRequest{RefreshToken: pair.GetRefreshToken()}); err != nil {
		t.Errorf("Logout() without NATS = %v, want nil", err)
	}
	wantRefused(t, client, pair.GetAccessToken(), "logged out without NATS")
}

// forward is a PostgreSQL that comes up late: connections to one address go to another.
func forward(t *testing.T, from, to string) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			in, err := listener.Accept()
			if err != nil {
				return
			}
			out, err := new(net.Dialer).DialContext(t.Context(), "tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			go func() { _, _ = io.Copy(out, in); _ = out.Close() }()
			go func() { _, _ = io.Copy(in, out); _ = in.Close() }()
		}
	}()
}

func TestValidate(t *testing.T) {
	for _, tc := range []struct{ args, want string }{
		{"", ""},
		{"--access-token-ttl=0s", "ACCESS_TOKEN_TTL"},
		{"--refresh-token-ttl=1m", "REFRESH_TOKEN_TTL"},
		{"--key-overlap=1s", "KEY_OVERLAP"},
		{"--key-rotation=30m", "KEY_ROTATION"},
		{"--argon2-memory-kib=4", "ARGON2_MEMORY_KIB"},
		{"--admin-username=root", "ADMIN_PASSWORD"},
		{"--admin-username=root --admin-password=short", "password"},
		{"--auth-auto-provision", "JWT_SECRET"},
		{"--revocation-retention=1m", "REVOCATION_RETENTION"},
	} {
		var cfg Config
		err := settings.Parse("auth-service", "", &cfg, strings.Fields(tc.args))
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n")) {
			t.Errorf("Parse(%s) = %v, want one line with %q", tc.args, err, tc.want)
		}
	}
}
