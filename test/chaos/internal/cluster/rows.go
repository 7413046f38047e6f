package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/starling-chat/starling/proto/isotime"
	"github.com/starling-chat/starling/test/chaos/internal/history"
	"github.com/starling-chat/starling/test/internal/roomstate"
)

const (
	sqlMessages = `SELECT m.room_id, m.seq, m.id::text, m.sender_id, m.sender_name, m.content, m.type, coalesce(m.client_msg_id, ''), m.created_at,
		coalesce(m.n, 0), coalesce(m.changed, 0), coalesce(m.reaction_keys, '{}'), coalesce(m.reaction_counts, '{}'), m.pinned_at, m.edited_at, m.deleted_at,
		coalesce(m.deleted_by, ''), coalesce(m.mentions, '{}'), coalesce(m.mentions_room, false),
		coalesce(m.reply_to, 0), coalesce(q.to_id::text, ''), coalesce(q.sender_id, ''), coalesce(q.sender_name, '')
		FROM chat.messages AS m LEFT JOIN chat.replies AS q ON m.reply_to IS NOT NULL AND q.room_id = m.room_id AND q.seq = m.seq WHERE m.room_id = ANY ($1)`
	sqlReactions = `SELECT room_id, seq, user_id, key FROM chat.reactions WHERE room_id = ANY ($1)`
)

// messageRow is a message as the database has it, and by its tags as clients are to have it.
type messageRow struct {
	ID          string    `json:"id"`
	RoomID      string    `json:"roomId"`
	Seq         uint64    `json:"seq"`
	N           uint64    `json:"n,omitempty"`
	Sender      sender    `json:"sender"`
	Content     string    `json:"content"`
	Type        string    `json:"type"`
	CreatedAt   string    `json:"createdAt"`
	ClientMsgID string    `json:"clientMsgId,omitempty"`
	Changed     uint64    `json:"changed,omitempty"`
	Reactions   []counted `json:"reactions,omitempty"`
	PinnedAt    string    `json:"pinnedAt,omitempty"`
	EditedAt    string    `json:"editedAt,omitempty"`
	DeletedAt   string    `json:"deletedAt,omitempty"`
	DeletedBy   string    `json:"deletedBy,omitempty"`
	Mentions    *mentions `json:"mentions,omitempty"`
	ReplyTo     *replyTo  `json:"replyTo,omitempty"`

	named                   mentions
	answered                replyTo
	answeredSeq             uint64
	created                 time.Time
	pinned, edited, deleted *time.Time
	keys                    []string
	counts                  []int64
}

type sender struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

type mentions struct {
	Users []string `json:"users"`
	Room  bool     `json:"room"`
}

// replyTo is without a preview, which no digest has.
type replyTo struct {
	ID     string `json:"id"`
	Sender sender `json:"sender"`
}

type counted struct {
	Key   string `json:"key"`
	Count int64  `json:"count"`
}

func (m *messageRow) into() []any {
	return []any{
		&m.RoomID, &m.Seq, &m.ID, &m.Sender.ID, &m.Sender.Name, &m.Content, &m.Type, &m.ClientMsgID, &m.created,
		&m.N, &m.Changed, &m.keys, &m.counts, &m.pinned, &m.edited, &m.deleted, &m.DeletedBy,
		&m.named.Users, &m.named.Room, &m.answeredSeq, &m.answered.ID, &m.answered.Sender.ID, &m.answered.Sender.Name,
	}
}

// digest is what every client that has all of the message comes to.
func (m *messageRow) digest() (roomstate.Digest, error) {
	m.CreatedAt = string(isotime.Append(nil, m.created.UTC()))
	for text, at := range map[*string]*time.Time{&m.PinnedAt: m.pinned, &m.EditedAt: m.edited, &m.DeletedAt: m.deleted} {
		if *text = ""; at != nil {
			*text = string(isotime.Append(nil, at.UTC()))
		}
	}
	m.Reactions = nil
	for i, key := range m.keys {
		m.Reactions = append(m.Reactions, counted{key, m.counts[i]})
	}
	m.Mentions, m.ReplyTo = nil, nil
	if len(m.named.Users) > 0 || m.named.Room {
		m.Mentions = &m.named
	}
	if m.answeredSeq > 0 {
		m.ReplyTo = &m.answered
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return roomstate.Digest{}, err
	}
	room := roomstate.NewCompact()
	if err := room.Whole(raw); err != nil {
		return roomstate.Digest{}, err
	}
	return room.Digests()[0], nil
}

