package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/wire"
	"github.com/starling-chat/starling/platform/pg"
	"github.com/starling-chat/starling/platform/sabotage"
	"github.com/starling-chat/starling/proto/fault"
)

// A commit is two round trips on one connection:
//
//	1  BEGIN · create missing rooms · lock the rooms · read memberships · read what repeats     → plan.go decides
//	2  insert messages, events, memberships · advance the rooms · insert the outbox row · COMMIT
//
// After the lock nobody else changes those rooms, so what plan.go counts out in memory is what the database will hold.

const (
	sqlCreateRooms = `
		INSERT INTO rooms (room_id, name) SELECT id, id FROM unnest($1::text[]) AS id ORDER BY id
		ON CONFLICT (room_id) DO NOTHING`

	sqlLockRooms = `
		SELECT room_id, last_seq, owner_id FROM rooms WHERE room_id = ANY($1::text[]) ORDER BY room_id FOR NO KEY UPDATE`

	// LATERAL with LIMIT makes it an index look-up per pair, whatever the statistics say.
	sqlMembers = `
		SELECT p.room_id, p.user_id, m.user_name
		FROM unnest($1::text[], $2::text[]) AS p (room_id, user_id)
		CROSS JOIN LATERAL (
			SELECT user_name FROM memberships WHERE room_id = p.room_id AND user_id = p.user_id LIMIT 1
		) AS m`

	sqlRepeats = `
		SELECT k.room_id, k.sender_id, k.client_msg_id, m.seq, m.id, m.created_at
		FROM unnest($1::text[], $2::text[], $3::text[]) AS k (room_id, sender_id, client_msg_id)
		CROSS JOIN LATERAL (
			SELECT seq, id, created_at FROM messages
			WHERE room_id = k.room_id AND sender_id = k.sender_id AND client_msg_id = k.client_msg_id LIMIT 1
		) AS m`

	sqlTried = `
		SELECT m.seq, m.id, m.created_at
		FROM unnest($1::text[], $2::bigint[], $3::uuid[]) AS k (room_id, seq, id)
		CROSS JOIN LATERAL (
			SELECT seq, id, created_at FROM messages WHERE room_id = k.room_id AND seq = k.seq AND id = k.id LIMIT 1
		) AS m`

	sqlInsertMessages = `
		INSERT INTO messages (room_id, seq, id, sender_id, sender_name, content, type, client_msg_id, created_at)
		SELECT room_id, seq, id, sender_id, sender_name, content, type, NULLIF(client_msg_id, ''), $9
		FROM unnest($1::text[], $2::bigint[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[])
			AS m (room_id, seq, id, sender_id, sender_name, content, type, client_msg_id)`

	sqlInsertEvents = `
		INSERT INTO room_events (room_id, seq, payload)
		SELECT room_id, seq, payload FROM unnest($1::text[], $2::bigint[], $3::bytea[]) AS e (room_id, seq, payload)`

	sqlDeleteMembers = `
		DELETE FROM memberships AS m USING unnest($1::text[], $2::text[]) AS p (room_id, user_id)
		WHERE m.room_id = p.room_id AND m.user_id = p.user_id`

	sqlInsertMembers = `
		INSERT INTO memberships (room_id, user_id, user_name, joined_at)
		SELECT room_id, user_id, user_name, clock_timestamp() + ordinal * interval '1 microsecond'
		FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS p (room_id, user_id, user_name, ordinal)`

	sqlAdvanceRooms = `
		UPDATE rooms SET last_seq = a.last_seq, owner_id = a.owner_id
		FROM unnest($1::text[], $2::bigint[], $3::text[]) AS a (room_id, last_seq, owner_id)
		WHERE rooms.room_id = a.room_id`

	// The owner left: the longest member follows, or nobody.
	sqlPassOwnership = `
		UPDATE rooms SET owner_id = coalesce(
			(SELECT user_id FROM memberships AS m WHERE m.room_id = rooms.room_id ORDER BY joined_at, user_id LIMIT 1), '')
		WHERE room_id = ANY($1::text[])`

	// The relay leaves the row to the fast path for so long.
	sqlInsertOutbox = `
		INSERT INTO outbox (id, due_at, payload) VALUES ($1, clock_timestamp() + $3 * interval '1 millisecond', $2)`
)

// outboxGrace is how long a new outbox row is left to the fast path.
const outboxGrace = 2 * time.Second

// Commit implements chat.Store.
func (s *Store) Commit(ctx context.Context, commands []*chat.Command) ([]chat.Outcome, chat.Outgoing, error) {
	p := newPlan(commands)
	mayHaveCommitted := false
	// With its own deadline also where the circuit lets it try: a commit that is cut short has an unknown outcome.
	err := s.ask(ctx, func(context.Context) error {
		return s.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
			if err := s.prepare(ctx, conn, p); err != nil {
				return abort(ctx, conn, err)
			}
			if err := p.decide(time.Now().UTC().Truncate(time.Millisecond)); err != nil {
				return abort(ctx, conn, err)
			}
			if !p.changes() {
				_, err := conn.Exec(ctx, sqlRollback)
				return err
			}
			mayHaveCommitted = true
			err := s.write(ctx, conn, p)
			var pgErr *pgconn.PgError
			if errors.As(err, &pgErr) && pgErr.Severity == "ERROR" {
				mayHaveCommitted = false // refused before COMMIT, which then rolls back
				return abort(ctx, conn, err)
			}
			return err
		})
	})
	if err == nil {
		return p.outcomes, p.outgoing, nil
	}
	return nil, chat.Outgoing{}, classify(err, mayHaveCommitted, p)
}

