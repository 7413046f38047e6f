package messages

import (
	"time"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/postgres/roundtrip"
)

const (
	sqlInsertMessages = `
		INSERT INTO messages (room_id, seq, id, sender_id, sender_name, content, type, client_msg_id, n, created_at)
		SELECT room_id, seq, id, sender_id, sender_name, content, type, NULLIF(client_msg_id, ''), n, $10
		FROM unnest($1::text[], $2::bigint[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::bigint[])
			AS m (room_id, seq, id, sender_id, sender_name, content, type, client_msg_id, n)`
)

// Rows are messages without Extras to store, column by column.
type Rows struct {
	rooms     []string
	seqs      []int64
	ids       [][16]byte
	senders   []string
	names     []string
	contents  []string
	types     []string
	clientIDs []string
	ns        []int64
}

// Grow makes room for n messages.
func (r *Rows) Grow(n int) {
	r.rooms, r.seqs, r.ids = make([]string, 0, n), make([]int64, 0, n), make([][16]byte, 0, n)
	r.senders, r.names = make([]string, 0, n), make([]string, 0, n)
	r.contents, r.types, r.clientIDs = make([]string, 0, n), make([]string, 0, n), make([]string, 0, n)
	r.ns = make([]int64, 0, n)
}

// Add adds a message.
func (r *Rows) Add(m *chat.Message) {
	r.rooms, r.seqs, r.ids = append(r.rooms, string(m.Room)), append(r.seqs, int64(m.Seq)), append(r.ids, m.ID) //nolint:gosec // 40 bits
	r.senders, r.names = append(r.senders, string(m.Sender.ID)), append(r.names, m.Sender.Name)
	r.contents, r.types = append(r.contents, m.Content), append(r.types, m.Type)
	r.clientIDs, r.ns = append(r.clientIDs, m.ClientMsgID), append(r.ns, int64(m.N)) //nolint:gosec // 40 bits
}

// Some tells that there are messages.
func (r *Rows) Some() bool { return len(r.rooms) > 0 }

// Step stores the messages, which were sent at one time.
func (r *Rows) Step(at time.Time) roundtrip.Step {
	return roundtrip.Step{SQL: sqlInsertMessages, Args: []any{
		r.rooms, r.seqs, r.ids, r.senders, r.names, r.contents, r.types, r.clientIDs, r.ns, at,
	}}
}
