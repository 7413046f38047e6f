package authservice

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

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
	"github.com/starling-chat/starling/platform/porttest"
	"github.com/starling-chat/starling/platform/rpc"
	"github.com/starling-chat/starling/platform/settings"
	"github.com/starling-chat/starling/proto/caller"
	"github.com/starling-chat/starling/proto/fault"
	authv1 "github.com/starling-chat/starling/proto/gen/starling/auth/v1"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
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
		"--admin-listen=", "--grpc-listen=" + porttest.Reserve(t), "--db-max-conns=6",
		"--database-url=" + s.database.URL.Reveal(), "--nats-url=" + s.natsURL.Reveal(),
		"--argon2-memory-kib=64", "--argon2-time=1", "--argon2-parallelism=1",
		// Nobody is forgiven anything while a busy machine takes its time.
		"--login-account-rate=0.001", "--login-user-rate=0.001", "--login-address-rate=0.001", "--register-address-rate=0.001", "--wrong-token-address-rate=0.001",
		"--registration", "--jwt-secret=" + jwtSecret, "--auth-auto-provision", "--api-key=" + apiKey, "--service-token=between services",
	}); err != nil {
		t.Fatal(err)
	}
	return cfg
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
	return launchWith(t, cfg, slog.New(slog.NewTextHandler(t.Output(), nil)))
}

