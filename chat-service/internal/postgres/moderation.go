package postgres

import (
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/postgres/roundtrip"
	"github.com/starling-chat/starling/chat-service/internal/rules"
)

const (
	sqlOwners = `SELECT room_id, user_id FROM memberships WHERE room_id = ANY($1::text[]) AND role <> 'member' AND role = 'owner'`

	sqlCompany = `
		SELECT p.room_id, p.user_id FROM unnest($1::text[], $2::text[]) AS p (room_id, user_id)
		WHERE EXISTS (SELECT FROM memberships AS m WHERE m.room_id = p.room_id AND m.user_id <> p.user_id AND m.role <> 'guest')`

	sqlChangeMembers = `
		UPDATE memberships AS m SET role = a.role, muted_until = a.muted_until, by_token = a.by_token, sent_at = a.sent_at
		FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::bool[], $6::timestamptz[])
			AS a (room_id, user_id, role, muted_until, by_token, sent_at)
		WHERE m.room_id = a.room_id AND m.user_id = a.user_id`

	sqlRestrict = `
		INSERT INTO restrictions (room_id, user_id, banned_until, muted_until, sent_at)
		SELECT room_id, user_id, banned_until, muted_until, sent_at
		FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[])
			AS a (room_id, user_id, banned_until, muted_until, sent_at)
		ON CONFLICT (room_id, user_id) DO UPDATE SET
			banned_until = excluded.banned_until, muted_until = excluded.muted_until, sent_at = excluded.sent_at`

	sqlAudit = `
		INSERT INTO audit (at, room_id, by_id, act, user_id, role, until, reason, api_key)
		SELECT $1, room_id, by_id, act, user_id, role, until, reason, api_key
		FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[], $8::text[], $9::text[])
			AS a (room_id, by_id, act, user_id, role, until, reason, api_key)`
)

func readOwners(rooms []chat.RoomID, state *rules.State) roundtrip.Step {
	state.Owners = map[chat.RoomID][]chat.UserID{}
	return roundtrip.Step{SQL: sqlOwners, Args: []any{texts(rooms)}, Scan: func(rows pgx.Rows) error {
		var room, user string
		err := rows.Scan(&room, &user)
		state.Owners[chat.RoomID(room)] = append(state.Owners[chat.RoomID(room)], chat.UserID(user))
		return err
	}}
}

func readCompany(members []chat.Membership, state *rules.State) roundtrip.Step {
	state.Company = map[chat.Membership]bool{}
	rooms, users := make([]string, len(members)), make([]string, len(members))
	for i, m := range members {
		rooms[i], users[i] = string(m.Room), string(m.User)
	}
	return roundtrip.Step{SQL: sqlCompany, Args: []any{rooms, users}, Scan: func(rows pgx.Rows) error {
		var m chat.Membership
		err := rows.Scan((*string)(&m.Room), (*string)(&m.User))
		state.Company[m] = true
		return err
	}}
}

// moderationSteps writes what moderators changed of users, and the audit.
func moderationSteps(changes *rules.Changes, at time.Time) (steps []roundtrip.Step) {
	if n := len(changes.Members); n > 0 {
		rooms, users, roles, muted, sent := make([]string, n), make([]string, n), make([]string, n), make([]*time.Time, n), make([]*time.Time, n)
		byToken := make([]bool, n)
		for i, m := range changes.Members {
			byToken[i] = m.ByToken
			rooms[i], users[i], roles[i], muted[i] = string(m.Room), string(m.User), string(m.Role), timeOrNull(m.MutedUntil)
			sent[i] = timeOrNull(m.SentAt)
		}
		steps = append(steps, roundtrip.Step{SQL: sqlChangeMembers, Args: []any{rooms, users, roles, muted, byToken, sent}})
	}
	if n := len(changes.Restricted); n > 0 {
		rooms, users, banned, muted, sent := make([]string, n), make([]string, n), make([]*time.Time, n), make([]*time.Time, n), make([]*time.Time, n)
		for i, m := range changes.Restricted {
			rooms[i], users[i] = string(m.Room), string(m.User)
			banned[i], muted[i], sent[i] = timeOrNull(m.BannedUntil), timeOrNull(m.MutedUntil), timeOrNull(m.SentAt)
		}
		steps = append(steps, roundtrip.Step{SQL: sqlRestrict, Args: []any{rooms, users, banned, muted, sent}})
	}
	if n := len(changes.Audit); n > 0 {
		rooms, by, acts, users := make([]string, n), make([]string, n), make([]string, n), make([]string, n)
		roles, until, reasons := make([]string, n), make([]*time.Time, n), make([]string, n)
		keys := make([]string, n)
		for i, a := range changes.Audit {
			keys[i] = a.Key
			rooms[i], by[i], acts[i], users[i] = string(a.Room), string(a.By), a.Act, string(a.User)
			roles[i], until[i], reasons[i] = string(a.Role), timeOrNull(a.Until), a.Why
		}
		steps = append(steps, roundtrip.Step{SQL: sqlAudit, Args: []any{at, rooms, by, acts, users, roles, until, reasons, keys}})
	}
	return steps
}
