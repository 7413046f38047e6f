package messages

import (
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/postgres/roundtrip"
	"github.com/starling-chat/starling/chat-service/internal/rules"
)

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
			edited_at = NULL, reaction_keys = NULL, reaction_counts = NULL, pinned_at = NULL, deleted_at = $4, deleted_by = $5
		WHERE room_id = $1 AND seq = $2`

	sqlNote = `
		INSERT INTO changed_messages (room_id, seq, changed) VALUES ($1, $2, $3)
		ON CONFLICT (room_id, seq) DO UPDATE SET changed = excluded.changed`

	sqlKeep = `
		INSERT INTO message_edits (room_id, seq, version, content, data, at) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`

	sqlCount = `UPDATE messages SET changed = $3, reaction_keys = $4, reaction_counts = $5 WHERE room_id = $1 AND seq = $2`

	sqlMarkPinned = `UPDATE messages SET changed = $3, pinned_at = $4 WHERE room_id = $1 AND seq = $2`
	sqlPin        = `INSERT INTO pins (room_id, seq) VALUES ($1, $2) ON CONFLICT DO NOTHING`
	sqlUnpin      = `DELETE FROM pins WHERE room_id = $1 AND seq = $2`
	sqlCountPins  = `SELECT room_id, count(*) FROM pins WHERE room_id = ANY($1::text[]) GROUP BY room_id`

	// Rooms of which it is not kept how many messages there are: in each of them nothing happened since there is n.
	sqlUncounted = `
		SELECT r.room_id, m.seq FROM unnest($1::text[]) AS r (room_id)
		CROSS JOIN LATERAL (SELECT seq FROM messages WHERE room_id = r.room_id ORDER BY seq DESC LIMIT 1) AS m`

	sqlReacted = `
		SELECT r.room_id, r.seq, r.user_id, r.key FROM unnest($1::text[], $2::bigint[], $3::text[]) AS k (room_id, seq, user_id)
		CROSS JOIN LATERAL (
			SELECT * FROM reactions WHERE room_id = k.room_id AND seq = k.seq AND user_id = k.user_id ORDER BY at, key
		) AS r`

	sqlReact = `
		INSERT INTO reactions (room_id, seq, user_id, key)
		SELECT room_id, seq, user_id, key FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[]) AS r (room_id, seq, user_id, key)
		ON CONFLICT DO NOTHING`

	sqlUnreact = `
		DELETE FROM reactions AS r USING unnest($1::text[], $2::bigint[], $3::text[], $4::text[]) AS g (room_id, seq, user_id, key)
		WHERE r.room_id = g.room_id AND r.seq = g.seq AND r.user_id = g.user_id AND r.key = g.key`

	sqlForgetReactions = `DELETE FROM reactions WHERE room_id = $1 AND seq = $2`

	sqlForgetEdits   = `DELETE FROM message_edits WHERE room_id = $1 AND seq = $2`
	sqlForgetReply   = `DELETE FROM replies WHERE room_id = $1 AND seq = $2`
	sqlForgetPreview = `UPDATE replies SET preview = '' WHERE room_id = $1 AND to_seq = $2`

	sqlErase = `
		INSERT INTO erasures (room_id, since, due_at) VALUES ($1, clock_timestamp(), clock_timestamp())
		ON CONFLICT (room_id) DO UPDATE SET since = excluded.since, due_at = excluded.due_at`
)

// Needs reads messages, and what there is to know about them.
func Needs(needs *rules.Needs, state *rules.State) []roundtrip.Step {
	var steps []roundtrip.Step
	if len(needs.Messages) > 0 {
		steps = append(steps, LookUp(needs.Messages, state))
	}
	if len(needs.Markers) > 0 {
		steps = append(steps, needMarkers(needs.Markers, state))
	}
	if len(needs.Reactors) > 0 {
		steps = append(steps, LookUpReactions(needs.Reactors, state))
	}
	if len(needs.Pins) > 0 {
		steps = append(steps, CountPins(needs.Pins, state))
	}
	return steps
}

// Changes stores what has become of messages: reactions before what may delete them.
func Changes(changes *rules.Changes) []roundtrip.Step {
	steps := mention(React(changes.Reactions), changes.Mentions)
	for _, c := range changes.Messages {
		steps = append(steps, Change(c)...)
	}
	return steps
}

// LookUp reads messages into state.
func LookUp(refs []chat.MessageRef, state *rules.State) roundtrip.Step {
	rooms, seqs := make([]string, len(refs)), make([]int64, len(refs))
	for i, r := range refs {
		rooms[i], seqs[i] = string(r.Room), int64(r.Seq) //nolint:gosec // 40 bits
	}
	state.Messages = make(map[chat.MessageRef]chat.Message, len(refs))
	return roundtrip.Step{SQL: sqlLookUp, Args: []any{rooms, seqs}, Scan: func(rows pgx.Rows) error {
		m, err := Scan(rows)
		state.Messages[chat.MessageRef{Room: m.Room, Seq: m.Seq}] = m
		return err
	}}
}

// Insert stores a message that has Extras.
func Insert(m *chat.Message) []roundtrip.Step {
	x := m.Extras
	var replyTo *int64
	if x.ReplyTo != nil {
		replyTo = new(int64(chat.SeqOf(x.ReplyTo.ID))) //nolint:gosec // 40 bits
	}
	room, seq := string(m.Room), int64(m.Seq) //nolint:gosec // 40 bits
	steps := []roundtrip.Step{{SQL: sqlInsert, Args: []any{
		room, seq, [16]byte(m.ID), string(m.Sender.ID), m.Sender.Name, m.Content, m.Type, m.ClientMsgID, m.CreatedAt, int64(m.N), //nolint:gosec // 40 bits
		orNull(x.Format), orNull(string(x.Data)), mentioned(x), x.MentionsRoom, replyTo,
	}}}
	if r := x.ReplyTo; r != nil {
		steps = append(steps, roundtrip.Step{SQL: sqlReply, Args: []any{
			room, seq, *replyTo, [16]byte(r.ID), string(r.Sender.ID), r.Sender.Name, r.Preview,
		}})
	}
	return steps
}

// Change stores the new state of a message. Of one that is gone nothing is left that it said.
func Change(c *rules.ChangedMessage) []roundtrip.Step {
	room, seq := string(c.Room), int64(c.Seq) //nolint:gosec // 40 bits
	version := int64(c.Changed)               //nolint:gosec // 40 bits
	x := c.Extras
	steps := []roundtrip.Step{{SQL: sqlNote, Args: []any{room, seq, version}}}
	if c.Gone {
		return append(steps,
			roundtrip.Step{SQL: sqlDelete, Args: []any{room, seq, version, x.DeletedAt, string(x.DeletedBy)}},
			roundtrip.Step{SQL: sqlForgetReactions, Args: []any{room, seq}},
			roundtrip.Step{SQL: sqlUnpin, Args: []any{room, seq}},
			roundtrip.Step{SQL: sqlForgetEdits, Args: []any{room, seq}},
			roundtrip.Step{SQL: sqlForgetReply, Args: []any{room, seq}},
			roundtrip.Step{SQL: sqlForgetPreview, Args: []any{room, seq}},
			roundtrip.Step{SQL: sqlEraseLogs, Args: []any{room, seq, string(chat.LogOf(""))}},
			roundtrip.Step{SQL: sqlForgetMentions, Args: []any{room, seq}},
			roundtrip.Step{SQL: sqlErase, Args: []any{room}})
	}
	if c.Body {
		steps = append(steps, roundtrip.Step{SQL: sqlChange, Args: []any{
			room, seq, version, c.Content, orNull(string(x.Data)), mentioned(x), x.MentionsRoom, timeOrNull(x.EditedAt),
		}})
	}
	if c.Counted {
		keys, counts := make([]string, len(x.Reactions)), make([]int64, len(x.Reactions))
		for i, count := range x.Reactions {
			keys[i], counts[i] = count.Key, int64(count.N)
		}
		if len(keys) == 0 {
			keys, counts = nil, nil
		}
		steps = append(steps, roundtrip.Step{SQL: sqlCount, Args: []any{room, seq, version, keys, counts}})
	}
	if c.Pinned {
		sql := sqlPin
		if x.PinnedAt.IsZero() {
			sql = sqlUnpin
		}
		steps = append(steps, roundtrip.Step{SQL: sqlMarkPinned, Args: []any{room, seq, version, timeOrNull(x.PinnedAt)}}, roundtrip.Step{SQL: sql, Args: []any{room, seq}})
	}
	return append(steps, keep(c)...)
}

// keep stores what the message was before.
func keep(c *rules.ChangedMessage) (steps []roundtrip.Step) {
	for i := range c.Former {
		f := &c.Former[i]
		said, data := f.CreatedAt, ""
		if f.Extras != nil {
			data = string(f.Extras.Data)
			if !f.Extras.EditedAt.IsZero() {
				said = f.Extras.EditedAt
			}
		}
		steps = append(steps, roundtrip.Step{SQL: sqlKeep, Args: []any{string(c.Room), int64(c.Seq), int64(f.Version()), f.Content, orNull(data), said}}) //nolint:gosec // 40 bits
	}
	return steps
}

// LookUpReactions reads into state with which keys users have reacted to messages.
func LookUpReactions(reactors []rules.Reactor, state *rules.State) roundtrip.Step {
	rooms, seqs, users := make([]string, len(reactors)), make([]int64, len(reactors)), make([]string, len(reactors))
	for i, r := range reactors {
		rooms[i], seqs[i], users[i] = string(r.Room), int64(r.Seq), string(r.User) //nolint:gosec // 40 bits
	}
	state.Reacted = map[rules.Reactor][]string{}
	return roundtrip.Step{SQL: sqlReacted, Args: []any{rooms, seqs, users}, Scan: func(rows pgx.Rows) error {
		var r rules.Reactor
		var seq int64
		var key string
		err := rows.Scan((*string)(&r.Room), &seq, (*string)(&r.User), &key)
		r.Seq = uint64(seq) //nolint:gosec // counts from 1
		state.Reacted[r] = append(state.Reacted[r], key)
		return err
	}}
}

// CountPins reads into state how many messages of rooms are pinned.
func CountPins(rooms []chat.RoomID, state *rules.State) roundtrip.Step {
	ids := make([]string, len(rooms))
	for i, room := range rooms {
		ids[i] = string(room)
	}
	state.Pins = map[chat.RoomID]int{}
	return roundtrip.Step{SQL: sqlCountPins, Args: []any{ids}, Scan: func(rows pgx.Rows) error {
		var room string
		var n int
		err := rows.Scan(&room, &n)
		state.Pins[chat.RoomID(room)] = n
		return err
	}}
}

// CountRooms reads into state how many messages there are in rooms of which that is not kept: as many as the sequence of the last one says.
func CountRooms(rooms []chat.RoomID, state *rules.State) roundtrip.Step {
	ids := make([]string, len(rooms))
	for i, room := range rooms {
		ids[i] = string(room)
	}
	return roundtrip.Step{SQL: sqlUncounted, Args: []any{ids}, Scan: func(rows pgx.Rows) error {
		var id string
		var seq int64
		err := rows.Scan(&id, &seq)
		if room, ok := state.Rooms[chat.RoomID(id)]; ok {
			room.N = uint64(seq) //nolint:gosec // counts from 1
			state.Rooms[chat.RoomID(id)] = room
		}
		return err
	}}
}

// React stores reactions. Of one that changed more than once the last change counts.
func React(changes []rules.ChangedReaction) (steps []roundtrip.Step) {
	if len(changes) == 0 {
		return nil
	}
	type reaction struct {
		rules.Reactor
		key string
	}
	last := make(map[reaction]int, len(changes))
	for i, c := range changes {
		last[reaction{c.Reactor, c.Key}] = i
	}
	for _, off := range []bool{false, true} {
		var rooms, users, keys []string
		var seqs []int64
		for i, c := range changes {
			if c.Off == off && last[reaction{c.Reactor, c.Key}] == i {
				rooms, seqs = append(rooms, string(c.Room)), append(seqs, int64(c.Seq)) //nolint:gosec // 40 bits
				users, keys = append(users, string(c.User)), append(keys, c.Key)
			}
		}
		if sql := map[bool]string{false: sqlReact, true: sqlUnreact}[off]; len(rooms) > 0 {
			steps = append(steps, roundtrip.Step{SQL: sql, Args: []any{rooms, seqs, users, keys}})
		}
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
