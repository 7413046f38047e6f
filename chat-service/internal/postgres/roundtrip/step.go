// Package roundtrip sends statements to PostgreSQL together and reads what comes back of each.
package roundtrip

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Step is one statement of a round trip, together with what becomes of its rows.
type Step struct {
	SQL  string
	Args []any
	Scan func(pgx.Rows) error // called for each row; nil = the statement gives none
}

// Sender is a connection, or a pool of them.
type Sender interface {
	SendBatch(ctx context.Context, batch *pgx.Batch) pgx.BatchResults
}

// Send sends all steps at once and reads what comes back, in the order of the steps. After a step that fails, the server
// skips the rest.
func Send(ctx context.Context, to Sender, steps []Step) error {
	batch := &pgx.Batch{}
	for i := range steps {
		batch.Queue(steps[i].SQL, steps[i].Args...)
	}
	results := to.SendBatch(ctx, batch)
	var err error
	for i := 0; i < len(steps) && err == nil; i++ {
		err = steps[i].read(results)
	}
	// Close reads to the end.
	if closeErr := results.Close(); err == nil {
		err = closeErr
	}
	return err
}

func (s *Step) read(results pgx.BatchResults) error {
	if s.Scan == nil {
		_, err := results.Exec()
		return err
	}
	rows, err := results.Query()
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := s.Scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Collect appends what scan makes of each row to list.
func Collect[T any](list *[]T, scan func(pgx.CollectableRow) (T, error)) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		v, err := scan(rows)
		*list = append(*list, v)
		return err
	}
}
