package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/postgres/departures"
	"github.com/starling-chat/starling/chat-service/internal/postgres/messages"
	"github.com/starling-chat/starling/chat-service/internal/postgres/notifications"
	"github.com/starling-chat/starling/chat-service/internal/postgres/roundtrip"
	"github.com/starling-chat/starling/chat-service/internal/postgres/userlogs"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
	"github.com/starling-chat/starling/platform/pg"
	"github.com/starling-chat/starling/proto/fault"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations returns the schema's goose files.
func Migrations() fs.FS {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) // the directory is embedded
	}
	return files
}

// Codec gives room events the form in which they travel, which is also the form in which they are kept.
type Codec interface {
	// Event encodes one event.
	Event(e chat.RoomEvent) (chat.EncodedEvent, error)
	// Batch frames encoded events as the payload of an outbox row.
	Batch(events []chat.EncodedEvent) []byte
	// SplitBatch is the reverse of Batch.
	SplitBatch(payload []byte) ([]chat.EncodedEvent, error)
}

// Store is usecases.Store on PostgreSQL. It is safe for concurrent use.
type Store struct {
	*notifications.Store
	*messages.Table
	*departures.Departures
	*userlogs.Logs

	pool   *pgxpool.Pool
	shared *pg.Store // asks the pool
	codec  Codec
	quotas rules.Quotas

	keepEdits bool // set before Open

	opened atomic.Bool // the schema is there
}

var _ usecases.Store = (*Store)(nil)

// GenericPlans is for the pool's pg.Config. The messages have 64 partitions: to plan a look-up in rooms of a list takes 20 ms, each time, where the
// look-up takes one. Statements look things up by index whatever they are asked for (LATERAL with LIMIT), so nothing is lost.
const GenericPlans = true

// New returns a Store on the pool, whose users have quotas. It refuses with fault Unavailable until Open is called: the schema may not
// exist yet.
func New(pool *pgxpool.Pool, codec Codec, quotas rules.Quotas) *Store {
	s := &Store{pool: pool, shared: pg.NewStore(pool), codec: codec, quotas: quotas}
	s.Store, s.Table, s.Departures = notifications.New(pool, s.do), messages.New(pool, s.do), departures.New(pool, s.do)
	s.Logs = userlogs.New(pool, s.do, codec.Event, s.At)
	return s
}

// KeepEdits says whether the Store keeps what messages were before they were edited. It is called before Open.
func (s *Store) KeepEdits(keep bool) *Store {
	s.keepEdits = keep
	return s
}

// Open lets requests in, after the migrations.
func (s *Store) Open() { s.opened.Store(true) }

var errNotReady = errors.New("the schema is not migrated yet")

// Ready tells whether the schema is there and PostgreSQL answers; nil = yes.
func (s *Store) Ready(ctx context.Context) error {
	if !s.opened.Load() {
		return errNotReady
	}
	return s.shared.Ready(ctx)
}

var errStarting = fault.Retry(fault.Unavailable, "Service is starting", time.Second)

// ask runs f if the schema is there and the circuit lets it.
func (s *Store) ask(ctx context.Context, f func(context.Context) error) error {
	if !s.opened.Load() {
		return errStarting
	}
	return s.shared.Ask(ctx, f)
}

// do asks, and again where the connection broke: f must be safe to repeat.
func (s *Store) do(ctx context.Context, what string, f func(context.Context) error) error {
	if !s.opened.Load() {
		return fmt.Errorf("%s: %w", what, errStarting)
	}
	return s.shared.Do(ctx, what, f)
}

const (
	sqlSnapshot = `BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY`
	sqlBegin    = `BEGIN`
	sqlCommit   = `COMMIT`
	sqlRollback = `ROLLBACK`
)

// readSnapshot reads in one round trip and one transaction, in which all statements see the same state. After an error the
// transaction is open: the pool closes such a connection.
func (s *Store) readSnapshot(ctx context.Context, reads ...roundtrip.Step) error {
	steps := append(append(make([]roundtrip.Step, 0, len(reads)+2), roundtrip.Step{SQL: sqlSnapshot}), reads...)
	return s.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
		return roundtrip.Send(ctx, conn, append(steps, roundtrip.Step{SQL: sqlCommit}))
	})
}
