package servicetest

import (
	"context"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/starling-chat/starling/platform/bus/bustest"
	"github.com/starling-chat/starling/platform/pg"
	"github.com/starling-chat/starling/platform/pg/pgtest"
	"github.com/starling-chat/starling/platform/rpc"
	"github.com/starling-chat/starling/platform/settings"
	authv1 "github.com/starling-chat/starling/proto/gen/starling/auth/v1"
)

// handler is what the service is for: it greets users by the names in its table.
type handler struct {
	authv1.UnimplementedAuthServiceServer
	store    *pg.Store
	greeting string
}

func (h *handler) GetUsers(ctx context.Context, req *authv1.GetUsersRequest) (*authv1.GetUsersResponse, error) {
	const sql = `SELECT name FROM names WHERE id = $1`
	resp := &authv1.GetUsersResponse{}
	for _, id := range req.GetUserIds() {
		user := &authv1.User{Id: id}
		err := h.store.Do(ctx, "read name", func(ctx context.Context) error {
			return h.store.Pool().QueryRow(ctx, sql, id).Scan(&user.Name)
		})
		if err != nil {
			return nil, err
		}
		user.Name = h.greeting + " " + user.Name
		resp.Users = append(resp.Users, user)
	}
	return resp, nil
}

var migrations = fstest.MapFS{"00001_names.sql": {Data: []byte(
	"-- +goose Up\nCREATE TABLE names (id text PRIMARY KEY, name text NOT NULL);\nINSERT INTO names VALUES ('u1', 'Ann');\n")}}

// TestFifthService: a service made of the shared parts migrates, becomes ready, answers those who know the token and stops; a
// Config and a Run are all that it takes.
func TestFifthService(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var cfg Config
	if err := settings.Parse("fifth-service", "Greets.", &cfg, []string{
		"--admin-listen=", "--service-token=a token between services", "--nats-url=" + bustest.Server(t).URL(),
		"--database-url=" + pgtest.New(t, nil, "fifth").URL.Reveal(), "--greeting=good morning,",
	}); err != nil {
		t.Fatal(err)
	}
	cfg.RPC.Listener = listener
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, cfg, migrations, slog.New(slog.DiscardHandler)) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	}()

	conn, err := rpc.Dial(listener.Addr().String(), cfg.RPC.Client(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		answer, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
		if answer.GetStatus() == healthpb.HealthCheckResponse_SERVING {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("not ready in time: %v, %v", answer, err)
		}
	}
	got, err := authv1.NewAuthServiceClient(conn).GetUsers(ctx, &authv1.GetUsersRequest{UserIds: []string{"u1"}})
	if err != nil || len(got.GetUsers()) != 1 || got.GetUsers()[0].GetName() != "good morning, Ann" {
		t.Errorf("GetUsers = %v, %v, want good morning, Ann", got, err)
	}
}

// TestFifthServiceIsShort: the whole service beside its handler is about 60 lines.
func TestFifthServiceIsShort(t *testing.T) {
	source, err := os.ReadFile("service_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(string(source), "\n)\n") // what follows the imports
	lines := 0
	for line := range strings.Lines(body) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "//") {
			lines++
		}
	}
	if lines > 60 {
		t.Errorf("Config and Run of a minimal service have %d lines, want 60 at most", lines)
	}
}
