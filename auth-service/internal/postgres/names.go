package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/starling-chat/starling/auth-service/internal/auth"
	"github.com/starling-chat/starling/platform/pg"
)

// nextNameVersion is the version of a new name. None is used twice, also when the clock is set back.
const nextNameVersion = `greatest(u.name_version + 1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)`

// A new user who has a name is announced like one with another name: whoever is added to rooms by others is called by it there before
// the first connection. One whose name is the id is called so anyway. newName is for columns name_version and name_announced, after
// those of the id, $1, and the name.
const newName = `CASE WHEN $1 = $2 THEN 0 ELSE (extract(epoch FROM clock_timestamp()) * 1000000)::bigint END, $1 = $2`

// newNames is newName of rows n.
const newNames = `CASE WHEN n.id = n.name THEN 0 ELSE (extract(epoch FROM clock_timestamp()) * 1000000)::bigint END, n.id = n.name`

// Right-hand sides see the row as it was before.
const sqlDescribe = `UPDATE users AS u SET
    name = coalesce(nullif($2, ''), u.name),
    role = CASE WHEN u.username IS NULL AND $3 <> '' THEN $3 ELSE u.role END,
    described_at = $4,
    name_version = CASE WHEN u.name = coalesce(nullif($2, ''), u.name) THEN u.name_version
        ELSE ` + nextNameVersion + ` END,
    name_announced = u.name_announced AND u.name = coalesce(nullif($2, ''), u.name)
WHERE u.id = $1 AND u.deleted_at IS NULL AND (u.described_at IS NULL OR u.described_at <= $4)
RETURNING ` + userColumns

// Describe implements auth.UserStore.
func (s *Store) Describe(ctx context.Context, id auth.UserID, d auth.Description) (auth.User, error) {
	var u auth.User
	err := s.Do(ctx, "describe user", func(ctx context.Context) (err error) {
		u, err = scanUser(s.pool.QueryRow(ctx, sqlDescribe, id, d.Name, string(d.Role), instant(d.IssuedAt)))
		return err
	})
	return u, pg.NoRows(err, auth.ErrStale)
}

// instant is NULL for the zero time.
func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

const sqlUnannouncedNames = `SELECT ` + userColumns + ` FROM users AS u WHERE NOT u.name_announced LIMIT $1`

// UnannouncedNames lists users of whose names nobody has marked the present one as announced.
func (s *Store) UnannouncedNames(ctx context.Context, limit int) ([]auth.User, error) {
	rows, err := s.pool.Query(ctx, sqlUnannouncedNames, limit)
	if err != nil {
		return nil, pg.Wrap("select unannounced names", err)
	}
	users, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (auth.User, error) { return scanUser(row) })
	return users, pg.Wrap("select unannounced names", err)
}

const sqlUnannouncedAmong = `SELECT ` + userColumns + ` FROM users AS u WHERE u.id = ANY ($1) AND NOT u.name_announced`

// UnannouncedAmong is UnannouncedNames for some users.
func (s *Store) UnannouncedAmong(ctx context.Context, ids []auth.UserID) ([]auth.User, error) {
	return s.users(ctx, "select unannounced names", sqlUnannouncedAmong, ids)
}

const sqlMarkNameAnnounced = `UPDATE users AS u SET name_announced = true
FROM unnest($1::text[], $2::bigint[]) AS a (id, version) WHERE u.id = a.id AND u.name_version = a.version`

// MarkNamesAnnounced notes which names are known; one that has changed since is not.
func (s *Store) MarkNamesAnnounced(ctx context.Context, users []auth.User) error {
	ids, versions := make([]string, len(users)), make([]int64, len(users))
	for i, u := range users {
		ids[i], versions[i] = string(u.ID), u.NameVersion
	}
	_, err := s.pool.Exec(ctx, sqlMarkNameAnnounced, ids, versions)
	return pg.Wrap("mark names as announced", err)
}
