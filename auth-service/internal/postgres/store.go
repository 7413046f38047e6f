package postgres

import (
	"context"
	"embed"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/starling-chat/starling/auth-service/internal/auth"
	"github.com/starling-chat/starling/platform/pg"
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
	*pg.Store // asks for all that requests wait for; what nobody waits for uses pool
	pool      *pgxpool.Pool
}

// NewStore uses a pool whose search_path is the schema auth. The caller closes it.
func NewStore(pool *pgxpool.Pool) *Store { return &Store{pg.NewStore(pool), pool} }

// exec runs one statement, once.
func (s *Store) exec(ctx context.Context, act, sql string, args ...any) error {
	return s.Once(ctx, act, func(ctx context.Context) error {
		_, err := s.pool.Exec(ctx, sql, args...)
		return err
	})
}

const (
	sqlDropTokens = `DELETE FROM refresh_tokens WHERE expires_at < now()`
	// The token of a login that was spent last leads to the living one, should the answer have been lost.
	sqlDropSalts = `UPDATE refresh_tokens t SET successor_salt = NULL
WHERE t.successor_salt IS NOT NULL AND t.spent_at < now() - $1::interval
AND EXISTS (SELECT FROM refresh_tokens later WHERE later.login_id = t.login_id AND later.spent_at > t.spent_at)`
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
			return rows, pg.Wrap("prune", err)
		}
		rows += tag.RowsAffected()
	}
	return rows, nil
}
