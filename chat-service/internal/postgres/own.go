package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/postgres/roundtrip"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
)

const (
	sqlPrefs = `
		SELECT p.room_id, p.user_id, f.muted, f.hidden, f.pinned FROM unnest($1::text[], $2::text[]) AS p (room_id, user_id)
		JOIN room_prefs AS f ON f.room_id = p.room_id AND f.user_id = p.user_id`

	sqlSetPrefs = `
		INSERT INTO room_prefs (room_id, user_id, muted, hidden, pinned) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (room_id, user_id) DO UPDATE SET muted = excluded.muted, hidden = excluded.hidden, pinned = excluded.pinned`

	sqlForgetPrefs = `
		DELETE FROM room_prefs AS f USING unnest($1::text[], $2::text[]) AS p (room_id, user_id)
		WHERE f.room_id = p.room_id AND f.user_id = p.user_id`

	sqlBlocks = `
		SELECT b.user_id, b.blocked_id FROM unnest($1::text[], $2::text[]) AS p (user_id, blocked_id)
		JOIN blocks AS b ON b.user_id = p.user_id AND b.blocked_id = p.blocked_id`

	sqlBlock   = `INSERT INTO blocks (user_id, blocked_id) VALUES ($1, $2) ON CONFLICT DO NOTHING`
	sqlUnblock = `DELETE FROM blocks WHERE user_id = $1 AND blocked_id = $2`

	sqlInvites = `SELECT hash, room_id, by_id, role, uses, expires_at FROM invites WHERE hash = ANY($1::bytea[])`

	sqlSetInvite = `
		INSERT INTO invites (hash, room_id, by_id, role, uses, expires_at) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (hash) DO UPDATE SET uses = excluded.uses`

	sqlEndInvite = `DELETE FROM invites WHERE hash = $1`
)

func readPrefs(members []chat.Membership, state *rules.State) roundtrip.Step {
	state.Prefs = map[chat.Membership]chat.Prefs{}
	rooms, users := pairs(members)
	return roundtrip.Step{SQL: sqlPrefs, Args: []any{rooms, users}, Scan: func(rows pgx.Rows) error {
		var m chat.Membership
		var p chat.Prefs
		err := rows.Scan((*string)(&m.Room), (*string)(&m.User), &p.Muted, &p.Hidden, &p.Pinned)
		state.Prefs[m] = p
		return err
	}}
}

func pairs(members []chat.Membership) (rooms, users []string) {
	rooms, users = make([]string, len(members)), make([]string, len(members))
	for i, m := range members {
		rooms[i], users[i] = string(m.Room), string(m.User)
	}
	return rooms, users
}

func readBlocks(pairs []rules.Pair, state *rules.State) roundtrip.Step {
	state.Blocks = map[rules.Pair]bool{}
	users, blocked := make([]string, len(pairs)), make([]string, len(pairs))
	for i, p := range pairs {
		users[i], blocked[i] = string(p.User), string(p.Blocked)
	}
	return roundtrip.Step{SQL: sqlBlocks, Args: []any{users, blocked}, Scan: func(rows pgx.Rows) error {
		var p rules.Pair
		err := rows.Scan((*string)(&p.User), (*string)(&p.Blocked))
		state.Blocks[p] = true
		return err
	}}
}

// readInvites needs no lock of its own: what changes an invitation holds the lock of its room.
func readInvites(hashes []chat.InviteHash, state *rules.State) roundtrip.Step {
	state.Invites = map[chat.InviteHash]chat.Invitation{}
	raw := make([][]byte, len(hashes))
	for i := range hashes {
		raw[i] = hashes[i][:]
	}
	return roundtrip.Step{SQL: sqlInvites, Args: []any{raw}, Scan: func(rows pgx.Rows) error {
		i, err := scanInvitation(rows)
		state.Invites[i.Hash] = i
		return err
	}}
}

func scanInvitation(rows interface{ Scan(to ...any) error }) (i chat.Invitation, err error) {
	var hash []byte
	if err = rows.Scan(&hash, (*string)(&i.Room), (*string)(&i.By), (*string)(&i.Role), &i.Uses, &i.Until); err == nil {
		copy(i.Hash[:], hash)
	}
	return i, err
}

// needSteps reads what few batches need.
func needSteps(needs *rules.Needs, state *rules.State) (steps []roundtrip.Step) {
	if len(needs.Prefs) > 0 {
		steps = append(steps, readPrefs(needs.Prefs, state))
	}
	if len(needs.Blocks) > 0 {
		steps = append(steps, readBlocks(needs.Blocks, state))
	}
	if len(needs.Invites) > 0 {
		steps = append(steps, readInvites(needs.Invites, state))
	}
	if len(needs.Keys) > 0 {
		steps = append(steps, readAnswers(needs.Keys, state)...)
	}
	return steps
}

