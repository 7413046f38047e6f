package departures

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/platform/pg"
)

// Departures implements Store of the other package departures. It is safe for concurrent use.
type Departures struct {
	pool *pgxpool.Pool
	do   func(ctx context.Context, what string, f func(context.Context) error) error
}

// New returns Departures on the pool. do runs what is asked of it, and again where the connection broke.
func New(pool *pgxpool.Pool, do func(ctx context.Context, what string, f func(context.Context) error) error) *Departures {
	return &Departures{pool: pool, do: do}
}

const sqlRoomsToLeave = `
	SELECT m.room_id FROM memberships AS m JOIN rooms AS r USING (room_id)
	WHERE m.user_id = $1 AND r.kind IN ('public', 'private') LIMIT $2`

// RoomsToLeave implements departures.Store.
func (d *Departures) RoomsToLeave(ctx context.Context, user chat.UserID, limit int) (rooms []chat.RoomID, err error) {
	err = d.do(ctx, "list rooms to leave", func(ctx context.Context) error {
		rows, err := d.pool.Query(ctx, sqlRoomsToLeave, string(user), limit)
		if err != nil {
			return err
		}
		rooms, err = pgx.CollectRows(rows, pgx.RowTo[chat.RoomID])
		return err
	})
	return rooms, err
}

const sqlHeir = `
	SELECT user_id FROM memberships WHERE room_id = $1 AND user_id <> $2 AND role <> 'guest'
	ORDER BY array_position(ARRAY['owner', 'moderator', 'member'], role), joined_seq, user_id LIMIT 1`

// Heir implements departures.Store.
func (d *Departures) Heir(ctx context.Context, owner chat.Membership) (heir chat.UserID, err error) {
	err = d.do(ctx, "find an heir", func(ctx context.Context) error {
		err := d.pool.QueryRow(ctx, sqlHeir, string(owner.Room), string(owner.User)).Scan(&heir)
		return pg.NoRows(err, nil)
	})
	return heir, err
}

// forgetIn deletes how a user has used rooms.
func forgetIn() []string {
	return []string{
		`DELETE FROM receipts WHERE user_id = $1 AND room_id = ANY ($2)`,
		`DELETE FROM room_prefs WHERE user_id = $1 AND room_id = ANY ($2)`,
	}
}

// ForgetIn implements departures.Store.
func (d *Departures) ForgetIn(ctx context.Context, user chat.UserID, rooms []chat.RoomID) error {
	ids := make([]string, len(rooms))
	for i, room := range rooms {
		ids[i] = string(room)
	}
	return d.forget(ctx, forgetIn(), string(user), ids)
}

// forget deletes what is a user's own. Messages stay, with the name that they were sent under, and so do direct rooms.
func forget(user chat.UserID) []string {
	list := []string{
		`DELETE FROM user_events WHERE user_id = $1`,
		`DELETE FROM user_logs WHERE user_id = $1`,
		`DELETE FROM user_usage WHERE user_id = $1`,
		`DELETE FROM blocks WHERE user_id = $1`,
		`DELETE FROM notifications WHERE user_id = $1`,
		`DELETE FROM mentions WHERE user_id = $1`,
	}
	if user.Guest() { // a deleted user is called so in direct rooms
		list = append(list, `DELETE FROM user_names WHERE user_id = $1`)
	}
	return list
}

// Forget implements departures.Store.
func (d *Departures) Forget(ctx context.Context, user chat.UserID) error {
	return d.forget(ctx, forget(user), string(user))
}

func (d *Departures) forget(ctx context.Context, statements []string, args ...any) error {
	for _, sql := range statements {
		if err := d.do(ctx, "forget a user", func(ctx context.Context) error {
			_, err := d.pool.Exec(ctx, sql, args...)
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}
