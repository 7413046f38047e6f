package pg_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/starling-chat/starling/platform/pg"
	"github.com/starling-chat/starling/platform/pg/pgtest"
)

// TestHangingTransactionFreesItsRows: a process that is stopped between two statements keeps the rows of its transaction locked
// for IdleTxTimeout only, and finds out afterwards that it may try again.
func TestHangingTransactionFreesItsRows(t *testing.T) {
	cfg := pgtest.New(t, migrations(), "s")
	open := func(idle time.Duration) *pgxpool.Pool {
		cfg.IdleTxTimeout = idle
		pool, err := pg.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(pool.Close)
		return pool
	}
	hasty, pool := open(200*time.Millisecond), open(2*patience)
	const lock = "SELECT n FROM account WHERE id = 1 FOR UPDATE"
	if _, err := pool.Exec(t.Context(), "INSERT INTO account (id) VALUES (1)"); err != nil {
		t.Fatal(err)
	}
	var hanging pgx.Tx
	until(t, "to lock the row", func() (err error) { // within what a transaction has between two statements
		if hanging, err = hasty.Begin(t.Context()); err == nil {
			_, err = hanging.Exec(t.Context(), lock)
		}
		return err
	})
	defer func() { _ = hanging.Rollback(context.WithoutCancel(t.Context())) }()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := pg.InTx(ctx, pool, func(tx pgx.Tx) error { _, err := tx.Exec(ctx, lock); return err }); err != nil {
		t.Errorf("lock beside a transaction that hangs = %v, want nil", err)
	}
	if _, err := hanging.Exec(t.Context(), lock); !pg.IsUnavailable(err) {
		t.Errorf("statement of the transaction that hung = %v, want it unavailable", err)
	}
}
