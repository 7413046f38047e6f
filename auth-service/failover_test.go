package authservice

import (
	"log/slog"
	"testing"
	"time"

	"github.com/starling-chat/starling/platform/bus/bustest"
	"github.com/starling-chat/starling/platform/pg"
	"github.com/starling-chat/starling/platform/pg/pgtest"
	"github.com/starling-chat/starling/platform/settings"
	authv1 "github.com/starling-chat/starling/proto/gen/starling/auth/v1"
)

// TestFailover: the primary changes while all connections to the former one stay alive and answer reads. Accounts are made on the
// new one, and what the service reads comes from there.
func TestFailover(t *testing.T) {
	servers := pgtest.NewPair(t)
	s := &system{database: servers.Config("auth"), natsURL: settings.URL(bustest.Server(t).URL())}
	client := start(t, s.config(t))
	register(t, client, "before")

	servers.FailOver(t)
	if err := pg.Migrate(t.Context(), s.database, Migrations(), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	var last error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if _, last = client.Register(t.Context(), &authv1.RegisterRequest{Username: "after", Password: password}); last == nil {
			break
		}
	}
	if n := servers.Ask(t, "SELECT string_agg(username, ' ') FROM auth.users"); last != nil || n != "after" {
		t.Errorf("Register after the failover = %v; the new primary has %q, want the new account", last, n)
	}
}
