package pg_test

import (
	"bytes"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/starling-chat/starling/platform/pg"
	"github.com/starling-chat/starling/platform/pg/pgtest"
	"github.com/starling-chat/starling/platform/porttest"
	"github.com/starling-chat/starling/platform/settings"
)

func migrations() fstest.MapFS {
	return fstest.MapFS{"00001_account.sql": {Data: []byte(
		"-- +goose Up\nCREATE TABLE account (id int PRIMARY KEY, n int NOT NULL DEFAULT 0, CONSTRAINT small CHECK (n < 1000));\n")}}
}

func TestPoolSettings(t *testing.T) {
	cfg := pgtest.New(t, migrations(), "odd Schema")
	cfg.StatementTimeout, cfg.AppName = 2*patience, "tester"
	pool, err := pg.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	var got string
	const sql = `SELECT concat_ws(' ', current_schema(), current_setting('application_name'), current_setting('statement_timeout'), to_regclass('account'), to_regclass('goose_db_version')) FROM account RIGHT JOIN (VALUES (1)) v ON true`
	if err := pool.QueryRow(t.Context(), sql).Scan(&got); err != nil {
		t.Fatal(err)
	}
	if want := "odd Schema tester 1min account goose_db_version"; got != want {
		t.Errorf("session = %q, want %q", got, want)
	}
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	if _, err := conn.Exec(t.Context(), "SET statement_timeout = 50"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "SELECT pg_sleep(60)"); !pg.IsUnavailable(err) {
		t.Errorf("IsUnavailable(%v) = false, want true for a statement timeout", err)
	}
	if n := testutil.CollectAndCount(pg.Collector(pool)); n != 7 {
		t.Errorf("Collector gives %d metrics, want 7", n)
	}
}

func TestDatabasesAreIsolated(t *testing.T) {
	for range 2 {
		if _, err := pgtest.Pool(t, migrations(), "s").Exec(t.Context(), "INSERT INTO account (id) VALUES (1)"); err != nil {
			t.Error(err)
		}
	}
}

func TestMigrateTogether(t *testing.T) {
	cfg := pgtest.New(t, nil, "together")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := pg.Migrate(t.Context(), cfg, migrations(), slog.New(slog.DiscardHandler)); err != nil {
				t.Errorf("Migrate = %v, want nil", err)
			}
		})
	}
	wg.Wait()
}

func TestMigrateWaitsForPostgres(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for range 3 { // tries; none finds PostgreSQL
			if conn, err := listener.Accept(); err == nil {
				_ = conn.Close()
			}
		}
		cancel()
	}()
	var log bytes.Buffer
	err = pg.Migrate(ctx, pg.Config{URL: settings.URL("postgres://u:hunter2@" + listener.Addr().String() + "/x?sslmode=disable"), Schema: "s"},
		migrations(), slog.New(slog.NewTextHandler(&log, nil)))
	if !errors.Is(err, context.Canceled) || strings.Count(log.String(), "waiting for PostgreSQL") != 1 {
		t.Errorf("Migrate = %v, log %q, want the end of the context and one line for all tries", err, log.String())
	}
	if strings.Contains(log.String()+err.Error(), "hunter2") {
		t.Errorf("Migrate = %v, log %q, want no password", err, log.String())
	}
}

func TestMigrateReportsBadSQL(t *testing.T) {
	cfg := pgtest.New(t, nil, "bad")
	bad := fstest.MapFS{"00001_bad.sql": {Data: []byte("-- +goose Up\nCREATE TABEL x ();\n")}}
	if err := pg.Migrate(t.Context(), cfg, bad, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("Migrate = nil, want the syntax error")
	}
}

