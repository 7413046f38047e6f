package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/starling-chat/starling/auth-service/internal/auth"
	"github.com/starling-chat/starling/platform/pg"
)

// grantTime is a statement of its own, run when the user row is locked: the time of a statement that waited for a lock is
// older than the lock.
const sqlGrantTime = `SELECT greatest(date_trunc('milliseconds', clock_timestamp()), revoked_at) FROM users WHERE id = $1`

// lockUser shares the row's lock with other logins and excludes revocations until the end of the transaction.
const sqlLockUser = `SELECT ` + userColumns + ` FROM users u WHERE u.id = $1 AND u.deleted_at IS NULL FOR SHARE`

// grant locks the user and takes the time.
func grant(ctx context.Context, tx pgx.Tx, user auth.UserID, login auth.LoginID) (auth.Grant, error) {
	g := auth.Grant{LoginID: login}
	var err error
	if g.User, err = scanUser(tx.QueryRow(ctx, sqlLockUser, user)); err != nil {
		return g, pg.NoRows(err, auth.ErrUserNotFound)
	}
	return g, tx.QueryRow(ctx, sqlGrantTime, user).Scan(&g.IssuedAt)
}

const (
	sqlBeginLogin = `INSERT INTO logins (id, user_id, expires_at, address, used_at)
VALUES ($1, $2, now() + $3::interval, nullif($4, ''), now())`
	sqlInsertToken = `INSERT INTO refresh_tokens (hash, login_id, expires_at) VALUES ($1, $2, now() + $3::interval)`
)

// BeginLogin implements auth.LoginStore.
func (s *Store) BeginLogin(ctx context.Context, u auth.User, l auth.NewLogin) (g auth.Grant, err error) {
	err = s.Tx(ctx, "begin login", func(tx pgx.Tx) (err error) {
		g, err = beginLogin(ctx, tx, u, l)
		return err
	})
	return g, err
}

func beginLogin(ctx context.Context, tx pgx.Tx, u auth.User, l auth.NewLogin) (auth.Grant, error) {
	g, err := grant(ctx, tx, u.ID, l.ID)
	if err != nil {
		return g, err
	}
	if g.User.Generation != u.Generation || g.User.PasswordChanges != u.PasswordChanges {
		return g, auth.ErrStale
	}
	if _, err := tx.Exec(ctx, sqlBeginLogin, l.ID, u.ID, l.TTL, l.Address); err != nil {
		return g, err
	}
	_, err = tx.Exec(ctx, sqlInsertToken, l.Token[:], l.ID, l.TTL)
	return g, err
}

const (
	// The locks make concurrent uses of one token queue up: the first spends it, the others see it spent.
	sqlLockToken = `SELECT l.user_id, l.id::text, t.spent_at IS NOT NULL,
    coalesce(t.spent_at > clock_timestamp() - $2::interval, false), coalesce(t.successor_salt, '')
FROM refresh_tokens t JOIN logins l ON l.id = t.login_id
WHERE t.hash = $1 AND t.expires_at > now() FOR UPDATE OF t`

	sqlLockSuccessor = `SELECT spent_at IS NOT NULL, coalesce(successor_salt, '') FROM refresh_tokens
WHERE hash = $1 AND expires_at > now() FOR UPDATE`

	sqlLoginAlive = `SELECT ended_at IS NULL FROM logins WHERE id = $1`

	sqlSpendToken = `UPDATE refresh_tokens SET spent_at = clock_timestamp(), successor_salt = $2 WHERE hash = $1`

	sqlExtendLogin = `UPDATE logins SET expires_at = greatest(expires_at, now() + $2::interval), used_at = now()
WHERE id = $1`
)

// Rotate implements auth.LoginStore.
func (s *Store) Rotate(ctx context.Context, spending auth.Spending) (r auth.Rotation, err error) {
	err = s.Tx(ctx, "rotate refresh token", func(tx pgx.Tx) error {
		r = auth.Rotation{Salts: [][]byte{spending.Salt}}
		var user auth.UserID
		var login auth.LoginID
		var spent, recently, alive bool
		var salt []byte
		err := tx.QueryRow(ctx, sqlLockToken, spending.Token[:], spending.Grace).Scan(&user, &login, &spent, &recently, &salt)
		if err != nil {
			return pg.NoRows(err, auth.ErrTokenUnknown)
		}
		if spent {
			steps := 1
			if recently {
				steps = maxDescent
			}
			if r.Salts, err = descend(ctx, tx, spending, salt, steps); err != nil {
				return err
			}
		}
		if r.Grant, err = grant(ctx, tx, user, login); err != nil {
			return replace(err, auth.ErrUserNotFound, auth.ErrTokenUnknown)
		}
		// Read after the user's lock, so that a revocation that just ended the login is seen.
		if err := tx.QueryRow(ctx, sqlLoginAlive, login).Scan(&alive); err != nil {
			return pg.NoRows(err, auth.ErrTokenUnknown)
		}
		if user.Guest() {
			spending.TTL = spending.Guests.TTL
		}
		switch {
		case !alive:
			return auth.ErrTokenUnknown
		case user.Guest() && !spending.Guests.On:
			return auth.ErrNoGuests
		case !spent:
			return spend(ctx, tx, login, spending)
		case r.Salts == nil:
			r.Reused = true
			r.Revocation, err = endLogin(ctx, tx, user, login)
			return err
		}
		return nil
	})
	return r, err
}