// readMessages adds the messages: each is its own event, and room_events holds the others (docs/adr/0002-the-room-log.md).
func (d *dump) readMessages(ctx context.Context, conn *pgx.Conn, ids []string) error {
	rows, err := conn.Query(ctx, sqlMessages, ids)
	if err != nil {
		return err
	}
	var m messageRow
	_, err = pgx.ForEachRow(rows, m.into(), func() error {
		digest, err := m.digest()
		if err != nil {
			return fmt.Errorf("message %d of room %s: %w", m.Seq, m.RoomID, err)
		}
		e := history.Event{
			Hash: history.EventHash(messageNew, m.Seq, m.Sender.ID, m.ID, ""), Body: history.Hash(m.Content), Seq: m.Seq,
			Room: d.rooms[m.RoomID], User: d.user(m.Sender.ID), Kind: messageNew, ClientMsgID: m.ClientMsgID, Message: m.ID,
			Digest: digest.Hash, Version: digest.Version, Deleted: m.deleted != nil,
			N: m.N, Lead: history.Lead(m.Content), Asides: history.Asides{Reply: m.answeredSeq, Everyone: m.named.Room},
		}
		for _, user := range m.named.Users {
			e.Asides.Mentions = append(e.Asides.Mentions, d.user(user))
		}
		for _, c := range m.Reactions {
			e.Counts = append(e.Counts, history.Count{Key: c.Key, N: int(c.Count)})
		}
		d.messages[place{e.Room, e.Seq}], d.seqs[e.Message] = len(d.h.Log), e.Seq
		d.h.Log = append(d.h.Log, e)
		return nil
	})
	return err
}

// readReactions adds who reacted to which message.
func (d *dump) readReactions(ctx context.Context, conn *pgx.Conn, ids []string) error {
	var (
		room, user, key string
		seq             uint64
	)
	rows, err := conn.Query(ctx, sqlReactions, ids)
	if err != nil {
		return err
	}
	_, err = pgx.ForEachRow(rows, []any{&room, &seq, &user, &key}, func() error {
		n, known := d.messages[place{d.rooms[room], seq}]
		if !known {
			return fmt.Errorf("a reaction to message %d of room %s, which is not there", seq, room)
		}
		e := &d.h.Log[n]
		e.Reacted = append(e.Reacted, history.Reacted{User: d.user(user), Key: key})
		return nil
	})
	return err
}

// labels finds what contents of the run begin with, wherever they are.
var labels = regexp.MustCompile(`[\w-]+ [#~]\d+ `)

// deleted are the labels of all that was said in messages which are deleted by now, as far as it is known which they are.
func deleted(h *history.History) map[string]history.Leak {
	gone, about := map[string]history.Leak{}, map[string]history.Leak{}
	for i := range h.Log {
		if e := &h.Log[i]; e.Deleted {
			about[e.ClientMsgID] = history.Leak{Room: e.Room, Seq: e.Seq}
		}
	}
	bySeq := map[place]history.Leak{}
	for _, l := range about {
		bySeq[place{l.Room, l.Seq}] = l
	}
	for i := range h.Sends {
		s := &h.Sends[i]
		if l, is := about[s.ID]; is && s.ID != "" {
			gone[history.SentLabel(h.Users[s.User].ID, s.Order)] = l
		}
	}
	for i := range h.Acts {
		a := &h.Acts[i]
		if l, is := bySeq[place{a.Room, a.Target}]; is && a.Label != "" {
			gone[a.Label] = l
		}
	}
	return gone
}

// leaks finds in some bytes what is of deleted messages.
func leaks(gone map[string]history.Leak, where string, raw []byte) (found []history.Leak) {
	for _, label := range labels.FindAll(raw, -1) {
		if l, is := gone[string(label)]; is {
			l.Where = where
			found = append(found, l)
		}
	}
	return found
}

// readLeaks looks for deleted messages in every table that has anything of messages, byte by byte.
func (d *dump) readLeaks(ctx context.Context, conn *pgx.Conn) error {
	gone := deleted(d.h)
	for _, source := range []struct{ table, column string }{
		{"messages", "content"},
		{"messages", "data"},
		{"messages", "client_msg_id"},
		{"room_events", "payload"},
		{"outbox", "payload"},
		{"replies", "preview"},
		{"message_edits", "content"},
		{"message_edits", "data"},
		{"user_events", "payload"},
		{"notifications", "body"},
		{"audit", "reason"},
	} {
		rows, err := conn.Query(ctx, `SELECT `+source.column+` FROM chat.`+source.table+` WHERE `+source.column+` IS NOT NULL`)
		if err != nil {
			return err
		}
		for rows.Next() {
			raw := rows.RawValues()[0] // binary or text, the bytes are the same
			d.h.Leaks = append(d.h.Leaks, leaks(gone, "chat."+source.table+"."+source.column, raw)...)
		}
		if err := rows.Err(); err != nil {
			return fmt.Errorf("look for deleted messages in %s: %w", source.table, err)
		}
	}
	return nil
}
