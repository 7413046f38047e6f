package pg

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/starling-chat/starling/platform/run"
)

const (
	txRetries   = 3
	txRetryBase = 10 * time.Millisecond
)

// InTx runs f in a transaction, commits when f returns nil and rolls back
// otherwise. A serialization failure or deadlock repeats all of f up to three
// times, so f must have no effects outside the transaction. A connection lost at
// COMMIT is returned, not repeated: the outcome is unknown.
func InTx(ctx context.Context, pool *pgxpool.Pool, f func(pgx.Tx) error) error {
	for attempt := 0; ; attempt++ {
		err := pgx.BeginFunc(ctx, pool, f)
		if err == nil || attempt == txRetries || !IsConflict(err) {
			return err
		}
		// 10, 20, 40 ms, each plus up to as much again, so that transactions that collided do not collide again.
		pause := txRetryBase << attempt
		if !run.Pause(ctx, pause+rand.N(pause)) { //nolint:gosec // jitter, not a secret
			return err
		}
	}
}
