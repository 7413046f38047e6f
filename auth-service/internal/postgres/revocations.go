package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/starling-chat/starling/auth-service/internal/auth"
	"github.com/starling-chat/starling/platform/pg"
)

const (
	sqlLockUserForRevoke = `SELECT 1 FROM users WHERE id = $1 AND deleted_at IS NULL FOR UPDATE`

	// The next millisecond is after everything that was issued under the locks before; never back, if the clock is. A foreign
	// token that was seen is covered, although the clock that dated it is ahead.
	sqlRevokeUser = `UPDATE users SET generation = generation + 1,
    revoked_at = date_trunc('milliseconds', greatest(clock_timestamp(), revoked_at, dated_ahead)) + interval '1 millisecond'
WHERE id = $1 RETURNING revoked_at, generation`

	sqlEndLoginsOfUser = `UPDATE logins SET ended_at = clock_timestamp() WHERE user_id = $1 AND ended_at IS NULL`
)

// RevokeUser implements auth.RevocationStore.
func (s *Store) RevokeUser(ctx context.Context, id auth.UserID) (r auth.Revocation, err error) {
	err = s.Tx(ctx, "revoke user", func(tx pgx.Tx) error {
		r, err = revokeUser(ctx, tx, id, letIn)
		return err
	})
	return r, err
}

// after tells whether a user is let in after a revocation, with a token that is issued later.
type after bool

const (
	letIn   after = true
	shutOut after = false
)

func revokeUser(ctx context.Context, tx pgx.Tx, id auth.UserID, then after) (auth.Revocation, error) {
	r := auth.Revocation{UserID: id}
	var one int
	var generation int64
	if err := tx.QueryRow(ctx, sqlLockUserForRevoke, id).Scan(&one); err != nil {
		return r, pg.NoRows(err, auth.ErrUserNotFound)
	}
	if err := tx.QueryRow(ctx, sqlRevokeUser, id).Scan(&r.RevokedAt, &generation); err != nil {
		return r, err
	}
	if then == shutOut {
		r.Generation = generation
	}
	if _, err := tx.Exec(ctx, sqlEndLoginsOfUser, id); err != nil {
		return r, err
	}
	return appendRevocation(ctx, tx, r)
}

const (
	sqlAdvanceHead      = `UPDATE revocation_head SET id = id + 1 RETURNING id`
	sqlInsertRevocation = `INSERT INTO revocations (id, user_id, login_id, revoked_at, generation)
VALUES ($1, $2, $3::uuid, $4, nullif($5::bigint, 0))`
)

// appendRevocation takes the log's lock until the commit, so it comes last.
func appendRevocation(ctx context.Context, tx pgx.Tx, r auth.Revocation) (auth.Revocation, error) {
	if err := tx.QueryRow(ctx, sqlAdvanceHead).Scan(&r.ID); err != nil {
		return r, err
	}
	_, err := tx.Exec(ctx, sqlInsertRevocation, r.ID, r.UserID, nullable(r.LoginID), r.RevokedAt, r.Generation)
	return r, err
}

// One statement sees one moment: no revocation up to the head is missing. Without rows the head still comes.
const sqlRevocations = `SELECT h.id, now(), r.id, r.user_id, coalesce(r.login_id::text, ''), r.revoked_at, coalesce(r.generation, 0)
FROM revocation_head h LEFT JOIN LATERAL (
    SELECT id, user_id, login_id, revoked_at, generation FROM revocations WHERE id > $1 ORDER BY id LIMIT $2
) r ON true ORDER BY r.id`

// Revocations implements auth.RevocationStore.
func (s *Store) Revocations(ctx context.Context, after int64, limit int) (auth.RevocationPage, error) {
	var page auth.RevocationPage
	err := s.Do(ctx, "select revocations", func(ctx context.Context) (err error) {
		page, err = s.revocations(ctx, after, limit)
		return err
	})
	return page, err
}

func (s *Store) revocations(ctx context.Context, after int64, limit int) (auth.RevocationPage, error) {
	var page auth.RevocationPage
	rows, err := s.pool.Query(ctx, sqlRevocations, after, limit)
	if err != nil {
		return page, err
	}
	defer rows.Close()
	for rows.Next() {
		var id *int64
		var user *auth.UserID
		var login auth.LoginID
		var at *time.Time
		var generation int64
		if err := rows.Scan(&page.NewestID, &page.Now, &id, &user, &login, &at, &generation); err != nil {
			return page, err
		}
		if id != nil && user != nil && at != nil {
			page.Revocations = append(page.Revocations, auth.Revocation{
				ID: *id, UserID: *user, LoginID: login, RevokedAt: *at, Generation: generation,
			})
		}
	}
	return page, rows.Err()
}

const sqlUnannounced = `SELECT id, user_id, coalesce(login_id::text, ''), revoked_at, coalesce(generation, 0) FROM revocations
WHERE NOT announced AND revoked_at < clock_timestamp() - $1::interval ORDER BY id LIMIT $2`

// Unannounced implements auth.RevocationStore.
func (s *Store) Unannounced(ctx context.Context, age time.Duration, limit int) ([]auth.Revocation, error) {
	rows, err := s.pool.Query(ctx, sqlUnannounced, age, limit)
	if err != nil {
		return nil, pg.Wrap("select unannounced revocations", err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r auth.Revocation, err error) {
		return r, row.Scan(&r.ID, &r.UserID, &r.LoginID, &r.RevokedAt, &r.Generation)
	})
	return found, pg.Wrap("select unannounced revocations", err)
}

const sqlMarkAnnounced = `UPDATE revocations SET announced = true WHERE id = ANY ($1)`

// MarkAnnounced implements auth.RevocationStore.
func (s *Store) MarkAnnounced(ctx context.Context, ids []int64) error {
	_, err := s.pool.Exec(ctx, sqlMarkAnnounced, ids)
	return pg.Wrap("mark revocations as announced", err)
}

// replace swaps one sentinel for another.
func replace(err, old, replacement error) error {
	if errors.Is(err, old) {
		return replacement
	}
	return err
}
