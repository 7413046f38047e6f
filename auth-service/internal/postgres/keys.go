package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/starling-chat/starling/auth-service/internal/auth"
	"github.com/starling-chat/starling/platform/pg"
)

const (
	sqlSigningKeys = `SELECT id, private, sealed, signs_from FROM signing_keys ORDER BY signs_from, id`
	sqlNow         = `SELECT clock_timestamp()`
	// The lock is this schema's own: its number is derived from the table's oid.
	sqlLockSigningKeys = `SELECT pg_advisory_xact_lock('signing_keys'::regclass::oid::bigint)`
	sqlPutSigningKey   = `INSERT INTO signing_keys (id, private, sealed, signs_from) VALUES ($1, $2, $3, $4)
ON CONFLICT (id) DO UPDATE SET private = EXCLUDED.private, sealed = EXCLUDED.sealed, signs_from = EXCLUDED.signs_from`
	sqlRemoveSigningKey = `DELETE FROM signing_keys WHERE id = ANY ($1)`
)

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func signingKeys(ctx context.Context, q querier) ([]auth.StoredKey, time.Time, error) {
	var now time.Time
	if err := q.QueryRow(ctx, sqlNow).Scan(&now); err != nil {
		return nil, now, err
	}
	rows, err := q.Query(ctx, sqlSigningKeys)
	if err != nil {
		return nil, now, err
	}
	keys, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (k auth.StoredKey, err error) {
		return k, row.Scan(&k.ID, &k.Private, &k.Sealed, &k.SignsFrom)
	})
	return keys, now, err
}

// SigningKeys implements auth.KeyStore.
func (s *Store) SigningKeys(ctx context.Context) ([]auth.StoredKey, time.Time, error) {
	var keys []auth.StoredKey
	var now time.Time
	err := s.Do(ctx, "select signing keys", func(ctx context.Context) (err error) {
		keys, now, err = signingKeys(ctx, s.pool)
		return err
	})
	return keys, now, err
}

// EditSigningKeys implements auth.KeyStore.
func (s *Store) EditSigningKeys(
	ctx context.Context, plan func([]auth.StoredKey, time.Time) (auth.KeyEdit, error),
) (keys []auth.StoredKey, err error) {
	err = s.Tx(ctx, "edit signing keys", func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, sqlLockSigningKeys); err != nil {
			return err
		}
		have, now, err := signingKeys(ctx, tx)
		if err != nil {
			return err
		}
		edit, err := plan(have, now)
		if err != nil {
			return err
		}
		for _, k := range edit.Put {
			if _, err := tx.Exec(ctx, sqlPutSigningKey, k.ID, k.Private, k.Sealed, k.SignsFrom); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, sqlRemoveSigningKey, edit.Remove); err != nil {
			return err
		}
		keys, _, err = signingKeys(ctx, tx)
		return err
	})
	return keys, err
}

const sqlAPIKey = `SELECT name, scopes, expires_at FROM api_keys WHERE hash = $1`

// APIKey implements auth.KeyStore.
func (s *Store) APIKey(ctx context.Context, hash auth.TokenHash) (auth.APIKey, error) {
	var k auth.APIKey
	var expires *time.Time
	err := s.Do(ctx, "select API key", func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, sqlAPIKey, hash[:]).Scan(&k.Name, &k.Scopes, &expires)
	})
	if expires != nil {
		k.Expires = *expires
	}
	return k, pg.NoRows(err, auth.ErrKeyUnknown)
}

const sqlPutAPIKey = `INSERT INTO api_keys (name, hash, scopes) VALUES ($1, $2, $3)
ON CONFLICT (name) DO UPDATE SET hash = EXCLUDED.hash, scopes = EXCLUDED.scopes, expires_at = NULL`

// PutAPIKey implements auth.KeyStore.
func (s *Store) PutAPIKey(ctx context.Context, key auth.APIKey, hash auth.TokenHash) error {
	_, err := s.pool.Exec(ctx, sqlPutAPIKey, key.Name, hash[:], key.Scopes)
	return pg.Wrap("put API key", err)
}
