package pg_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/starling-chat/starling/platform/pg"
	"github.com/starling-chat/starling/platform/pg/pgtest"
)

const patience = 30 * time.Second // guards against hanging only

// until repeats try until it succeeds.
func until(t *testing.T, what string, try func() error) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s still fails after %s: %v", what, patience, err)
		}
	}
}

// warm opens n connections of the pool, so that many are old when the primary changes.
func warm(t *testing.T, pool *pgxpool.Pool, n int) {
	t.Helper()
	held := make([]*pgxpool.Conn, n)
	for i := range held {
		conn, err := pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		held[i] = conn
	}
	for _, conn := range held {
		conn.Release()
	}
}

// TestFailover tries everything on one pair of servers, which takes seconds to start.
func TestFailover(t *testing.T) {
	servers := pgtest.NewPair(t)
	for _, tc := range []struct {
		name string
		try  func(*testing.T, *pgtest.Pair)
	}{
		{"writes follow", writesFollow},
		{"repeats do not fail", repeatsDoNotFail},
		{"reads follow", readsFollow},
		{"read-only is away", readOnlyIsAway},
		{"hosts of the URL", hostsOfTheURL},
	} {
		t.Run(tc.name, func(t *testing.T) {
			servers.Reset(t)
			tc.try(t, servers)
		})
	}
}

// prepare migrates a pair of servers and gives a pool on it with connections to the first one.
func prepare(t *testing.T, servers *pgtest.Pair) *pgxpool.Pool {
	t.Helper()
	cfg := servers.Config("s")
	if err := pg.Migrate(t.Context(), cfg, migrations(), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	pool, err := pg.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	warm(t, pool, 6)
	return pool
}

// failOver changes primaries and migrates the new one.
func failOver(t *testing.T, servers *pgtest.Pair) {
	t.Helper()
	servers.FailOver(t)
	if err := pg.Migrate(t.Context(), servers.Config("s"), migrations(), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
}

// writesFollow: connections to the former primary stay alive and take no writes. The first write that finds out
// ends them all; the next ones reach the new primary.
func writesFollow(t *testing.T, servers *pgtest.Pair) {
	pool := prepare(t, servers)
	store := pg.NewStore(pool)
	insert := func(ctx context.Context) error {
		_, err := pool.Exec(ctx, "INSERT INTO account (id) SELECT coalesce(max(id), 0) + 1 FROM account")
		return err
	}
	if err := store.Once(t.Context(), "insert", insert); err != nil {
		t.Fatal(err)
	}
	failOver(t, servers)
	failures := 0
	until(t, "a write", func() error {
		err := store.Once(t.Context(), "insert", insert)
		if err != nil {
			failures++
			if !pg.IsUnavailable(err) {
				t.Fatalf("a write in the failover = %v, want unavailable", err)
			}
		}
		return err
	})
	// Of six old connections one may be tried, perhaps beside a reconnection: not each on its own.
	if failures > 2 {
		t.Errorf("%d writes failed after the failover, want the first to end all old connections", failures)
	}
	if n := servers.Ask(t, "SELECT count(*)::text FROM s.account"); n != "1" {
		t.Errorf("the new primary has %s rows, want 1", n)
	}
}

// repeatsDoNotFail: what may be repeated does not fail at all.
func repeatsDoNotFail(t *testing.T, servers *pgtest.Pair) {
	pool := prepare(t, servers)
	store := pg.NewStore(pool)
	failOver(t, servers)
	err := store.Do(t.Context(), "insert", func(ctx context.Context) error {
		_, err := pool.Exec(ctx, "INSERT INTO account (id) VALUES (7)")
		return err
	})
	if err != nil {
		t.Errorf("Do in a failover = %v, want nil from the new primary", err)
	}
}

// readsFollow: a service that only reads notices too, for the former primary answers reads from the past for ever.
func readsFollow(t *testing.T, servers *pgtest.Pair) {
	pool := prepare(t, servers)
	store := pg.NewStore(pool)
	const count = "SELECT count(*) FROM account"
	failOver(t, servers)
	if _, err := pool.Exec(t.Context(), "SELECT 1"); err != nil {
		t.Fatal(err)
	}
	servers.Write(t, "INSERT INTO s.account (id) VALUES (1)")
	until(t, "a read", func() error {
		var n int
		err := store.Do(t.Context(), "read", func(ctx context.Context) error { return pool.QueryRow(ctx, count).Scan(&n) })
		if err == nil && n != 1 {
			err = errors.New("answered by the former primary")
		}
		return err
	})
	// None of the old connections is left to answer.
	warm(t, pool, 6)
	for range 50 {
		var n int
		if err := pool.QueryRow(t.Context(), count).Scan(&n); err != nil || n != 1 {
			t.Fatalf("a read = %d rows, %v, want those of the new primary", n, err)
		}
	}
}

// readOnlyIsAway: while there is no primary at all, the store is not ready, says why, and comes back by itself.
func readOnlyIsAway(t *testing.T, servers *pgtest.Pair) {
	pool := prepare(t, servers)
	store := pg.NewStore(pool)
	servers.Demote(t)
	until(t, "to be not ready", func() error {
		if err := store.Ready(t.Context()); err == nil {
			return errors.New("ready on a server that takes no writes")
		}
		return nil
	})
	_, err := pool.Exec(t.Context(), "INSERT INTO account (id) VALUES (1)")
	if !pg.IsUnavailable(err) || !errors.Is(err, pg.ErrReadOnly) {
		t.Errorf("a write without a primary = %v, want unavailable because of %v", err, pg.ErrReadOnly)
	}
	servers.Promote(t)
	until(t, "to be ready", func() error { return store.Ready(t.Context()) })
}

// hostsOfTheURL: of several hosts in the URL the one that takes writes is used, without target_session_attrs.
func hostsOfTheURL(t *testing.T, servers *pgtest.Pair) {
	prepare(t, servers)
	servers.FailOver(t)
	cfg := servers.Direct(t, "s") // the former primary first
	if err := pg.Migrate(t.Context(), cfg, migrations(), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	pool, err := pg.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if _, err := pool.Exec(t.Context(), "INSERT INTO account (id) VALUES (1)"); err != nil {
		t.Errorf("a write with a standby as the first host = %v, want nil", err)
	}
}

// TestEncoding: a database that cannot hold every text is refused, at once and by name.
func TestEncoding(t *testing.T) {
	for _, encoding := range []string{"LATIN1", "SQL_ASCII", "EUC_JP"} {
		cfg := pgtest.NewEncoded(t, encoding, "s")
		err := pg.Migrate(t.Context(), cfg, migrations(), slog.New(slog.DiscardHandler))
		if !errors.Is(err, pg.ErrUnfit) || pg.IsUnavailable(err) || !strings.Contains(err.Error(), encoding) || !strings.Contains(err.Error(), "UTF8") {
			t.Errorf("Migrate of a database in %s = %v, want ErrUnfit that names both encodings", encoding, err)
		}
		pool, err := pg.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := pg.Await(t.Context(), pool, slog.New(slog.DiscardHandler)); !errors.Is(err, pg.ErrUnfit) {
			t.Errorf("Await of a database in %s = %v, want ErrUnfit", encoding, err)
		}
		pool.Close()
	}
}
