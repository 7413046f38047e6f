package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/starling-chat/starling/auth-service/internal/auth"
	"github.com/starling-chat/starling/platform/pg"
)

// A guest is called in rooms by what its sockets say: its name is announced only when it changes.
const sqlCreateGuest = `INSERT INTO users (id, name, role, guest, name_version) VALUES ($1, $2, 'user', true, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)`

// BeginGuest implements auth.LoginStore: in one transaction, so that there is no guest without a login, which would be removed.
func (s *Store) BeginGuest(ctx context.Context, u auth.User, l auth.NewLogin) (g auth.Grant, err error) {
	err = s.Tx(ctx, "begin guest", func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, sqlCreateGuest, u.ID, u.Name); err != nil {
			return err
		}
		g, err = beginLogin(ctx, tx, u, l)
		return err
	})
	return g, err
}

const (
	sqlGuestsOver = `SELECT u.id FROM users AS u WHERE u.guest AND NOT EXISTS (SELECT FROM logins AS l WHERE l.user_id = u.id) LIMIT $1`

	// Only those who have no login, also no ended one: with one its refresh tokens would be locked after the user.
	sqlDropGuests = `DELETE FROM users AS u
WHERE u.id = ANY ($1) AND u.guest AND NOT EXISTS (SELECT FROM logins AS l WHERE l.user_id = u.id)`
)

// GuestsOver implements announcer.GuestStore.
func (s *Store) GuestsOver(ctx context.Context, limit int) ([]auth.UserID, error) {
	rows, err := s.pool.Query(ctx, sqlGuestsOver, limit)
	if err != nil {
		return nil, pg.Wrap("select guests who are over", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[auth.UserID])
	return ids, pg.Wrap("select guests who are over", err)
}

// DropGuests implements announcer.GuestStore.
func (s *Store) DropGuests(ctx context.Context, ids []auth.UserID) error {
	_, err := s.pool.Exec(ctx, sqlDropGuests, ids)
	return pg.Wrap("delete guests", err)
}
