package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/starling-chat/starling/auth-service/internal/auth"
	"github.com/starling-chat/starling/platform/pg"
)

const (
	sqlGone = `
		(SELECT id FROM users WHERE deleted_at IS NOT NULL AND NOT left_rooms LIMIT $1)
		UNION ALL
		(SELECT u.id FROM users AS u WHERE u.guest AND NOT EXISTS (SELECT FROM logins AS l WHERE l.user_id = u.id) LIMIT $1)
		LIMIT $1`

	sqlMarkLeft = `UPDATE users SET left_rooms = true WHERE id = ANY ($1) AND deleted_at IS NOT NULL`

	// Only those who have no login, also no ended one: with one its refresh tokens would be locked after the user.
	sqlDropGuests = `DELETE FROM users AS u
WHERE u.id = ANY ($1) AND u.guest AND NOT EXISTS (SELECT FROM logins AS l WHERE l.user_id = u.id)`
)

// Gone implements announcer.GoneStore.
func (s *Store) Gone(ctx context.Context, limit int) ([]auth.UserID, error) {
	rows, err := s.pool.Query(ctx, sqlGone, limit)
	if err != nil {
		return nil, pg.Wrap("select users who are no more", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[auth.UserID])
	return ids, pg.Wrap("select users who are no more", err)
}

// Left implements announcer.GoneStore.
func (s *Store) Left(ctx context.Context, ids []auth.UserID) error {
	return s.Tx(ctx, "take note that users have left", func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, sqlMarkLeft, ids); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, sqlDropGuests, ids)
		return err
	})
}