// maxDescent bounds the way to the newest descendant. Only a client that refreshes without end makes a longer one within the grace.
const maxDescent = 100

// descend follows a spent token, whose salt is given, to its descendant that is not spent, in at most so many steps. It gives the
// salts on the way, nil where it does not get there. The locks keep another use of a descendant from spending it meanwhile: they
// are taken from the older to the newer token.
func descend(ctx context.Context, tx pgx.Tx, s auth.Spending, salt []byte, steps int) ([][]byte, error) {
	var salts [][]byte
	for range steps {
		if len(salt) == 0 {
			break
		}
		salts = append(salts, salt)
		next := s.Descendant(salts)
		var spent bool
		var further []byte
		if err := tx.QueryRow(ctx, sqlLockSuccessor, next[:]).Scan(&spent, &further); err != nil {
			return nil, pg.NoRows(err, auth.ErrTokenUnknown)
		}
		if !spent {
			return salts, nil
		}
		salt = further
	}
	return nil, nil
}

func spend(ctx context.Context, tx pgx.Tx, login auth.LoginID, s auth.Spending) error {
	if _, err := tx.Exec(ctx, sqlSpendToken, s.Token[:], s.Salt); err != nil {
		return err
	}
	successor := s.Descendant([][]byte{s.Salt})
	if _, err := tx.Exec(ctx, sqlInsertToken, successor[:], login, s.TTL); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, sqlExtendLogin, login, s.TTL)
	return err
}

const sqlLoginOfToken = `SELECT l.user_id, l.id::text FROM refresh_tokens t JOIN logins l ON l.id = t.login_id
WHERE t.hash = $1`

// EndLogin implements auth.LoginStore.
func (s *Store) EndLogin(ctx context.Context, token auth.TokenHash) (r auth.Revocation, err error) {
	err = s.Tx(ctx, "end login", func(tx pgx.Tx) error {
		var user auth.UserID
		var login auth.LoginID
		err := tx.QueryRow(ctx, sqlLoginOfToken, token[:]).Scan(&user, &login)
		if err != nil {
			return pg.NoRows(err, auth.ErrTokenUnknown)
		}
		r, err = endLogin(ctx, tx, user, login)
		return err
	})
	return r, err
}

const sqlEndLogin = `UPDATE logins SET ended_at = clock_timestamp() WHERE id = $1 AND ended_at IS NULL
RETURNING date_trunc('milliseconds', ended_at) + interval '1 millisecond'`

// endLogin ends a login and logs that; ErrTokenUnknown when it has ended before.
func endLogin(ctx context.Context, tx pgx.Tx, user auth.UserID, login auth.LoginID) (auth.Revocation, error) {
	r := auth.Revocation{UserID: user, LoginID: login}
	if err := tx.QueryRow(ctx, sqlEndLogin, login).Scan(&r.RevokedAt); err != nil {
		return r, pg.NoRows(err, auth.ErrTokenUnknown)
	}
	return appendRevocation(ctx, tx, r)
}

// One round trip for users and logins. A login is ” for tokens signed elsewhere.
const sqlStates = `SELECT ` + userColumns + `, l.id IS NOT NULL, w.n
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS w (user_id, login_id, n)
JOIN users u ON u.id = w.user_id AND u.deleted_at IS NULL
LEFT JOIN logins l ON l.id = nullif(w.login_id, '')::uuid AND l.user_id = u.id AND l.ended_at IS NULL AND l.expires_at > now()`

// States implements auth.LoginStore.
func (s *Store) States(ctx context.Context, whose []auth.Who) ([]auth.State, error) {
	users, logins := make([]string, len(whose)), make([]string, len(whose))
	for i, w := range whose {
		users[i], logins[i] = string(w.User), string(w.Login)
	}
	states := make([]auth.State, len(whose))
	err := s.Do(ctx, "select states", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, sqlStates, users, logins)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var n int64
			var alive bool
			u, err := scanUser(rows, &alive, &n)
			if err != nil {
				return err
			}
			states[n-1] = auth.State{User: u, LoginAlive: alive}
		}
		return rows.Err()
	})
	return states, err
}

func nullable(id auth.LoginID) *string {
	if id == "" {
		return nil
	}
	s := string(id)
	return &s
}
