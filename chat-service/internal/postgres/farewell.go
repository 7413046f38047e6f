package postgres

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/postgres/roundtrip"
	"github.com/starling-chat/starling/chat-service/internal/rules"
)

// The members of a deleted room are told of it in transactions of their own, each of farewellMembers: one for all would keep the logs of a
// large room's members locked for seconds. rooms.told_after moves on in the transaction that tells, under the room's lock, so that everybody
// is told once, whichever replicas take part and wherever one of them ends.

// farewellMembers bounds how many members one transaction tells.
const farewellMembers = 500

const (
	sqlLockDeleted = `SELECT FROM rooms WHERE room_id = $1 AND deleted_at IS NOT NULL FOR NO KEY UPDATE`

	// Behind the room, by user id, as every batch locks logs. A statement of its own sees what the one before waited for.
	sqlLockUntold = `
		INSERT INTO user_logs (user_id)
		SELECT m.user_id FROM rooms AS r JOIN memberships AS m ON m.room_id = r.room_id AND m.user_id > r.told_after
		WHERE r.room_id = $1 AND r.deleted_at IS NOT NULL ORDER BY m.user_id LIMIT $2
		ON CONFLICT (user_id) DO UPDATE SET last_seq = user_logs.last_seq RETURNING user_id, last_seq`

	sqlTold = `UPDATE rooms SET told_after = (SELECT max(id) FROM unnest($2::text[]) AS id) WHERE room_id = $1`

	sqlUntoldRooms = `
		SELECT room_id FROM rooms AS r WHERE deleted_at IS NOT NULL
		AND EXISTS (SELECT FROM memberships AS m WHERE m.room_id = r.room_id AND m.user_id > r.told_after)
		ORDER BY deleted_at LIMIT $1`
)

// Farewell implements usecases.Store.
func (s *Store) Farewell(ctx context.Context, room chat.RoomID) (chat.Outgoing, error) {
	out, _, err := s.farewell(ctx, room, outboxGrace)
	return out, err
}

// farewellAll tells all members of a deleted room that have not been told. What goes out is left to the outbox.
func (s *Store) farewellAll(ctx context.Context, room chat.RoomID) error {
	for more := true; more; {
		var err error
		if _, more, err = s.farewell(ctx, room, 0); err != nil {
			return err
		}
	}
	return nil
}

// farewell tells the next members of a deleted room; more: there may be others. The outbox leaves what goes out to the caller for so long.
func (s *Store) farewell(ctx context.Context, room chat.RoomID, grace time.Duration) (out chat.Outgoing, more bool, err error) {
	if !s.opened.Load() {
		return out, false, errStarting
	}
	err = s.shared.Tx(ctx, "tell members of a deleted room", func(tx pgx.Tx) error {
		out, more = chat.Outgoing{}, false
		logs := map[chat.UserID]uint64{}
		err := roundtrip.Send(ctx, tx, []roundtrip.Step{
			{SQL: sqlLockDeleted, Args: []any{string(room)}},
			{SQL: sqlLockUntold, Args: []any{string(room), farewellMembers}, Scan: scanLog(logs)},
		})
		if err != nil || len(logs) == 0 {
			return err
		}
		changes := rules.Farewell(room, logs)
		steps, err := s.logSteps(&changes, &out)
		if err != nil {
			return err
		}
		id, err := uuid.NewV7()
		if err != nil {
			return err
		}
		users := make([]string, 0, len(logs))
		for user := range logs {
			users = append(users, string(user))
		}
		out.ID, more = id, len(logs) == farewellMembers
		return roundtrip.Send(ctx, tx, append(steps,
			roundtrip.Step{SQL: sqlTold, Args: []any{string(room), users}},
			roundtrip.Step{SQL: sqlInsertOutbox, Args: []any{[16]byte(id), s.codec.Batch(out.Events), grace.Milliseconds()}}))
	})
	return out, more && err == nil, err
}
