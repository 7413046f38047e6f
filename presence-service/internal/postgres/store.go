package postgres

import (
	"cmp"
	"context"
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/starling-chat/starling/platform/pg"
	"github.com/starling-chat/starling/presence-service/internal/presence"
	"github.com/starling-chat/starling/proto/fault"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations are the goose files of the schema.
func Migrations() (fs.FS, error) { return fs.Sub(migrations, "migrations") }

var _ presence.LastSeenStore = (*Store)(nil)

// Store keeps when users were last seen.
type Store struct{ shared *pg.Store }

// NewStore uses a pool whose search_path is the schema.
func NewStore(pool *pgxpool.Pool) *Store { return &Store{pg.NewStore(pool)} }

// Two leaders may write at once for a moment: a later time wins, whatever the order.
const sqlSave = `
	INSERT INTO last_seen (user_id, seen_at)
	SELECT * FROM unnest($1::text[], $2::timestamptz[])
	ON CONFLICT (user_id) DO UPDATE SET seen_at = excluded.seen_at
	WHERE last_seen.seen_at < excluded.seen_at`

// SaveSightings implements presence.LastSeenStore. A user must be given once at most.
func (s *Store) SaveSightings(ctx context.Context, sightings []presence.Sighting) error {
	if len(sightings) == 0 {
		return nil
	}
	// In one order everywhere, so that two writers cannot deadlock.
	sorted := slices.SortedFunc(slices.Values(sightings), func(a, b presence.Sighting) int { return cmp.Compare(a.User, b.User) })
	users, times := make([]string, 0, len(sorted)), make([]time.Time, 0, len(sorted))
	for _, sighting := range sorted {
		// The ids that gateways report are taken as they are: one that cannot be a user's, and that PostgreSQL may not be
		// able to hold, must not spoil its batch.
		if id, err := presence.ParseUserID(string(sighting.User)); err == nil {
			users, times = append(users, string(id)), append(times, sighting.At)
		}
	}
	return away(s.shared.Do(ctx, "save last seen", func(ctx context.Context) error {
		_, err := s.shared.Pool().Exec(ctx, sqlSave, users, times)
		return err
	}))
}

const sqlLastSeen = `SELECT user_id, seen_at FROM last_seen WHERE user_id = ANY($1::text[])`

// LastSeen implements presence.LastSeenStore.
func (s *Store) LastSeen(ctx context.Context, users []presence.UserID) (map[presence.UserID]time.Time, error) {
	ids := make([]string, len(users))
	for i, id := range users {
		ids[i] = string(id)
	}
	seen := make(map[presence.UserID]time.Time, len(users))
	err := s.shared.Do(ctx, "query last seen", func(ctx context.Context) error {
		rows, err := s.shared.Pool().Query(ctx, sqlLastSeen, ids)
		if err != nil {
			return err
		}
		var id string
		var at time.Time
		_, err = pgx.ForEachRow(rows, []any{&id, &at}, func() error {
			seen[presence.UserID(id)] = at
			return nil
		})
		return err
	})
	if err != nil {
		return nil, away(err)
	}
	return seen, nil
}

// away marks errors after which the same request may succeed later.
func away(err error) error {
	if fault.KindOf(err) == fault.Unavailable {
		return fmt.Errorf("%w: %w", presence.ErrUnavailable, err)
	}
	return err
}
