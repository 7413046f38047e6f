package postgres

import (
	"context"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/starling-chat/starling/auth-service/internal/auth"
	"github.com/starling-chat/starling/auth-service/internal/users"
	"github.com/starling-chat/starling/platform/pg"
)

var _ users.Store = (*Store)(nil)

// profileColumns are what scanProfile reads, for a table alias u.
const profileColumns = `u.id, coalesce(u.username, ''), u.name, coalesce(u.avatar_url, ''), u.data::text, u.role, u.disabled_at IS NOT NULL, u.created_at`

func scanProfile(row pgx.Row, more ...any) (users.Profile, error) {
	var p users.Profile
	var data *string
	err := row.Scan(append([]any{&p.ID, &p.Username, &p.Name, &p.AvatarURL, &data, &p.Role, &p.Disabled, &p.CreatedAt}, more...)...)
	p.Role = roleOf(p.ID, p.Role)
	if data != nil {
		p.Data = []byte(*data)
	}
	return p, err
}

const sqlProfile = `SELECT ` + profileColumns + ` FROM users u WHERE u.id = $1 AND u.deleted_at IS NULL`

// Profile implements users.Store.
func (s *Store) Profile(ctx context.Context, id auth.UserID) (users.Profile, error) {
	var p users.Profile
	err := s.Do(ctx, "select profile", func(ctx context.Context) (err error) {
		p, err = scanProfile(s.pool.QueryRow(ctx, sqlProfile, id))
		return err
	})
	return p, pg.NoRows(err, auth.ErrUserNotFound)
}

const (
	sqlNamed = `SELECT ` + profileColumns + ` FROM users u WHERE (u.id = $1 OR u.username = $2) AND u.deleted_at IS NULL LIMIT 2`

	sqlProfiles = `SELECT ` + profileColumns + ` FROM users u
WHERE u.deleted_at IS NULL AND u.id > $1 AND ($2 = false OR u.disabled_at IS NOT NULL) ORDER BY u.id LIMIT $3`
)

// Named implements users.Store.
func (s *Store) Named(ctx context.Context, id auth.UserID, username string) ([]users.Profile, error) {
	return s.profiles(ctx, "select user by name", sqlNamed, id, username)
}

// Profiles implements users.Store.
func (s *Store) Profiles(ctx context.Context, q users.Query) ([]users.Profile, error) {
	return s.profiles(ctx, "list users", sqlProfiles, q.After, q.Disabled, q.Limit)
}

func (s *Store) profiles(ctx context.Context, act, sql string, args ...any) (list []users.Profile, err error) {
	err = s.Do(ctx, act, func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (users.Profile, error) { return scanProfile(row) })
		return err
	})
	return list, err
}

const (
	sqlInsertProfile = `INSERT INTO users (id, name, role, name_version, name_announced) VALUES ($1, $2, $3, ` + newName + `)
ON CONFLICT (id) DO NOTHING`

	// What is NULL stays; '' removes. A name that is given holds until a token comes that was issued later, in whole seconds.
	sqlChangeProfile = `UPDATE users AS u SET
    name = coalesce($2, u.name),
    name_version = CASE WHEN $2::text <> u.name THEN ` + nextNameVersion + ` ELSE u.name_version END,
    name_announced = u.name_announced AND coalesce($2, u.name) = u.name,
    described_at = CASE WHEN $2::text IS NULL THEN u.described_at ELSE date_trunc('second', clock_timestamp()) END,
    avatar_url = CASE WHEN $3::text IS NULL THEN u.avatar_url ELSE nullif($3, '') END,
    data = CASE WHEN $4::text IS NULL THEN u.data ELSE nullif($4, '')::json END,
    disabled_at = CASE WHEN $5::boolean IS NULL THEN u.disabled_at WHEN $5 THEN coalesce(u.disabled_at, now()) END
WHERE u.id = $1 AND u.deleted_at IS NULL RETURNING ` + profileColumns
)

func changeProfile(ctx context.Context, tx pgx.Tx, c users.Change) (users.Profile, error) {
	var data *string
	if c.Data != nil {
		text := string(c.Data)
		data = &text
	}
	return scanProfile(tx.QueryRow(ctx, sqlChangeProfile, c.ID, c.Name, c.AvatarURL, data, c.Disabled))
}

// Upsert implements users.Store. Users are locked in the order of their ids, so that two upserts do not wait for each other.
func (s *Store) Upsert(ctx context.Context, changes []users.Change) ([]users.Profile, error) {
	order := make([]int, len(changes))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(string(changes[a].ID), string(changes[b].ID)) })
	profiles := make([]users.Profile, len(changes))
	err := s.Tx(ctx, "upsert users", func(tx pgx.Tx) error {
		for _, i := range order {
			c := changes[i]
			name := string(c.ID)
			if c.Name != nil {
				name = *c.Name
			}
			if _, err := tx.Exec(ctx, sqlInsertProfile, c.ID, name, auth.RoleUser); err != nil {
				return err
			}
			var err error
			if profiles[i], err = changeProfile(ctx, tx, c); err != nil {
				return pg.NoRows(err, users.ErrDeleted)
			}
		}
		return nil
	})
	return profiles, err
}

