package pg_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/starling-chat/starling/platform/pg"
	"github.com/starling-chat/starling/platform/pg/pgtest"
	"github.com/starling-chat/starling/platform/porttest"
	"github.com/starling-chat/starling/platform/settings"
)

// pooler runs PgBouncer before the database of cfg, as role, and returns the address through it.
func pooler(t *testing.T, cfg pg.Config, role string, lines ...string) pg.Config {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		t.Skip("needs pgbouncer (Debian: apt-get install pgbouncer)")
	}
	server, err := pgx.ParseConfig(cfg.URL.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	address := porttest.Reserve(t)
	dir := t.TempDir()
	config := fmt.Sprintf("[databases]\n%s = host=%s port=%d user=%s password=%s\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %d\n"+
		"unix_socket_dir =\nauth_type = any\n%s\n",
		server.Database, server.Host, server.Port, role, server.Password, netip.MustParseAddrPort(address).Port(), strings.Join(lines, "\n"))
	path := filepath.Join(dir, "pgbouncer.ini")
	if err := os.WriteFile(path, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	args := []string{"-q", path}
	if os.Getuid() == 0 { // it refuses to run as root
		args = append([]string{"-u", "nobody"}, args...)
		for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
			if err := os.Chmod(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	var out strings.Builder
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() { _ = cmd.Wait(); close(ended) })
	t.Cleanup(func() { _ = cmd.Process.Kill(); wait.Wait() })
	for {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
			break
		}
		select {
		case <-ended:
			t.Fatalf("pgbouncer ended: %s", out.String())
		case <-time.After(20 * time.Millisecond):
		}
	}
	through := cfg
	through.URL = settings.URL(fmt.Sprintf("postgres://%s:unused@%s/%s?sslmode=disable", role, address, server.Database))
	return through
}

// role makes a role that may do everything, with the password of cfg, and whose search_path is as given; "" leaves the default.
func role(t *testing.T, cfg pg.Config, name, searchPath string) {
	t.Helper()
	config, err := pgx.ParseConfig(cfg.URL.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	// Roles are the whole server's: a run that was killed leaves them.
	statements := []string{"DROP ROLE IF EXISTS " + name, fmt.Sprintf("CREATE ROLE %s LOGIN SUPERUSER PASSWORD '%s'", name, config.Password)}
	if searchPath != "" {
		statements = append(statements, fmt.Sprintf("ALTER ROLE %s SET search_path = %s", name, searchPath))
	}
	for _, sql := range statements {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		conn, err := pgx.ConnectConfig(context.WithoutCancel(t.Context()), config)
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
		if _, err := conn.Exec(context.WithoutCancel(t.Context()), "DROP OWNED BY "+name+" CASCADE; DROP ROLE "+name); err != nil {
			t.Error(err)
		}
	})
}

// sessionMode is what docs/operations/install.md asks of a pooler.
var sessionMode = []string{"pool_mode = session", "ignore_startup_parameters = search_path"}

// TestPooler: behind PgBouncer as documented a service migrates its own schema, and its limits are in force.
func TestPooler(t *testing.T) {
	cfg := pgtest.New(t, nil, "chat")
	role(t, cfg, "pooled_chat", "chat")
	through := pooler(t, cfg, "pooled_chat", sessionMode...)
	if err := pg.Migrate(t.Context(), through, migrations(), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatalf("Migrate through a pooler in session mode = %v, want nil", err)
	}
	through.StatementTimeout, through.IdleTxTimeout, through.GenericPlans = 1234*time.Millisecond, 2345*time.Millisecond, true
	pool, err := pg.Open(t.Context(), through)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	const sql = `SELECT concat_ws(' ', current_schema(), current_setting('statement_timeout'), current_setting('idle_in_transaction_session_timeout'), current_setting('plan_cache_mode'), to_regclass('chat.account'), to_regclass('public.account'))`
	var got string
	if err := pool.QueryRow(t.Context(), sql).Scan(&got); err != nil || got != "chat 1234ms 2345ms force_generic_plan account" {
		t.Errorf("a session behind the pooler = %q, %v, want its own schema and limits", got, err)
	}
}

// TestPoolerRefused: a pooler that drops search_path would let all services make their tables in public, side by side, and one that
// pools transactions would mix up their locks. Nothing is made, and the error says what to do.
func TestPoolerRefused(t *testing.T) {
	for name, tc := range map[string]struct{ mode, searchPath, want string }{
		"session, no schema":     {"session", "", "ALTER ROLE"},
		"transaction, no schema": {"transaction", "", "ALTER ROLE"},
		"transaction":            {"transaction", "chat", "pool_mode = session"},
		"statement":              {"statement", "chat", "pool_mode = session"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := pgtest.New(t, nil, "chat")
			role(t, cfg, "pooled_wrongly", tc.searchPath)
			through := pooler(t, cfg, "pooled_wrongly", "pool_mode = "+tc.mode, "ignore_startup_parameters = search_path")
			err := pg.Migrate(t.Context(), through, migrations(), slog.New(slog.DiscardHandler))
			if !errors.Is(err, pg.ErrUnfit) || pg.IsUnavailable(err) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Migrate = %v, want ErrUnfit with %q", err, tc.want)
			}
			pool, err := pg.Open(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer pool.Close()
			var tables int
			if err := pool.QueryRow(t.Context(), "SELECT count(*) FROM pg_tables WHERE schemaname IN ('public', 'chat')").Scan(&tables); err != nil || tables != 0 {
				t.Errorf("%d tables were made, %v, want none", tables, err)
			}
		})
	}
}

// TestSchemaOfTheRole: without a pooler, too, a role that cannot use the schema is told so instead of waiting for ever.
func TestSchemaOfTheRole(t *testing.T) {
	cfg := pgtest.New(t, migrations(), "chat")
	config, err := pgx.ParseConfig(cfg.URL.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	role(t, cfg, "stranger", "")
	owner, err := pg.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close()
	if _, err := owner.Exec(t.Context(), "ALTER ROLE stranger NOSUPERUSER"); err != nil {
		t.Fatal(err)
	}
	cfg.URL = settings.URL(fmt.Sprintf("postgres://stranger:%s@%s:%d/%s?sslmode=disable", config.Password, config.Host, config.Port, config.Database))
	pool, err := pg.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if err := pg.Await(t.Context(), pool, slog.New(slog.DiscardHandler)); !errors.Is(err, pg.ErrUnfit) || !strings.Contains(err.Error(), "USAGE") {
		t.Errorf("Await as a role without rights on the schema = %v, want ErrUnfit that says so", err)
	}
}
