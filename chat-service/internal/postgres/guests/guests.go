package guests

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/starling-chat/starling/chat-service/internal/chat"
)

// Guests implements Store of the other package guests. It is safe for concurrent use.
type Guests struct {
	pool *pgxpool.Pool
	do   func(ctx context.Context, what string, f func(context.Context) error) error
}

// New returns Guests on the pool. do runs what is asked of it, and again where the connection broke.
func New(pool *pgxpool.Pool, do func(ctx context.Context, what string, f func(context.Context) error) error) *Guests {
	return &Guests{pool: pool, do: do}
}

// forgetGuest deletes what is a guest's own. Its messages stay, with the name that it had, and so do its direct rooms.
func forgetGuest() []string {
	return []string{
		`DELETE FROM user_events WHERE user_id = $1`,
		`DELETE FROM user_logs WHERE user_id = $1`,
		`DELETE FROM user_usage WHERE user_id = $1`,
		`DELETE FROM user_names WHERE user_id = $1`,
		`DELETE FROM blocks WHERE user_id = $1`,
		`DELETE FROM notifications WHERE user_id = $1`,
	}
}

// ForgetGuest implements guests.Store.
func (g *Guests) ForgetGuest(ctx context.Context, guest chat.UserID) error {
	for _, sql := range forgetGuest() {
		if err := g.do(ctx, "forget a guest", func(ctx context.Context) error {
			_, err := g.pool.Exec(ctx, sql, string(guest))
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

const sqlRoomsToLeave = `
	SELECT m.room_id FROM memberships AS m JOIN rooms AS r USING (room_id)
	WHERE m.user_id = $1 AND r.kind IN ('public', 'private') LIMIT $2`

// RoomsToLeave implements guests.Store.
func (g *Guests) RoomsToLeave(ctx context.Context, user chat.UserID, limit int) (rooms []chat.RoomID, err error) {
	err = g.do(ctx, "list rooms to leave", func(ctx context.Context) error {
		rows, err := g.pool.Query(ctx, sqlRoomsToLeave, string(user), limit)
		if err != nil {
			return err
		}
		rooms, err = pgx.CollectRows(rows, pgx.RowTo[chat.RoomID])
		return err
	})
	return rooms, err
}
