package postgres

import (
	"context"

	"github.com/starling-chat/starling/chat-service/internal/chat"
)

// The WHERE of the upsert keeps receipts from moving backwards.
const sqlMarkRead = `
	WITH me AS (
		SELECT FROM memberships WHERE room_id = $1 AND user_id = $2
	), message AS (
		SELECT seq FROM messages WHERE room_id = $1 AND seq = $3 AND id = $4
	), moved AS (
		INSERT INTO receipts (room_id, user_id, seq) SELECT $1, $2, message.seq FROM me, message
		ON CONFLICT (room_id, user_id) DO UPDATE SET seq = excluded.seq WHERE receipts.seq < excluded.seq
		RETURNING 1
	)
	SELECT EXISTS (SELECT FROM rooms WHERE room_id = $1), EXISTS (SELECT FROM me),
	       EXISTS (SELECT FROM message), EXISTS (SELECT FROM moved)`

// MarkRead implements chat.Store.
func (s *Store) MarkRead(ctx context.Context, room chat.RoomID, user chat.UserID, id chat.MessageID) (chat.ReadOutcome, error) {
	var o chat.ReadOutcome
	err := s.do(ctx, "mark read", func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, sqlMarkRead, string(room), string(user), int64(chat.SeqOf(id)), [16]byte(id)). //nolint:gosec // 40 bits
																Scan(&o.RoomExists, &o.Member, &o.MessageExists, &o.Moved)
	})
	return o, err
}
