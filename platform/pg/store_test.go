package pg_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/starling-chat/starling/platform/pg"
	"github.com/starling-chat/starling/platform/pg/pgtest"
	"github.com/starling-chat/starling/proto/fault"
)

// TestStoreRefuses: what may succeed later is unavailable and says when to come back; everything else stays what it is.
func TestStoreRefuses(t *testing.T) {
	own := errors.New("no such account")
	for name, tc := range map[string]struct {
		err  error
		want fault.Kind
	}{
		"no schema yet": {&pgconn.PgError{Code: "3F000"}, fault.Unavailable},
		"no table yet":  {&pgconn.PgError{Code: "42P01"}, fault.Unavailable},
		"too busy":      {&pgconn.PgError{Code: "53300"}, fault.Unavailable},
		"circuit open":  {pg.ErrCircuitOpen, fault.Unavailable},
		"a wrong query": {&pgconn.PgError{Code: "42601"}, fault.Internal},
		"the domain's":  {own, fault.Internal},
	} {
		err := pg.NewStore(nil).Once(t.Context(), "find account", func(context.Context) error { return tc.err })
		var f *fault.Error
		if got := fault.KindOf(err); got != tc.want || !errors.Is(err, tc.err) || errors.As(err, &f) && f.RetryAfter == 0 {
			t.Errorf("%s: Once = %v, want %s that wraps the cause", name, err, tc.want)
		}
	}
	if err := pg.NoRows(pgx.ErrNoRows, own); !errors.Is(err, own) {
		t.Errorf("NoRows(no rows) = %v, want the replacement", err)
	}
}

// TestStoreRepeats: where the connection broke, Do asks again and finds PostgreSQL, Once does not.
func TestStoreRepeats(t *testing.T) {
	pool := pgtest.Pool(t, migrations(), "s")
	store := pg.NewStore(pool)
	// A backend that kills itself the first time it is asked.
	dying := func(tries *int) func(context.Context) error {
		return func(ctx context.Context) error {
			*tries++
			sql := `SELECT 1`
			if *tries == 1 {
				sql = `SELECT pg_terminate_backend(pg_backend_pid())`
			}
			_, err := pool.Exec(ctx, sql)
			return err
		}
	}
	var once, twice int
	if err := store.Once(t.Context(), "insert account", dying(&once)); fault.KindOf(err) != fault.Unavailable || once != 1 {
		t.Errorf("Once over a connection that broke = %v after %d tries, want unavailable after 1", err, once)
	}
	if err := store.Do(t.Context(), "read account", dying(&twice)); err != nil || twice != 2 {
		t.Errorf("Do over a connection that broke = %v after %d tries, want nil after 2", err, twice)
	}
	if err := store.Tx(t.Context(), "insert account", func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), `INSERT INTO account (id) VALUES (1)`)
		return err
	}); err != nil {
		t.Errorf("Tx = %v, want nil", err)
	}
}

// TestStoreReady: PostgreSQL that answers makes the store ready, one that is away does not, whoever asked it last.
func TestStoreReady(t *testing.T) {
	cfg := pgtest.New(t, migrations(), "s")
	pool, err := pg.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	store := pg.NewStore(pool)
	if err := store.Ready(t.Context()); err != nil {
		t.Errorf("Ready = %v, want nil", err)
	}
	pool.Close()
	// An answer of a moment ago stands for the next second.
	if err := store.Ready(t.Context()); err != nil {
		t.Errorf("Ready just after an answer = %v, want nil without asking", err)
	}
	away := func(ctx context.Context) error { return pool.Ping(ctx) }
	if err := store.Ask(t.Context(), away); !pg.IsUnavailable(err) {
		t.Fatalf("Ask over a closed pool = %v, want unavailable", err)
	}
	if err := store.Ready(t.Context()); err == nil || errors.Is(err, pg.ErrCircuitOpen) {
		t.Errorf("Ready without PostgreSQL = %v, want what became of asking", err)
	}
}