// TestVersionsAreSealed: who may write rows of all that the migrations make still may not write which of them have run, in a new schema
// and in one that was made before.
func TestVersionsAreSealed(t *testing.T) {
	cfg := pgtest.New(t, nil, "sealed")
	admin, err := pg.Open(t.Context(), pg.Config{URL: cfg.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(admin.Close)
	do := func(statements ...string) {
		t.Helper()
		for _, sql := range statements {
			if _, err := admin.Exec(t.Context(), sql); err != nil {
				t.Fatalf("%s: %v", sql, err)
			}
		}
	}
	drop := func() {
		_, _ = admin.Exec(context.WithoutCancel(t.Context()), "DROP OWNED BY sealed_app CASCADE")
		_, _ = admin.Exec(context.WithoutCancel(t.Context()), "DROP ROLE IF EXISTS sealed_app")
	}
	drop()
	t.Cleanup(drop)
	do("CREATE ROLE sealed_app", "CREATE SCHEMA sealed", "GRANT USAGE ON SCHEMA sealed TO sealed_app",
		"ALTER DEFAULT PRIVILEGES IN SCHEMA sealed GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO sealed_app",
		"ALTER DEFAULT PRIVILEGES IN SCHEMA sealed GRANT USAGE, SELECT ON SEQUENCES TO sealed_app")
	as := func(sql string) error {
		return pgx.BeginFunc(t.Context(), admin, func(tx pgx.Tx) error {
			_, err := tx.Exec(t.Context(), "SET LOCAL ROLE sealed_app")
			if err == nil {
				_, err = tx.Exec(t.Context(), sql)
			}
			return err
		})
	}
	for _, schema := range []string{"new", "made before"} {
		if err := pg.Migrate(t.Context(), cfg, migrations(), slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
		for sql, allowed := range map[string]bool{
			"INSERT INTO sealed.goose_db_version (version_id, is_applied) VALUES (2, true)": false,
			"UPDATE sealed.goose_db_version SET is_applied = false":                         false,
			"DELETE FROM sealed.goose_db_version":                                           false,
			"SELECT nextval('sealed.goose_db_version_id_seq')":                              false,
			"SELECT 1 FROM sealed.goose_db_version":                                         true,
			"INSERT INTO sealed.account (id) VALUES (1) ON CONFLICT DO NOTHING":             true,
		} {
			if err := as(sql); (err == nil) != allowed {
				t.Errorf("%s: %s = %v, want it allowed: %v", schema, sql, err, allowed)
			}
		}
		do("GRANT ALL ON ALL TABLES IN SCHEMA sealed TO sealed_app", "GRANT UPDATE ON sealed.goose_db_version TO PUBLIC")
	}
}

// TestInTxRepeatsConflicts lets two transactions read one counter before either
// increments it: the second to commit must be repeated.
func TestInTxRepeatsConflicts(t *testing.T) {
	pool := pgtest.Pool(t, migrations(), "s")
	if _, err := pool.Exec(t.Context(), "INSERT INTO account (id) VALUES (1)"); err != nil {
		t.Fatal(err)
	}
	var calls atomic.Int32
	var all, bothRead sync.WaitGroup
	bothRead.Add(2)
	for range 2 {
		all.Go(func() {
			first := sync.OnceFunc(func() { bothRead.Done(); bothRead.Wait() })
			err := pg.InTx(t.Context(), pool, func(tx pgx.Tx) error {
				calls.Add(1)
				if _, err := tx.Exec(t.Context(), "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"); err != nil {
					return err
				}
				var n int
				err := tx.QueryRow(t.Context(), "SELECT n FROM account").Scan(&n)
				first()
				if err != nil {
					return err
				}
				_, err = tx.Exec(t.Context(), "UPDATE account SET n = $1", n+1)
				return err
			})
			if err != nil {
				t.Errorf("InTx = %v, want nil", err)
			}
		})
	}
	all.Wait()
	var n int
	if err := pool.QueryRow(t.Context(), "SELECT n FROM account").Scan(&n); err != nil || n != 2 || calls.Load() != 3 {
		t.Errorf("n = %d, %v after %d calls, want 2 after 3", n, err, calls.Load())
	}
}

func TestInTxRollsBackAndGivesUp(t *testing.T) {
	pool := pgtest.Pool(t, migrations(), "s")
	calls, conflict := 0, &pgconn.PgError{Code: "40001"}
	err := pg.InTx(t.Context(), pool, func(tx pgx.Tx) error {
		calls++
		_, err := tx.Exec(t.Context(), "INSERT INTO account (id) VALUES (1)")
		return errors.Join(err, conflict)
	})
	var n int
	if qerr := pool.QueryRow(t.Context(), "SELECT count(*) FROM account").Scan(&n); qerr != nil {
		t.Fatal(qerr)
	}
	if !errors.Is(err, conflict) || calls != 4 || n != 0 {
		t.Errorf("InTx = %v after %d calls, %d rows; want the conflict after 4, no row", err, calls, n)
	}
}

func TestIsUnique(t *testing.T) {
	pool := pgtest.Pool(t, migrations(), "s")
	_, err := pool.Exec(t.Context(), "INSERT INTO account (id) VALUES (1), (1)")
	for constraint, want := range map[string]bool{"account_pkey": true, "": true, "other": false} {
		if got := pg.IsUnique(err, constraint); got != want {
			t.Errorf("IsUnique(%v, %q) = %v, want %v", err, constraint, got, want)
		}
	}
	_, err = pool.Exec(t.Context(), "INSERT INTO account (id, n) VALUES (1, 5000)")
	if pg.IsUnique(err, "") || pg.IsUnavailable(err) {
		t.Errorf("%v: IsUnique = %v, IsUnavailable = %v, want neither", err, pg.IsUnique(err, ""), pg.IsUnavailable(err))
	}
}

func TestIsUnavailable(t *testing.T) {
	pool := pgtest.Pool(t, nil, "")
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(t.Context(), "SELECT pg_terminate_backend($1)", conn.Conn().PgConn().PID()); err != nil {
		t.Fatal(err)
	}
	_, terminated := conn.Exec(t.Context(), "SELECT 1")
	_, lost := conn.Exec(t.Context(), "SELECT 1")
	conn.Release()

	refusing, err := pg.Open(t.Context(), pg.Config{URL: closedPort(t)})
	if err != nil {
		t.Fatalf("Open without a server = %v, want nil", err)
	}
	refused := refusing.Ping(t.Context())
	refusing.Close()
	closed := refusing.Ping(t.Context())
	late, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, deadline := pool.Exec(late, "SELECT pg_sleep(1)")
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, cancelled := pool.Exec(gone, "SELECT 1")

	for name, tc := range map[string]struct {
		err  error
		want bool
		lost bool
	}{
		"terminated": {terminated, true, true}, "lost": {lost, true, true}, "refused": {refused, true, false},
		"pool closed": {closed, true, false}, "deadline": {deadline, true, false}, "cancelled": {cancelled, false, false},
		"nil": {nil, false, false}, "no rows": {pgx.ErrNoRows, false, false}, "circuit open": {pg.ErrCircuitOpen, true, false},
		"too many":       {fmt.Errorf("x: %w", &pgconn.PgError{Code: "53300"}), true, false},
		"wrong password": {&pgconn.PgError{Code: "28P01"}, false, false},
		"in a migration": {fmt.Errorf("x: %w", driver.ErrBadConn), true, true},
	} {
		if got := pg.IsUnavailable(tc.err); got != tc.want {
			t.Errorf("%s: IsUnavailable(%v) = %v, want %v", name, tc.err, got, tc.want)
		}
		if got := pg.IsLost(tc.err); got != tc.lost {
			t.Errorf("%s: IsLost(%v) = %v, want %v", name, tc.err, got, tc.lost)
		}
	}
}

func TestAssertDurable(t *testing.T) {
	if err := pg.AssertDurable(t.Context(), pgtest.Pool(t, nil, "")); err == nil || !strings.Contains(err.Error(), "fsync") {
		t.Errorf("AssertDurable on a test server = %v, want fsync blamed", err)
	}
}

func TestOpenHidesThePassword(t *testing.T) {
	_, err := pg.Open(t.Context(), pg.Config{URL: "postgres://u:hunter2@h:nonsense/x"})
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("Open = %v, want an error without the password", err)
	}
}

func closedPort(t *testing.T) settings.URL {
	t.Helper()
	return settings.URL("postgres://u:hunter2@" + porttest.Reserve(t) + "/x?sslmode=disable")
}
