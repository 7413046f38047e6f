package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/postgres/roundtrip"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
)

// What is asked for is a text, not a pattern.
const (
	membersAsked = `
		FROM memberships AS m WHERE m.room_id = $1 AND ($2 = '' OR m.user_id = $2)
		AND ($3 = '' OR position(lower($3) IN lower(m.user_name)) > 0 OR position(lower($3) IN lower(m.user_id)) > 0)`

	sqlMemberPage = `
		SELECT m.user_id, m.user_name, CASE WHEN m.user_id = (SELECT owner_id FROM rooms WHERE room_id = $1) THEN 'owner' ELSE m.role END, m.joined_at` +
		membersAsked + ` AND m.user_id > $4 ORDER BY m.user_id LIMIT $5`

	sqlMemberCount = `SELECT count(*)` + membersAsked
)

// MemberList implements usecases.Store in one round trip.
func (s *Store) MemberList(ctx context.Context, room chat.RoomID, page usecases.MembersPage) (usecases.MemberList, error) {
	asked := []any{string(room), string(page.Only), page.Query}
	var l usecases.MemberList
	err := s.do(ctx, "list members", func(ctx context.Context) error {
		l = usecases.MemberList{}
		return s.readSnapshot(ctx,
			roundtrip.Step{SQL: sqlMemberPage, Args: append(asked[:3:3], string(page.After), page.Limit+1), Scan: roundtrip.Collect(&l.List, scanMember)},
			roundtrip.Step{SQL: sqlMemberCount, Args: asked, Scan: func(rows pgx.Rows) error { return rows.Scan(&l.Count) }})
	})
	if l.HasMore = len(l.List) > page.Limit; l.HasMore {
		l.List = l.List[:page.Limit]
	}
	return l, err
}

func scanMember(row pgx.CollectableRow) (m usecases.Member, err error) {
	err = row.Scan((*string)(&m.User), &m.Name, (*string)(&m.Role), &m.JoinedAt)
	return m, err
}
