package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/starling-chat/starling/auth-service/internal/auth"
	"github.com/starling-chat/starling/platform/pg"
	"github.com/starling-chat/starling/proto/fault"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations are the goose files, at the root of the returned file system.
func Migrations() fs.FS {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) // the path is a constant
	}
	return sub
}

var _ auth.Store = (*Store)(nil)

// Store implements auth.Store.
type Store struct {
	pool    *pgxpool.Pool
	circuit pg.Circuit // around all that requests wait for
}

// NewStore uses a pool whose search_path is the schema auth. The caller closes it.
func NewStore(pool *pgxpool.Pool) *Store { return &Store{pool: pool} }

// SQLSTATE codes of a schema that has not been migrated yet.
const (
	codeUndefinedTable = "42P01"
	codeInvalidSchema  = "3F000"
)

// wrap says what was attempted and makes an outage, which includes a schema that is still to be migrated, Unavailable.
func wrap(act string, err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%s: %w", act, err)
	var pgErr *pgconn.PgError
	missing := errors.As(err, &pgErr) && (pgErr.Code == codeUndefinedTable || pgErr.Code == codeInvalidSchema)
	if missing || pg.IsUnavailable(err) {
		return &fault.Error{Kind: fault.Unavailable, Message: "Service unavailable", RetryAfter: time.Second, Cause: err}
	}
	return err
}

// inTx runs f in a transaction; auth's sentinels come back as they are.
func (s *Store) inTx(ctx context.Context, act string, f func(pgx.Tx) error) error {
	return wrap(act, s.circuit.Do(ctx, func(ctx context.Context) error { return pg.InTx(ctx, s.pool, f) }))
}

// exec runs one statement.
func (s *Store) exec(ctx context.Context, sql string, args ...any) error {
	return s.circuit.Do(ctx, func(ctx context.Context) error {
		_, err := s.pool.Exec(ctx, sql, args...)
		return err
	})
}

// noRows replaces the absence of a row.
func noRows(err, instead error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return instead
	}
	return err
}

const (
	sqlDropTokens      = `DELETE FROM refresh_tokens WHERE expires_at < now()`
	sqlDropSalts       = `UPDATE refresh_tokens SET successor_salt = NULL WHERE successor_salt IS NOT NULL AND spent_at < now() - $1::interval`
	sqlDropLogins      = `DELETE FROM logins WHERE expires_at < now()`
	sqlDropRevocations = `DELETE FROM revocations WHERE announced AND revoked_at < now() - $1::interval`
)

// Prune implements auth.Store.
func (s *Store) Prune(ctx context.Context, keepRevocations time.Duration) (int64, error) {
	var rows int64
	for _, q := range []struct {
		sql  string
		args []any
	}{
		{sqlDropTokens, nil},
		{sqlDropSalts, []any{2 * auth.RefreshGrace}},
		{sqlDropLogins, nil},
		{sqlDropRevocations, []any{keepRevocations}},
	} {
		tag, err := s.pool.Exec(ctx, q.sql, q.args...)
		if err != nil {
			return rows, wrap("prune", err)
		}
		rows += tag.RowsAffected()
	}
	return rows, nil
}
