package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/starling-chat/starling/auth-service/internal/auth"
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
