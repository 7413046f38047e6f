package messages

import (
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/starling-chat/starling/chat-service/internal/chat"
)

// Step is one statement of a round trip, and what becomes of each of its rows.
type Step struct {
	SQL  string
	Args []any
	Scan func(pgx.Rows) error // nil = it gives no rows
}

const (
	sqlLookUp = `
		SELECT ` + Columns + ` FROM unnest($1::text[], $2::bigint[]) AS k (room_id, seq)
		CROSS JOIN LATERAL (SELECT * FROM messages WHERE room_id = k.room_id AND seq = k.seq LIMIT 1) AS m` + Reply

	sqlInsert = `
		INSERT INTO messages (room_id, seq, id, sender_id, sender_name, content, type, client_msg_id, created_at, n,
			format, data, mentions, mentions_room, reply_to)
		VALUES ($1, $2, $3, $4, $5, $6, $7, NULLIF($8, ''), $9, $10, $11, $12, $13, $14, $15)`

	sqlReply = `
		INSERT INTO replies (room_id, seq, to_seq, to_id, sender_id, sender_name, preview) VALUES ($1, $2, $3, $4, $5, $6, $7)`

	sqlChange = `
		UPDATE messages SET changed = $3, content = $4, data = $5, mentions = $6, mentions_room = $7, edited_at = $8
		WHERE room_id = $1 AND seq = $2`

	sqlDelete = `
		UPDATE messages SET changed = $3, content = '', format = NULL, data = NULL, mentions = NULL, mentions_room = NULL, reply_to = NULL,
			edited_at = NULL, deleted_at = $4, deleted_by = $5
		WHERE room_id = $1 AND seq = $2`

	sqlNote = `
		INSERT INTO changed_messages (room_id, seq, changed) VALUES ($1, $2, $3)
		ON CONFLICT (room_id, seq) DO UPDATE SET changed = excluded.changed`

	sqlKeep = `
		INSERT INTO message_edits (room_id, seq, version, content, data, at) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`

	sqlForgetEdits   = `DELETE FROM message_edits WHERE room_id = $1 AND seq = $2`
	sqlForgetReply   = `DELETE FROM replies WHERE room_id = $1 AND seq = $2`
	sqlForgetPreview = `UPDATE replies SET preview = '' WHERE room_id = $1 AND to_seq = $2`

	// What the stream does not have yet, it does not get: gateways find the events of such a row in the log. The message, and those that
	// quote it, have its id in them.
	sqlForgetOutbox = `DELETE FROM outbox WHERE position($1::bytea IN payload) > 0`

	sqlErase = `
		INSERT INTO erasures (room_id, since, due_at) VALUES ($1, clock_timestamp(), clock_timestamp())
		ON CONFLICT (room_id) DO UPDATE SET since = excluded.since, due_at = excluded.due_at`
)

// LookUp reads messages into state.
func LookUp(refs []chat.MessageRef, state *chat.State) Step {
	rooms, seqs := make([]string, len(refs)), make([]int64, len(refs))
	for i, r := range refs {
		rooms[i], seqs[i] = string(r.Room), int64(r.Seq) //nolint:gosec // 40 bits
	}
	state.Messages = make(map[chat.MessageRef]chat.Message, len(refs))
	return Step{sqlLookUp, []any{rooms, seqs}, func(rows pgx.Rows) error {
		m, err := Scan(rows)
		state.Messages[chat.MessageRef{Room: m.Room, Seq: m.Seq}] = m
		return err
	}}
}

// Insert stores a message that has Extras.
func Insert(m *chat.Message) []Step {
	x := m.Extras
	var replyTo *int64
	if x.ReplyTo != nil {
		replyTo = new(int64(chat.SeqOf(x.ReplyTo.ID))) //nolint:gosec // 40 bits
	}
	room, seq := string(m.Room), int64(m.Seq) //nolint:gosec // 40 bits
	steps := []Step{{SQL: sqlInsert, Args: []any{
		room, seq, [16]byte(m.ID), string(m.Sender.ID), m.Sender.Name, m.Content, m.Type, m.ClientMsgID, m.CreatedAt, int64(m.N), //nolint:gosec // 40 bits
		orNull(x.Format), orNull(string(x.Data)), mentioned(x), x.MentionsRoom, replyTo,
	}}}
	if r := x.ReplyTo; r != nil {
		steps = append(steps, Step{SQL: sqlReply, Args: []any{
			room, seq, *replyTo, [16]byte(r.ID), string(r.Sender.ID), r.Sender.Name, r.Preview,
		}})
	}
	return steps
}

// Change stores the new state of a message. Of one that is gone nothing is left that it said.
func Change(c *chat.ChangedMessage) []Step {
	room, seq := string(c.Room), int64(c.Seq) //nolint:gosec // 40 bits
	version := int64(c.Changed)               //nolint:gosec // 40 bits
	x := c.Extras
	steps := []Step{{SQL: sqlNote, Args: []any{room, seq, version}}}
	if c.Gone {
		return append(steps,
			Step{SQL: sqlDelete, Args: []any{room, seq, version, x.DeletedAt, string(x.DeletedBy)}},
			Step{SQL: sqlForgetEdits, Args: []any{room, seq}},
			Step{SQL: sqlForgetReply, Args: []any{room, seq}},
			Step{SQL: sqlForgetPreview, Args: []any{room, seq}},
			Step{SQL: sqlForgetOutbox, Args: []any{[]byte(c.ID.String())}},
			Step{SQL: sqlErase, Args: []any{room}})
	}
	if c.Body {
		steps = append(steps, Step{SQL: sqlChange, Args: []any{
			room, seq, version, c.Content, orNull(string(x.Data)), mentioned(x), x.MentionsRoom, timeOrNull(x.EditedAt),
		}})
	}
	for i := range c.Former {
		f := &c.Former[i]
		said, data := f.CreatedAt, ""
		if f.Extras != nil {
			data = string(f.Extras.Data)
			if !f.Extras.EditedAt.IsZero() {
				said = f.Extras.EditedAt
			}
		}
		steps = append(steps, Step{SQL: sqlKeep, Args: []any{room, seq, int64(f.Version()), f.Content, orNull(data), said}}) //nolint:gosec // 40 bits
	}
	return steps
}

func mentioned(x *chat.Extras) []string {
	if len(x.Mentioned) == 0 {
		return nil
	}
	users := make([]string, len(x.Mentioned))
	for i, user := range x.Mentioned {
		users[i] = string(user)
	}
	return users
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
