package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// step is one statement of a round trip, together with what becomes of its rows.
type step struct {
	sql  string
	args []any
	scan func(pgx.Rows) error // called for each row; nil = the statement gives none
}

// sender is a connection, or a pool of them.
type sender interface {
	SendBatch(ctx context.Context, batch *pgx.Batch) pgx.BatchResults
}

// roundTrip sends all steps at once and reads what comes back, in the order of the steps. After a step that fails, the server
// skips the rest.
func roundTrip(ctx context.Context, to sender, steps []step) error {
	batch := &pgx.Batch{}
	for i := range steps {
		batch.Queue(steps[i].sql, steps[i].args...)
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

func (s *step) read(results pgx.BatchResults) error {
	if s.scan == nil {
		_, err := results.Exec()
		return err
	}
	rows, err := results.Query()
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := s.scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// collect appends what scan makes of each row to list.
func collect[T any](list *[]T, scan func(pgx.CollectableRow) (T, error)) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		v, err := scan(rows)
		*list = append(*list, v)
		return err
	}
}
