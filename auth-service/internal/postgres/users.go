package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/starling-chat/starling/auth-service/internal/auth"
	"github.com/starling-chat/starling/platform/pg"
)

// userColumns are what scanUser reads, for a table alias u.
const userColumns = `u.id, coalesce(u.username, ''), u.name, u.role, u.generation, u.revoked_at,
    coalesce(u.avatar_url, ''), u.disabled_at IS NOT NULL, u.password_changes, u.name_version, u.described_at`

// scanUser reads userColumns followed by more.
func scanUser(row pgx.Row, more ...any) (auth.User, error) {
	var u auth.User
	var revokedAt, describedAt *time.Time
	err := row.Scan(append([]any{
		&u.ID, &u.Username, &u.Name, &u.Role, &u.Generation, &revokedAt, &u.AvatarURL, &u.Disabled, &u.PasswordChanges,
		&u.NameVersion, &describedAt,
	}, more...)...)
	u.Role = roleOf(u.ID, u.Role)
	if revokedAt != nil {
		u.RevokedAt = *revokedAt
	}
	if describedAt != nil {
		u.DescribedAt = *describedAt
	}
	return u, err
}

// roleOf is the role of a user: the ids of guests say that they are some, whatever is stored.
func roleOf(id auth.UserID, stored auth.Role) auth.Role {
	if id.Guest() {
		return auth.RoleGuest
	}
	return stored
}

const sqlCreateUser = `INSERT INTO users (id, name, username, password_hash, role, name_version, name_announced)
VALUES ($1, $2, $3, $4, $5, ` + newName + `)`

// CreateUser implements auth.UserStore.
func (s *Store) CreateUser(ctx context.Context, u auth.User, passwordHash string) error {
	err := s.exec(ctx, "insert user", sqlCreateUser, u.ID, u.Name, u.Username, passwordHash, u.Role)
	if pg.IsUnique(err, "users_username_key") {
		return auth.ErrUsernameTaken
	}
	return err
}

// In the order of Upsert, so that neither waits for the other while it is waited for.
const sqlProvision = `INSERT INTO users AS u (id, name, role, described_at, name_version, name_announced)
SELECT n.id, n.name, n.role, n.described_at, ` + newNames + `
FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[]) AS n (id, name, role, described_at)
ORDER BY n.id COLLATE "C" ON CONFLICT (id) DO NOTHING RETURNING ` + userColumns

// Provision implements auth.UserStore.
func (s *Store) Provision(ctx context.Context, users []auth.User) ([]auth.User, error) {
	ids, names, roles := make([]string, len(users)), make([]string, len(users)), make([]string, len(users))
	described := make([]*time.Time, len(users))
	for i, u := range users {
		ids[i], names[i], roles[i], described[i] = string(u.ID), u.Name, string(u.Role), instant(u.DescribedAt)
	}
	made := make(map[auth.UserID]auth.User, len(users))
	err := s.Do(ctx, "insert provisioned users", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, sqlProvision, ids, names, roles, described)
		if err != nil {
			return err
		}
		stored, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (auth.User, error) { return scanUser(row) })
		for _, u := range stored {
			made[u.ID] = u
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	answer := make([]auth.User, len(users))
	for i, u := range users {
		answer[i] = made[u.ID]
	}
	return answer, nil
}

const sqlDatedAhead = `UPDATE users u SET dated_ahead = greatest(u.dated_ahead, $2)
WHERE u.id = $1 AND u.deleted_at IS NULL RETURNING ` + userColumns

// DatedAhead implements auth.UserStore.
func (s *Store) DatedAhead(ctx context.Context, id auth.UserID, issued time.Time) (auth.User, error) {
	var u auth.User
	err := s.Do(ctx, "note time of issue", func(ctx context.Context) (err error) {
		u, err = scanUser(s.pool.QueryRow(ctx, sqlDatedAhead, id, issued))
		return err
	})
	return u, pg.NoRows(err, auth.ErrUserNotFound)
}

const sqlCredentials = `SELECT ` + userColumns + `, u.password_hash FROM users u
WHERE u.username = $1 AND u.password_hash IS NOT NULL AND u.deleted_at IS NULL`

// Credentials implements auth.UserStore.
func (s *Store) Credentials(ctx context.Context, username string) (auth.User, string, error) {
	var hash string
	var u auth.User
	err := s.Do(ctx, "select credentials", func(ctx context.Context) (err error) {
		u, err = scanUser(s.pool.QueryRow(ctx, sqlCredentials, username), &hash)
		return err
	})
	return u, hash, pg.NoRows(err, auth.ErrUserNotFound)
}

const sqlReplaceHash = `UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2`

// ReplaceHash implements auth.UserStore.
func (s *Store) ReplaceHash(ctx context.Context, id auth.UserID, old, replacement string) error {
	_, err := s.pool.Exec(ctx, sqlReplaceHash, id, old, replacement)
	return pg.Wrap("update password hash", err)
}

const sqlPromote = `UPDATE users SET role = 'admin', password_hash = $2
WHERE id = $1 AND role <> 'admin' AND deleted_at IS NULL`

// Promote implements auth.UserStore.
func (s *Store) Promote(ctx context.Context, id auth.UserID, passwordHash string) (r auth.Revocation, err error) {
	err = s.Tx(ctx, "promote user", func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, sqlPromote, id, passwordHash)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return auth.ErrStale
		}
		r, err = revokeUser(ctx, tx, id, letIn)
		return err
	})
	return r, err
}

const sqlUsers = `SELECT ` + userColumns + ` FROM users u WHERE u.id = ANY ($1) AND u.deleted_at IS NULL`

// Users implements auth.UserStore.
func (s *Store) Users(ctx context.Context, ids []auth.UserID) ([]auth.User, error) {
	return s.users(ctx, "select users", sqlUsers, ids)
}

func (s *Store) users(ctx context.Context, act, sql string, ids []auth.UserID) (users []auth.User, err error) {
	err = s.Do(ctx, act, func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, sql, ids)
		if err != nil {
			return err
		}
		users, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (auth.User, error) { return scanUser(row) })
		return err
	})
	return users, err
}
