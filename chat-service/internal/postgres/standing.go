package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/postgres/roundtrip"
	"github.com/starling-chat/starling/chat-service/internal/rules"
)

// What a access.Standing is read from: r is the room, me the membership, x what the user is kept from there; each may be missing. A
// statement asks for all of them, whether the room exists or not, so that the time of an answer does not tell a stranger which it is.
const standingColumns = `r.room_id IS NOT NULL AS found, coalesce(r.kind, '') AS kind, coalesce(r.owner_id, '') AS owner_id,
	       coalesce(r.send_role, '') AS send_role, r.archived_at IS NOT NULL AS archived,
	       me.role IS NOT NULL AS member, coalesce(me.role, '') AS role, coalesce(me.by_token, false) AS by_token, x.banned_until, coalesce(me.muted_until, x.muted_until) AS muted_until`

// standingNames are the names of standingColumns, of a query a that has them.
const standingNames = `a.found, a.kind, a.owner_id, a.send_role, a.archived, a.member, a.role, a.by_token, a.banned_until, a.muted_until`

// standingJoins joins the three to a row a with room_id and user_id. LATERAL with LIMIT makes each an index look-up, whatever the
// statistics say.
const standingJoins = `
	LEFT JOIN LATERAL (SELECT * FROM rooms WHERE room_id = a.room_id LIMIT 1) AS r ON true
	LEFT JOIN LATERAL (
		SELECT user_name, name_version, role, by_token, muted_until FROM memberships WHERE room_id = a.room_id AND user_id = a.user_id LIMIT 1
	) AS me ON true
	LEFT JOIN LATERAL (
		SELECT banned_until, muted_until FROM restrictions WHERE room_id = a.room_id AND user_id = a.user_id LIMIT 1
	) AS x ON true`

// standingRow takes standingColumns.
type standingRow struct {
	access.Standing

	owner         string
	banned, muted *time.Time
}

// into lists where the columns go.
func (s *standingRow) into() []any {
	return []any{
		&s.Exists, (*string)(&s.Kind), &s.owner, (*string)(&s.Send), &s.Archived, &s.Member, (*string)(&s.Role), &s.ByToken, &s.banned, &s.muted,
	}
}

// of gives the standing of a user whose row was scanned.
func (s *standingRow) of(user chat.UserID) access.Standing {
	out := s.Standing
	if out.Member {
		out.Role = chat.RoleOf(user, chat.UserID(s.owner), out.Role)
	}
	out.BannedUntil, out.MutedUntil = timeOr0(s.banned), timeOr0(s.muted)
	return out
}

func milliseconds(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

func timeOr0(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}

const sqlStanding = `SELECT ` + standingColumns + `, coalesce(me.user_name, ''), coalesce(me.name_version, 0)
	FROM (VALUES ($1::text, $2::text)) AS a (room_id, user_id)` + standingJoins

// Standing implements usecases.Store.
func (s *Store) Standing(ctx context.Context, m chat.Membership) (access.Standing, chat.Name, error) {
	var row standingRow
	var name chat.Name
	err := s.do(ctx, "read standing", func(ctx context.Context) error {
		row = standingRow{}
		return s.pool.QueryRow(ctx, sqlStanding, string(m.Room), string(m.User)).Scan(append(row.into(), &name.Text, &name.Version)...)
	})
	return row.of(m.User), name, err
}

// Counting is for those who may see the room.
const sqlRoom = `SELECT ` + standingColumns + `,
	       coalesce(r.name, ''), coalesce(r.topic, ''), coalesce(r.avatar_url, ''), coalesce(r.data, ''), coalesce(r.version, 0),
	       coalesce(r.created_at, 'epoch'), coalesce(r.slow_mode_ms, 0), coalesce(r.max_members, 0), r.archived_at,
	       CASE WHEN me.role IS NOT NULL OR r.kind = 'public' OR $3
	            THEN (SELECT count(*) FROM memberships WHERE room_id = a.room_id) ELSE 0 END
	FROM (VALUES ($1::text, $2::text)) AS a (room_id, user_id)` + standingJoins

// Room implements usecases.Store.
func (s *Store) Room(ctx context.Context, m chat.Membership, granted access.Rights) (chat.RoomInfo, access.Standing, error) {
	var row standingRow
	var info chat.RoomInfo
	err := s.do(ctx, "read room", func(ctx context.Context) error {
		row, info = standingRow{}, chat.RoomInfo{Room: m.Room}
		var content string
		var version, slow int64
		var archived *time.Time
		err := s.pool.QueryRow(ctx, sqlRoom, string(m.Room), string(m.User), granted != 0).Scan(append(row.into(),
			&info.Profile.Name, &info.Profile.Topic, &info.Profile.AvatarURL, &content, &version, &info.CreatedAt,
			&slow, &info.Settings.MaxMembers, &archived, &info.Members)...)
		info.Settings.Send, info.Settings.SlowMode, info.ArchivedAt = row.Send, milliseconds(slow), timeOr0(archived)
		info.Kind, info.Profile.Data = row.Kind, []byte(content)
		info.Version = uint64(version) //nolint:gosec // counts from 1
		return err
	})
	standing := row.of(m.User)
	standing.Granted = granted
	return info, standing, err
}

// sqlMembers asks for a ban or a mute of those only who are no members: a member has its mute with it, and no ban.
const sqlMembers = `
	SELECT p.room_id, p.user_id, m.role IS NOT NULL, coalesce(m.user_name, ''), coalesce(m.name_version, 0), coalesce(m.role, ''),
	       coalesce(m.by_token, false), x.banned_until, coalesce(m.muted_until, x.muted_until), coalesce(m.sent_at, x.sent_at)
	FROM unnest($1::text[], $2::text[]) AS p (room_id, user_id)
	LEFT JOIN LATERAL (
		SELECT user_name, name_version, role, by_token, muted_until, sent_at FROM memberships
		WHERE room_id = p.room_id AND user_id = p.user_id LIMIT 1
	) AS m ON true
	LEFT JOIN LATERAL (
		SELECT user_id, banned_until, muted_until, sent_at FROM restrictions
		WHERE m.role IS NULL AND room_id = p.room_id AND user_id = p.user_id LIMIT 1
	) AS x ON true
	WHERE m.role IS NOT NULL OR x.user_id IS NOT NULL`

func readMembers(members []chat.Membership, state *rules.State) roundtrip.Step {
	rooms, users := make([]string, len(members)), make([]string, len(members))
	for i, m := range members {
		rooms[i], users[i] = string(m.Room), string(m.User)
	}
	var m chat.Membership
	var member rules.Member
	var banned, muted, sent *time.Time
	into := []any{ // each column of each row; once for all rows
		(*string)(&m.Room), (*string)(&m.User), &member.Is, &member.Name.Text, &member.Name.Version,
		(*string)(&member.Role), &member.ByToken, &banned, &muted, &sent,
	}
	return roundtrip.Step{SQL: sqlMembers, Args: []any{rooms, users}, Scan: func(rows pgx.Rows) error {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		member.BannedUntil, member.MutedUntil, member.SentAt = timeOr0(banned), timeOr0(muted), timeOr0(sent)
		state.Members[m] = member
		return nil
	}}
}