// ownSteps writes prefs, blocks and invitations.
func ownSteps(changes *rules.Changes) (steps []roundtrip.Step) {
	if len(changes.Left) > 0 {
		rooms, users := pairs(changes.Left)
		steps = append(steps, roundtrip.Step{SQL: sqlForgetPrefs, Args: []any{rooms, users}})
	}
	for _, p := range changes.Prefs {
		steps = append(steps, roundtrip.Step{SQL: sqlSetPrefs, Args: []any{string(p.Room), string(p.User), p.Muted, p.Hidden, p.Pinned}})
	}
	for _, b := range changes.Blocks {
		sql := sqlBlock
		if b.End {
			sql = sqlUnblock
		}
		steps = append(steps, roundtrip.Step{SQL: sql, Args: []any{string(b.User), string(b.Blocked)}})
	}
	for _, i := range changes.Invites {
		if i.Uses < 1 {
			steps = append(steps, roundtrip.Step{SQL: sqlEndInvite, Args: []any{i.Hash[:]}})
			continue
		}
		steps = append(steps, roundtrip.Step{SQL: sqlSetInvite, Args: []any{i.Hash[:], string(i.Room), string(i.By), string(i.Role), i.Uses, i.Until}})
	}
	return steps
}

const sqlOwn = `SELECT muted, hidden, pinned FROM room_prefs WHERE room_id = $1 AND user_id = $2`

// Own implements usecases.Store.
func (s *Store) Own(ctx context.Context, m chat.Membership) (own usecases.Own, err error) {
	if own.Marker, err = s.Marker(ctx, m); err != nil {
		return own, err
	}
	err = s.do(ctx, "read what is a member's own", func(ctx context.Context) error {
		p := &own.Prefs
		err := s.pool.QueryRow(ctx, sqlOwn, string(m.Room), string(m.User)).Scan(&p.Muted, &p.Hidden, &p.Pinned)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	return own, err
}

// maxTrimmed bounds how many invitations that are over one question deletes.
const maxTrimmed = 100

const sqlCountInvites = `
	WITH gone AS (
		DELETE FROM invites WHERE hash IN (SELECT hash FROM invites WHERE expires_at < now() ORDER BY expires_at LIMIT $2)
	)
	SELECT count(*) FROM invites WHERE room_id = $1 AND expires_at >= now()`

// CountInvites implements usecases.Store.
func (s *Store) CountInvites(ctx context.Context, room chat.RoomID) (n int, err error) {
	err = s.do(ctx, "count invites", func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, sqlCountInvites, string(room), maxTrimmed).Scan(&n)
	})
	return n, err
}

// Invitation implements usecases.Store.
func (s *Store) Invitation(ctx context.Context, hash chat.InviteHash) (i chat.Invitation, ok bool, err error) {
	err = s.do(ctx, "read invite", func(ctx context.Context) error {
		var err error
		i, err = scanInvitation(s.pool.QueryRow(ctx, sqlInvites, [][]byte{hash[:]}))
		if ok = err == nil; errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	return i, ok, err
}

const sqlListInvites = `
	SELECT hash, room_id, by_id, role, uses, expires_at FROM invites
	WHERE room_id = $1 AND hash > $2 AND expires_at > clock_timestamp() ORDER BY hash LIMIT $3`

// Invites implements usecases.Store.
func (s *Store) Invites(ctx context.Context, room chat.RoomID, after chat.InviteHash, limit int) (list []chat.Invitation, err error) {
	err = s.do(ctx, "list invites", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, sqlListInvites, string(room), after[:], limit)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (chat.Invitation, error) { return scanInvitation(row) })
		return err
	})
	return list, err
}

const sqlListBlocks = `SELECT blocked_id, at FROM blocks WHERE user_id = $1 AND blocked_id > $2 ORDER BY blocked_id LIMIT $3`

// Blocks implements usecases.Store.
func (s *Store) Blocks(ctx context.Context, user, after chat.UserID, limit int) (list []usecases.Blocked, err error) {
	err = s.do(ctx, "list blocks", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, sqlListBlocks, string(user), string(after), limit)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (b usecases.Blocked, err error) {
			err = row.Scan((*string)(&b.User), &b.At)
			return b, err
		})
		return err
	})
	return list, err
}

const sqlCountBlocks = `SELECT count(*) FROM (SELECT FROM blocks WHERE user_id = $1 LIMIT $2) AS b`

// CountBlocks implements usecases.Store.
func (s *Store) CountBlocks(ctx context.Context, user chat.UserID, most int) (n int, err error) {
	err = s.do(ctx, "count blocks", func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, sqlCountBlocks, string(user), most).Scan(&n)
	})
	return n, err
}