func launchWith(t *testing.T, cfg Config, log *slog.Logger) *grpc.ClientConn {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, cfg, log) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run() = %v, want nil", err)
		}
	})
	conn, err := rpc.Dial(cfg.RPC.Listen, rpc.ClientConfig{Token: cfg.RPC.Token})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func waitReady(t *testing.T, conn *grpc.ClientConn) {
	t.Helper()
	health := healthpb.NewHealthClient(conn)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		answer, err := health.Check(t.Context(), &healthpb.HealthCheckRequest{})
		if err == nil && answer.GetStatus() == healthpb.HealthCheckResponse_SERVING {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("health after 30s = %v, %v, want SERVING", answer, err)
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

// at is a caller whose client has an address.
func at(t *testing.T, address string) context.Context {
	t.Helper()
	md, err := caller.Metadata(nil, nil, address)
	if err != nil {
		t.Fatal(err)
	}
	return metadata.NewOutgoingContext(t.Context(), md)
}

// wantRefused waits until a revoked token does not work any more: a second at most, on a machine that is not busy.
func wantRefused(t *testing.T, client authv1.AuthServiceClient, token, what string) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if _, err = authenticate(t, client, token); err != nil {
			break
		}
	}
	wantFault(t, "Authenticate("+what+") after a while", err, fault.Unauthenticated, "Invalid token")
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
	bell, err := client.Register(ctx, &authv1.RegisterRequest{Username: "bob", Password: password, Name: "\x07"})
	if err != nil || bell.GetUser().GetName() != "bob" {
		t.Errorf("Register(with a bell as name) = %v, %v, want the user name shown", bell.GetUser(), err)
	}

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

func TestLoginRehashesAndLimitsAddresses(t *testing.T) {
	s := newSystem(t)
	register(t, start(t, s.config(t)), "ann")
	cfg := s.config(t)
	cfg.Passwords.Time = 2
	cfg.Limits.AddressBurst = 2
	client := start(t, cfg)
	login := func(username, address string) error {
		_, err := client.Login(at(t, address), &authv1.LoginRequest{Username: username, Password: password})
		return err
	}
	for range 2 { // with the old hash, then with the new one
		if err := login("ann", "192.0.2.1"); err != nil {
			t.Errorf("Login() = %v, want nil", err)
		}
	}
	var hash string
	if err := s.pool.QueryRow(t.Context(), `SELECT password_hash FROM users`).Scan(&hash); err != nil || !strings.Contains(hash, "t=2") {
		t.Errorf("hash after a login with other costs = %s, %v, want t=2", hash, err)
	}
	wantFault(t, "Login() of somebody else from that address", login("bob", "192.0.2.1"), fault.Unauthenticated, "")
	wantFault(t, "third such Login()", login("bob", "192.0.2.1"), fault.RateLimited, "")
	if err := login("ann", "192.0.2.1"); err != nil {
		t.Errorf("Login() of a user who has logged in from that address before = %v, want nil", err)
	}
	if err := login("ann", "192.0.2.2"); err != nil {
		t.Errorf("Login() from another address = %v, want nil", err)
	}
}

func TestSeed(t *testing.T) {
	s := newSystem(t)
	cfg := s.config(t)
	mallory := register(t, start(t, cfg), "root") // before the operator thought of it
	cfg.RPC.Listen = porttest.Reserve(t)
	cfg.DemoUsers = []DemoUser{{Username: "alice", Password: "alice-password", Name: "Alice"}}
	cfg.Accounts.AdminUsername, cfg.Accounts.AdminPassword = "root", "the operator's"
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	var client authv1.AuthServiceClient
	for range 2 { // also at the second start
		client = start(t, cfg)
		cfg.RPC.Listen = porttest.Reserve(t)
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
	cfg.NATS.URL = settings.URL("nats://" + porttest.Reserve(t)) // never there
	address, err := url.Parse(cfg.Database.URL.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	host := address.Host
	address.Host = porttest.Reserve(t) // there later
	cfg.Database.URL = settings.URL(address.String())
	conn := launch(t, cfg)
	client := authv1.NewAuthServiceClient(conn)
	health := healthpb.NewHealthClient(conn)
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
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

	forward(t, address.Host, host)
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

// TestRegistration: strangers register only where somebody said so, or where nobody but this machine reaches the system.
func TestRegistration(t *testing.T) {
	issuer := `--token-issuers={"issuer":"https://id.test"}`
	for args, want := range map[string]bool{
		"":                                                false,
		"--published-address=127.0.0.1":                   true,
		"--published-address=127.1.2.3":                   true,
		"--published-address=localhost":                   true,
		"--published-address=[::1]":                       true,
		"--published-address=0.0.0.0":                     false,
		"--published-address=::":                          false,
		"--published-address=192.0.2.1":                   false,
		"--published-address=127.evil.com":                false,
		"--registration":                                  true,
		"--no-registration --published-address=127.0.0.1": false,
		"--published-address=127.0.0.1 --jwt-secret=0123456789abcdef0123456789abcdef": false,
		"--published-address=127.0.0.1 " + issuer:                                     false,
		"--published-address=0.0.0.0 --registration " + issuer:                        true,
	} {
		var cfg Config
		if err := settings.Parse("auth-service", "", &cfg, strings.Fields(args)); err != nil || cfg.domain(nil).Registration != want {
			t.Errorf("%q: registration is %v, %v, want %v", args, cfg.domain(nil).Registration, err, want)
		}
	}
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
		{"--admin-username=root --admin-password=password1", "password"},
		{"--admin-username=administrator --admin-password=Administrator1", "password"},
		{"--argon2-wait=9s", "ARGON2_WAIT"},
		{"--login-user-burst=0", "LOGIN_USER_BURST"},
		{"--limit-exempt-networks=10.0.0.0/8,::1,192.168.1.1", ""},
		{"--limit-exempt-networks=office", "LIMIT_EXEMPT_NETWORKS"},
		{"--auth-auto-provision", "JWT_SECRET"},
		{"--jwt-secret=a", "JWT_SECRET"},
		{"--jwt-secret=0123456789abcdef0123456789abcde", "JWT_SECRET"},
		{"--jwt-secret=0123456789abcdef0123456789abcdef", ""},
		{"--api-key=0123456789abcde", "API_KEY"},
		{"--api-key=0123456789abcdef", ""},
		{"--revocation-retention=1m", "REVOCATION_RETENTION"},
	} {
		var cfg Config
		err := settings.Parse("auth-service", "", &cfg, strings.Fields(tc.args))
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n")) {
			t.Errorf("Parse(%s) = %v, want one line with %q", tc.args, err, tc.want)
		}
	}
}
