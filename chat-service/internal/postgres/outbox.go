package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/starling-chat/starling/chat-service/internal/chat"
)

// An outbox row belongs to the fast path until due_at, two seconds after the commit. Then whichever relay locks it first
// takes it and moves due_at on: if that relay dies as well, another one takes the row again. No cursor over ids is kept,
// for rows do not commit in the order of their ids.

// outboxLease is how long a relay may take to publish what it claimed.
const outboxLease = 10 * time.Second

const (
	sqlClaim = `
		UPDATE outbox SET due_at = clock_timestamp() + $2 * interval '1 millisecond'
		WHERE id IN (
			SELECT id FROM outbox WHERE due_at <= clock_timestamp() ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED
		)
		RETURNING id, created_at, payload`

	sqlDone = `DELETE FROM outbox WHERE id = ANY($1::uuid[])`

	// Counting stops somewhere: the gauge is for alerts.
	sqlLag = `
		SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8
		FROM (SELECT created_at FROM outbox ORDER BY due_at LIMIT 10000) AS o`
)

// Claim takes due rows, at most limit, for outboxLease, the oldest first. With an error there may be rows nevertheless:
// those that could be read.
func (s *Store) Claim(ctx context.Context, limit int) ([]chat.Outgoing, error) {
	type row struct {
		out chat.Outgoing
		at  time.Time
	}
	var claimed []row
	var broken error
	err := s.do(ctx, "claim outbox rows", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, sqlClaim, limit, outboxLease.Milliseconds())
		if err != nil {
			return err
		}
		claimed, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (row, error) {
			var c row
			var batch []byte
			if err := r.Scan((*[16]byte)(&c.out.ID), &c.at, &batch); err != nil {
				return c, err
			}
			if c.out.Events, err = s.codec.SplitBatch(batch); err != nil {
				broken = errors.Join(broken, fmt.Errorf("read outbox row %s: %w", c.out.ID, err))
			}
			return c, nil
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	claimed = slices.DeleteFunc(claimed, func(c row) bool { return len(c.out.Events) == 0 })
	// RETURNING has no order.
	slices.SortFunc(claimed, func(a, b row) int { return a.at.Compare(b.at) })
	outgoing := make([]chat.Outgoing, len(claimed))
	for i, c := range claimed {
		outgoing[i] = c.out
	}
	return outgoing, broken
}

// Done deletes rows whose events the stream has.
func (s *Store) Done(ctx context.Context, ids []chat.OutboxID) error {
	raw := make([][16]byte, len(ids))
	for i, id := range ids {
		raw[i] = id
	}
	return s.do(ctx, "delete outbox rows", func(ctx context.Context) error {
		_, err := s.pool.Exec(ctx, sqlDone, raw)
		return err
	})
}

// Lag tells how many rows wait (at most 10,000 are counted) and the age of the oldest.
func (s *Store) Lag(ctx context.Context) (rows int, age time.Duration, err error) {
	err = s.do(ctx, "read outbox lag", func(ctx context.Context) error {
		var seconds float64
		if err := s.pool.QueryRow(ctx, sqlLag).Scan(&rows, &seconds); err != nil {
			return err
		}
		age = time.Duration(seconds * float64(time.Second))
		return nil
	})
	return rows, age, err
}
