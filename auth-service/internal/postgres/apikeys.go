package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/starling-chat/starling/auth-service/internal/apikeys"
	"github.com/starling-chat/starling/auth-service/internal/auth"
	"github.com/starling-chat/starling/platform/pg"
)

var _ apikeys.Store = (*Store)(nil)

const keyColumns = `name, scopes, expires_at, created_at, used_at`

func scanKey(row pgx.Row) (apikeys.Key, error) {
	var k apikeys.Key
	var expires, used *time.Time
	err := row.Scan(&k.Name, &k.Scopes, &expires, &k.CreatedAt, &used)
	if expires != nil {
		k.Expires = *expires
	}
	if used != nil {
		k.UsedAt = *used
	}
	return k, err
}

const sqlAddKey = `INSERT INTO api_keys (name, hash, scopes, expires_at)
SELECT $1, $2, $3, $4 WHERE (SELECT count(*) FROM api_keys) < $5 RETURNING ` + keyColumns

// AddKey implements apikeys.Store.
func (s *Store) AddKey(ctx context.Context, key auth.APIKey, hash auth.TokenHash, most int) (k apikeys.Key, err error) {
	var expires *time.Time
	if !key.Expires.IsZero() {
		expires = &key.Expires
	}
	err = s.Once(ctx, "insert API key", func(ctx context.Context) (err error) {
		k, err = scanKey(s.pool.QueryRow(ctx, sqlAddKey, key.Name, hash[:], key.Scopes, expires, most))
		return err
	})
	if pg.IsUnique(err, "api_keys_pkey") {
		return k, apikeys.ErrExists
	}
	return k, pg.NoRows(err, apikeys.ErrTooMany)
}

const sqlKeys = `SELECT ` + keyColumns + ` FROM api_keys ORDER BY name`

// Keys implements apikeys.Store.
func (s *Store) Keys(ctx context.Context) (keys []apikeys.Key, err error) {
	err = s.Do(ctx, "select API keys", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, sqlKeys)
		if err != nil {
			return err
		}
		keys, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (apikeys.Key, error) { return scanKey(row) })
		return err
	})
	return keys, err
}

const sqlRemoveKey = `DELETE FROM api_keys WHERE name = $1 RETURNING name`

// RemoveKey implements apikeys.Store.
func (s *Store) RemoveKey(ctx context.Context, name string) error {
	err := s.Once(ctx, "delete API key", func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, sqlRemoveKey, name).Scan(&name)
	})
	return pg.NoRows(err, auth.ErrKeyUnknown)
}

// A key that is used all the time costs one write a minute.
const sqlKeyUsed = `UPDATE api_keys SET used_at = now() WHERE hash = $1 AND (used_at IS NULL OR used_at < now() - interval '1 minute')`

// KeyUsed implements auth.KeyStore.
func (s *Store) KeyUsed(ctx context.Context, hash auth.TokenHash) error {
	_, err := s.pool.Exec(ctx, sqlKeyUsed, hash[:])
	return pg.Wrap("note use of API key", err)
}
