package pg

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/starling-chat/starling/proto/fault"
)

// Store is what the stores of all services share: it asks PostgreSQL through one Circuit, drops connections that broke, and
// refuses as fault.Unavailable what may succeed later. It is safe for concurrent use.
type Store struct {
	pool    *pgxpool.Pool
	circuit Circuit
}

// NewStore uses a pool whose search_path is the service's schema. The caller closes the pool.
func NewStore(pool *pgxpool.Pool) *Store { return &Store{pool: pool} }

// Pool returns the pool, for what f in Ask, Once and Do asks and for background work that the circuit must not refuse.
func (s *Store) Pool() *pgxpool.Pool { return s.pool }

// Ask runs f once if the circuit lets it, and returns f's error as it is.
func (s *Store) Ask(ctx context.Context, f func(context.Context) error) error {
	err := s.circuit.Do(ctx, f)
	s.dropLost(err)
	return err
}

// Once is Ask for what must not be done twice; the error is wrapped as Wrap says.
func (s *Store) Once(ctx context.Context, act string, f func(context.Context) error) error {
	return Wrap(act, s.Ask(ctx, f))
}

// Do is Once that asks again where the connection broke: f must be safe to repeat.
func (s *Store) Do(ctx context.Context, act string, f func(context.Context) error) error {
	err := s.Ask(ctx, f)
	if IsLost(err) && ctx.Err() == nil {
		err = s.Ask(ctx, f)
	}
	return Wrap(act, err)
}

// Tx runs f in a transaction as InTx does; the error is wrapped as Wrap says.
func (s *Store) Tx(ctx context.Context, act string, f func(pgx.Tx) error) error {
	return s.Once(ctx, act, func(ctx context.Context) error { return InTx(ctx, s.pool, f) })
}

// Ready tells whether PostgreSQL answers; nil = yes. It asks PostgreSQL itself only when nobody else got an answer lately.
func (s *Store) Ready(ctx context.Context) error {
	if s.circuit.heard(time.Now().Add(-quiet)) {
		return nil
	}
	err := s.circuit.Probe(ctx, s.pool.Ping)
	s.dropLost(err)
	return err
}

// quiet is how long nobody may have had an answer before Ready asks.
const quiet = time.Second

// dropLost drops the connections that probably broke with the one that err tells of.
func (s *Store) dropLost(err error) {
	if IsLost(err) {
		s.pool.Reset()
	}
}

// Wrap says what was attempted, and makes a fault.Unavailable of an outage, which a schema is that no migration has made yet.
func Wrap(act string, err error) error {
	switch {
	case err == nil:
		return nil
	case IsUnavailable(err) || IsUnmigrated(err):
		return Refusal(act, err)
	}
	return fmt.Errorf("%s: %w", act, err)
}

// Refusal is the fault.Unavailable of an attempt that may succeed later.
func Refusal(act string, err error) error {
	return &fault.Error{
		Kind: fault.Unavailable, Message: "Service unavailable", RetryAfter: CircuitPause,
		Cause: fmt.Errorf("%s: %w", act, err),
	}
}

// NoRows is instead where err is the absence of a row, and err otherwise.
func NoRows(err, instead error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return instead
	}
	return err
}
