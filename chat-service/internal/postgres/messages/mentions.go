package messages

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/postgres/roundtrip"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
)

// A mention of the whole room is one row, without a user. Rows of mentions that an edit took back stay, because the user's log in the stream may
// still show the message, and has to forget it when the message is deleted.
const (
	sqlMention = `
		INSERT INTO mentions (user_id, room_id, seq, at, off) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (user_id, room_id, seq) DO UPDATE SET off = excluded.off`

	sqlForgetMentions = `DELETE FROM mentions WHERE room_id = $1 AND seq = $2`

	// The logs of users in the stream have what a message said that mentioned them, and how one began that such a message answers.
	sqlEraseLogs = `
		INSERT INTO erasures (room_id, since, due_at)
		SELECT $3 || user_id, clock_timestamp(), clock_timestamp() FROM (
			SELECT user_id FROM mentions WHERE room_id = $1 AND seq = $2
			UNION SELECT m.user_id FROM replies AS q JOIN mentions AS m ON m.room_id = q.room_id AND m.seq = q.seq WHERE q.room_id = $1 AND q.to_seq = $2
		) AS told WHERE user_id <> '' ORDER BY user_id
		ON CONFLICT (room_id) DO UPDATE SET since = excluded.since, due_at = excluded.due_at`

	sqlMentions = `
		SELECT b.room_id, b.seq, b.at, b.by_token, m.seq, m.id, m.sender_id, m.sender_name, m.content, m.type, coalesce(m.client_msg_id, ''), m.created_at, ` + Rare + `
		FROM (
			SELECT a.room_id, a.seq, a.at, bool_and(a.by_token) AS by_token FROM (
				(SELECT n.room_id, n.seq, n.at, me.by_token FROM mentions AS n JOIN memberships AS me ON me.room_id = n.room_id AND me.user_id = n.user_id
				 WHERE n.user_id = $1 AND NOT n.off AND ($2::timestamptz IS NULL OR (n.at, n.room_id, n.seq) < ($2, $3::text, $4::bigint))
				 ORDER BY n.at DESC, n.room_id DESC, n.seq DESC LIMIT $5)
				UNION
				(SELECT n.room_id, n.seq, n.at, me.by_token FROM memberships AS me CROSS JOIN LATERAL (
					SELECT room_id, seq, at FROM mentions WHERE user_id = '' AND room_id = me.room_id AND seq > me.joined_seq AND NOT off
					AND ($2::timestamptz IS NULL OR (at, room_id, seq) < ($2, $3::text, $4::bigint)) ORDER BY seq DESC LIMIT $5
				) AS n WHERE me.user_id = $1)
			) AS a GROUP BY a.room_id, a.seq, a.at ORDER BY a.at DESC, a.room_id DESC, a.seq DESC LIMIT $5
		) AS b LEFT JOIN LATERAL (SELECT * FROM messages WHERE room_id = b.room_id AND seq = b.seq LIMIT 1) AS m ON true` + Reply + `
		ORDER BY b.at DESC, b.room_id DESC, b.seq DESC`
)

// mention stores mentions.
func mention(steps []roundtrip.Step, changes []rules.ChangedMention) []roundtrip.Step {
	for _, c := range changes {
		steps = append(steps, roundtrip.Step{SQL: sqlMention, Args: []any{string(c.User), string(c.Room), int64(c.Seq), c.At, c.Off}}) //nolint:gosec // 40 bits
	}
	return steps
}

// Mentions implements usecases.Store.
func (t *Table) Mentions(ctx context.Context, user chat.UserID, after usecases.MentionsCursor, limit int) (list []usecases.Mention, err error) {
	err = t.do(ctx, "list mentions", func(ctx context.Context) error {
		list = nil
		rows, err := t.pool.Query(ctx, sqlMentions, string(user), timeOrNull(after.At), string(after.Room), int64(after.Seq), limit) //nolint:gosec // 53 bits
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (m usecases.Mention, err error) {
			var message Nullable
			var seq int64
			err = row.Scan(append([]any{(*string)(&m.Place.Room), &seq, &m.Place.At, &m.ByToken}, message.Into()...)...)
			m.Place.Seq = uint64(seq) //nolint:gosec // counts from 1
			m.Message = message.Message(m.Place.Room)
			return m, err
		})
		return err
	})
	return list, err
}

// At reads the messages at places, as they are now, those that there are.
func (t *Table) At(ctx context.Context, refs []chat.MessageRef) (map[chat.MessageRef]chat.Message, error) {
	var state rules.State
	err := t.do(ctx, "read messages", func(ctx context.Context) error {
		return roundtrip.Send(ctx, t.pool, []roundtrip.Step{LookUp(refs, &state)})
	})
	return state.Messages, err
}