const sqlIsDisabled = `SELECT disabled_at IS NOT NULL FROM users WHERE id = $1 AND deleted_at IS NULL FOR UPDATE`

// Change implements users.Store.
func (s *Store) Change(ctx context.Context, c users.Change) (p users.Profile, r auth.Revocation, err error) {
	err = s.Tx(ctx, "change user", func(tx pgx.Tx) error {
		var disabled bool
		if err := tx.QueryRow(ctx, sqlIsDisabled, c.ID).Scan(&disabled); err != nil {
			return pg.NoRows(err, auth.ErrUserNotFound)
		}
		var err error
		if p, err = changeProfile(ctx, tx, c); err != nil {
			return err
		}
		if p.Disabled && !disabled {
			r, err = revokeUser(ctx, tx, c.ID, shutOut)
		}
		return err
	})
	return p, r, err
}

// The row stays: a token must not make the user again.
const sqlAnonymise = `UPDATE users AS u SET username = NULL, password_hash = NULL, name = $2, role = 'user', avatar_url = NULL, data = NULL,
    disabled_at = NULL, deleted_at = now(), name_version = ` + nextNameVersion + `, name_announced = false
WHERE u.id = $1`

// deletedName is how a deleted user is called where something of them is left.
const deletedName = "Deleted user"

// Pruning removes them. To do so here would lock refresh tokens after the user.
const sqlForgetLogins = `UPDATE logins SET address = NULL, expires_at = now() WHERE user_id = $1`

// Delete implements users.Store.
func (s *Store) Delete(ctx context.Context, id auth.UserID) (r auth.Revocation, err error) {
	err = s.Tx(ctx, "delete user", func(tx pgx.Tx) error {
		if r, err = revokeUser(ctx, tx, id, shutOut); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, sqlAnonymise, id, deletedName); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, sqlForgetLogins, id)
		return err
	})
	return r, err
}

const sqlSessions = `SELECT id::text, created_at, coalesce(used_at, created_at), expires_at, coalesce(address, '') FROM logins
WHERE user_id = $1 AND ended_at IS NULL AND expires_at > now() ORDER BY created_at DESC, id DESC LIMIT $2`

// Sessions implements users.Store.
func (s *Store) Sessions(ctx context.Context, id auth.UserID, limit int) ([]users.Session, error) {
	var list []users.Session
	err := s.Do(ctx, "select sessions", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, sqlSessions, id, limit)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (l users.Session, err error) {
			return l, row.Scan(&l.ID, &l.CreatedAt, &l.UsedAt, &l.ExpiresAt, &l.Address)
		})
		return err
	})
	return list, err
}

const sqlOwnsLogin = `SELECT 1 FROM logins WHERE id = $1 AND user_id = $2`

// EndSession implements users.Store.
func (s *Store) EndSession(ctx context.Context, id auth.UserID, login auth.LoginID) (r auth.Revocation, err error) {
	err = s.Tx(ctx, "end session", func(tx pgx.Tx) error {
		var one int
		if err := tx.QueryRow(ctx, sqlOwnsLogin, login, id).Scan(&one); err != nil {
			return pg.NoRows(err, auth.ErrTokenUnknown)
		}
		r, err = endLogin(ctx, tx, id, login)
		return err
	})
	return r, err
}

const (
	sqlSetPassword = `UPDATE users SET password_hash = $3, password_changes = password_changes + 1 WHERE id = $1 AND password_hash = $2 AND deleted_at IS NULL AND disabled_at IS NULL`

	sqlEndOtherLogins = `UPDATE logins SET ended_at = clock_timestamp()
WHERE user_id = $1 AND id <> $2 AND ended_at IS NULL AND expires_at > now()
RETURNING id::text, date_trunc('milliseconds', ended_at) + interval '1 millisecond'`
)

const sqlReplacePassword = `UPDATE users SET password_hash = $2, password_changes = password_changes + 1 WHERE id = $1 AND username IS NOT NULL`

// SetPassword implements auth.UserStore.
func (s *Store) SetPassword(ctx context.Context, id auth.UserID, passwordHash string) (r auth.Revocation, err error) {
	err = s.Tx(ctx, "set password", func(tx pgx.Tx) error {
		if r, err = revokeUser(ctx, tx, id, letIn); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, sqlReplacePassword, id, passwordHash)
		return err
	})
	return r, err
}

// ChangePassword implements auth.UserStore.
func (s *Store) ChangePassword(
	ctx context.Context, id auth.UserID, keep auth.LoginID, old, replacement string,
) (ended []auth.Revocation, err error) {
	err = s.Tx(ctx, "change password", func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, sqlSetPassword, id, old, replacement)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return auth.ErrStale
		}
		rows, err := tx.Query(ctx, sqlEndOtherLogins, id, keep)
		if err != nil {
			return err
		}
		ended, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (auth.Revocation, error) {
			r := auth.Revocation{UserID: id}
			return r, row.Scan(&r.LoginID, &r.RevokedAt)
		})
		if err != nil {
			return err
		}
		for i, r := range ended {
			if ended[i], err = appendRevocation(ctx, tx, r); err != nil {
				return err
			}
		}
		return nil
	})
	return ended, err
}