// classify gives the failure the meaning that chat.Store promises.
func classify(err error, mayHaveCommitted bool, p *plan) error {
	if mayHaveCommitted {
		p.rememberAttempt()
		return fmt.Errorf("commit batch: %w: %w", chat.ErrUnknown, err)
	}
	switch {
	case pg.IsUnique(err, ""), pg.IsConflict(err):
		return fmt.Errorf("commit batch: %w: %w", chat.ErrConflict, err)
	case errors.Is(err, pg.ErrCircuitOpen):
		return fmt.Errorf("%w: %w", chat.ErrUnavailable, refusal("commit batch", err))
	case fault.KindOf(err) == fault.Unavailable || unavailable(err) || errors.Is(err, context.Canceled):
		return fmt.Errorf("commit batch: %w: %w", chat.ErrUnavailable, err)
	}
	return fmt.Errorf("commit batch: %w", err)
}

// abort ends the transaction; where even that fails, the pool closes the connection.
func abort(ctx context.Context, conn *pgxpool.Conn, cause error) error {
	if !conn.Conn().IsClosed() {
		_, _ = conn.Exec(ctx, sqlRollback)
	}
	return cause
}

// prepare is the first round trip: it locks the rooms and fills the plan with what is there.
func (s *Store) prepare(ctx context.Context, conn *pgxpool.Conn, p *plan) error {
	batch := &pgx.Batch{}
	batch.Queue(sqlBegin)
	creates, rooms, pairs, repeats, tried := p.toCreate(), p.roomIDs(), p.pairs(), p.repeats(), p.tried()
	if len(creates) > 0 {
		batch.Queue(sqlCreateRooms, creates)
	}
	batch.Queue(sqlLockRooms, rooms)
	if len(pairs.rooms) > 0 {
		batch.Queue(sqlMembers, pairs.rooms, pairs.users)
	}
	if len(repeats.rooms) > 0 {
		batch.Queue(sqlRepeats, repeats.rooms, repeats.senders, repeats.ids)
	}
	if len(tried.rooms) > 0 {
		batch.Queue(sqlTried, tried.rooms, tried.seqs, tried.ids)
	}
	results := conn.SendBatch(ctx, batch)
	err := func() error {
		if _, err := results.Exec(); err != nil {
			return err
		}
		if len(creates) > 0 {
			if _, err := results.Exec(); err != nil {
				return err
			}
		}
		if err := scanEach(results, p.foundRoom); err != nil {
			return err
		}
		if len(pairs.rooms) > 0 {
			if err := scanEach(results, p.foundMember); err != nil {
				return err
			}
		}
		if len(repeats.rooms) > 0 {
			if err := scanEach(results, p.foundRepeat); err != nil {
				return err
			}
		}
		if len(tried.rooms) > 0 {
			return scanEach(results, p.foundTried)
		}
		return nil
	}()
	if closeErr := results.Close(); err == nil {
		err = closeErr
	}
	return err
}

// scanEach calls scan for every row of the next result.
func scanEach(results pgx.BatchResults, scan func(pgx.Rows) error) error {
	rows, err := results.Query()
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// write is the second round trip.
func (s *Store) write(ctx context.Context, conn *pgxpool.Conn, p *plan) error {
	batch := &pgx.Batch{}
	if m := &p.messages; len(m.rooms) > 0 {
		batch.Queue(sqlInsertMessages, m.rooms, m.seqs, m.ids, m.senders, m.names, m.contents, m.types, m.clientIDs, p.at)
	}
	if e := &p.events; len(e.rooms) > 0 {
		batch.Queue(sqlInsertEvents, e.rooms, e.seqs, e.payloads)
	}
	gone, come := p.membershipChanges()
	if len(gone.rooms) > 0 {
		batch.Queue(sqlDeleteMembers, gone.rooms, gone.users)
	}
	if len(come.rooms) > 0 {
		batch.Queue(sqlInsertMembers, come.rooms, come.users, come.names)
	}
	rooms, seqs, owners, orphans := p.advances()
	batch.Queue(sqlAdvanceRooms, rooms, seqs, owners)
	if len(orphans) > 0 {
		batch.Queue(sqlPassOwnership, orphans)
	}
	if !sabotage.NoOutbox() {
		batch.Queue(sqlInsertOutbox, [16]byte(p.outgoing.ID), wire.Batch(p.outgoing.Events), outboxGrace.Milliseconds())
	}
	if sabotage.LoseCommit() {
		batch.Queue(sqlRollback)
	} else {
		batch.Queue(sqlCommit)
	}
	return conn.SendBatch(ctx, batch).Close()
}

// newOutboxID is a UUIDv7: new rows land on the same pages of the primary key.
func newOutboxID() (chat.OutboxID, error) { return uuid.NewV7() }

// random64 need not be secret: it keeps ids of different rooms apart.
func random64() uint64 { return rand.Uint64() } //nolint:gosec // see above

// sortedKeys makes every replica lock in the same order.
func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, strings.Compare)
	return keys
}
