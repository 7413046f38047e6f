package messages

import (
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/message"
)

const (
	// Columns are those of a message, of a query whose FROM ends with From.
	Columns = `m.room_id, m.seq, m.id, m.sender_id, m.sender_name, m.content, m.type, coalesce(m.client_msg_id, ''), m.created_at, ` + Rare

	// Rare are those that few messages have; the last ones are of Reply.
	Rare = `m.n, m.changed, m.format, m.data, m.mentions, m.mentions_room, m.edited_at, m.deleted_at, m.deleted_by,
		m.reaction_keys, m.reaction_counts, m.pinned_at,
		q.to_id, q.sender_id, q.sender_name, q.preview`

	// Reply joins what the message m answers; it is looked for where there is something. LATERAL with LIMIT makes it an index look-up,
	// whatever the statistics say.
	Reply = ` LEFT JOIN LATERAL (SELECT * FROM replies WHERE m.reply_to IS NOT NULL AND room_id = m.room_id AND seq = m.seq LIMIT 1) AS q ON true`

	// From is where Columns are from.
	From = ` FROM messages AS m` + Reply
)

// RareRow takes Rare.
type RareRow struct {
	n, changed   *int64
	format, data *string
	mentioned    []string
	mentionsRoom *bool
	edited, gone *time.Time
	keys         []string
	counts       []int64
	pinned       *time.Time
	deletedBy    *string
	replyTo      *[16]byte
	of, ofName   *string
	preview      *string
}

// Into lists where the columns go.
func (r *RareRow) Into() []any {
	return []any{
		&r.n, &r.changed, &r.format, &r.data, &r.mentioned, &r.mentionsRoom, &r.edited, &r.gone, &r.deletedBy,
		&r.keys, &r.counts, &r.pinned,
		&r.replyTo, &r.of, &r.ofName, &r.preview,
	}
}

// Complete gives a message what the columns say.
func (r *RareRow) Complete(m *chat.Message) {
	m.N, m.Changed = number(r.n), number(r.changed)
	if r.format == nil && r.data == nil && r.mentioned == nil && r.mentionsRoom == nil && r.edited == nil && r.gone == nil && r.replyTo == nil && r.keys == nil && r.pinned == nil {
		return
	}
	x := &chat.Extras{
		Format: text(r.format), MentionsRoom: r.mentionsRoom != nil && *r.mentionsRoom,
		PinnedAt: at(r.pinned), EditedAt: at(r.edited), DeletedAt: at(r.gone), DeletedBy: chat.UserID(text(r.deletedBy)),
	}
	for i, key := range r.keys {
		x.Reactions = append(x.Reactions, message.Count{Key: key, N: int(r.counts[i])})
	}
	if r.data != nil {
		x.Data = []byte(*r.data)
	}
	for _, user := range r.mentioned {
		x.Mentioned = append(x.Mentioned, chat.UserID(user))
	}
	if r.replyTo != nil {
		x.ReplyTo = &chat.Reply{ID: *r.replyTo, Sender: chat.Sender{ID: chat.UserID(text(r.of)), Name: text(r.ofName)}, Preview: text(r.preview)}
	}
	m.Extras = x
}

// Scan reads Columns.
func Scan(row pgx.CollectableRow) (chat.Message, error) {
	var m chat.Message
	var seq int64
	var rare RareRow
	err := row.Scan(append([]any{
		(*string)(&m.Room), &seq, (*[16]byte)(&m.ID), (*string)(&m.Sender.ID), &m.Sender.Name, &m.Content, &m.Type, &m.ClientMsgID, &m.CreatedAt,
	}, rare.Into()...)...)
	m.Seq = uint64(seq) //nolint:gosec // counts from 1
	rare.Complete(&m)
	return m, err
}

func number(n *int64) uint64 {
	if n == nil {
		return 0
	}
	return uint64(*n) //nolint:gosec // counts from 1
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func at(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}
