package messages

import (
	"github.com/jackc/pgx/v5"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/postgres/roundtrip"
	"github.com/starling-chat/starling/chat-service/internal/rules"
)

const (
	// LATERAL with LIMIT makes it an index look-up per key, whatever the statistics say.
	sqlRepeats = `
		SELECT k.room_id, k.sender_id, k.client_msg_id, m.seq, m.id, m.created_at, coalesce(m.n, 0)
		FROM unnest($1::text[], $2::text[], $3::text[]) AS k (room_id, sender_id, client_msg_id)
		CROSS JOIN LATERAL (
			SELECT seq, id, created_at, n FROM messages
			WHERE room_id = k.room_id AND sender_id = k.sender_id AND client_msg_id = k.client_msg_id LIMIT 1
		) AS m`

	sqlTried = `
		SELECT k.command, m.seq, m.id, m.created_at, coalesce(m.n, 0)
		FROM unnest($1::text[], $2::bigint[], $3::uuid[], $4::bigint[]) AS k (room_id, seq, id, command)
		CROSS JOIN LATERAL (
			SELECT seq, id, created_at, n FROM messages WHERE room_id = k.room_id AND seq = k.seq AND id = k.id LIMIT 1
		) AS m`
)

// LookUpRepeats reads into state what was sent before with the same client message ids.
func LookUpRepeats(repeats []rules.Repeat, state *rules.State) roundtrip.Step {
	rooms, senders, ids := make([]string, len(repeats)), make([]string, len(repeats)), make([]string, len(repeats))
	for i, r := range repeats {
		rooms[i], senders[i], ids[i] = string(r.Room), string(r.Sender), r.ClientMsgID
	}
	state.Sent, state.Repeats = map[rules.Repeat]rules.Outcome{}, true
	return roundtrip.Step{SQL: sqlRepeats, Args: []any{rooms, senders, ids}, Scan: func(rows pgx.Rows) error {
		var r rules.Repeat
		var seq, n int64
		var o rules.Outcome
		err := rows.Scan((*string)(&r.Room), (*string)(&r.Sender), &r.ClientMsgID, &seq, (*[16]byte)(&o.ID), &o.CreatedAt, &n)
		if err != nil {
			return err
		}
		o.Seq, o.N = uint64(seq), uint64(n) //nolint:gosec // count from 0
		state.Sent[r] = o
		return nil
	}}
}

// Tried is where tries of unknown outcome would have put messages.
type Tried struct {
	rooms          []string
	seqs, commands []int64
	ids            [][16]byte
}

// Add adds the place where a try would have put the message of a command, by its index.
func (t *Tried) Add(room chat.RoomID, p rules.Position, command int) {
	t.rooms, t.seqs = append(t.rooms, string(room)), append(t.seqs, int64(p.Seq)) //nolint:gosec // 40 bits
	t.ids, t.commands = append(t.ids, p.ID), append(t.commands, int64(command))
}

// Read reads into state which of the messages there are.
func (t *Tried) Read(state *rules.State) roundtrip.Step {
	state.Written = map[int]rules.Outcome{}
	return roundtrip.Step{SQL: sqlTried, Args: []any{t.rooms, t.seqs, t.ids, t.commands}, Scan: func(rows pgx.Rows) error {
		var command, seq, n int64
		o := rules.Outcome{Changed: true}
		if err := rows.Scan(&command, &seq, (*[16]byte)(&o.ID), &o.CreatedAt, &n); err != nil {
			return err
		}
		o.Seq, o.N = uint64(seq), uint64(n) //nolint:gosec // count from 0
		state.Written[int(command)] = o
		return nil
	}}
}
