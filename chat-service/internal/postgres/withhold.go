package postgres

import (
	"bytes"
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/postgres/roundtrip"
	"github.com/starling-chat/starling/chat-service/internal/rules"
)

// What the stream does not have yet of a message that is deleted it does not get: the events that tell of it are taken out of the
// outbox, and gateways find them in the log, as they are by then. The rest of a row goes out. The message, and those that quote it, have
// its id in them.

const (
	sqlTelling = `
		SELECT id, payload FROM outbox
		WHERE EXISTS (SELECT 1 FROM unnest($1::bytea[]) AS m (id) WHERE position(m.id IN payload) > 0) ORDER BY id FOR UPDATE`

	sqlWithhold = `UPDATE outbox SET payload = $2 WHERE id = $1`
)

// withhold gives the steps by which the outbox tells no more of the messages that changes delete.
func (s *Store) withhold(ctx context.Context, to roundtrip.Sender, changes *rules.Changes) (steps []roundtrip.Step, err error) {
	var gone [][]byte
	for _, m := range changes.Messages {
		if m.Gone {
			gone = append(gone, []byte(m.ID.String()))
		}
	}
	if len(gone) == 0 {
		return nil, nil
	}
	var empty [][16]byte
	read := roundtrip.Step{SQL: sqlTelling, Args: []any{gone}, Scan: func(rows pgx.Rows) error {
		var id [16]byte
		var payload []byte
		if err := rows.Scan(&id, &payload); err != nil {
			return err
		}
		events, _ := s.codec.SplitBatch(payload) // none where the row is not readable: nobody can publish it
		events = slices.DeleteFunc(events, func(e chat.EncodedEvent) bool {
			return slices.ContainsFunc(gone, func(id []byte) bool { return bytes.Contains(e.Bytes, id) })
		})
		if len(events) == 0 {
			empty = append(empty, id)
			return nil
		}
		steps = append(steps, roundtrip.Step{SQL: sqlWithhold, Args: []any{id, s.codec.Batch(events)}})
		return nil
	}}
	err = roundtrip.Send(ctx, to, []roundtrip.Step{read})
	if len(empty) > 0 {
		steps = append(steps, roundtrip.Step{SQL: sqlDone, Args: []any{empty}})
	}
	return steps, err
}
