package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/postgres/messages"
	"github.com/starling-chat/starling/chat-service/internal/postgres/roundtrip"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
)

const sqlRooms = `
	SELECT a.room_id, a.name, a.kind, a.role, a.by_token, a.last_seq, ` + messages.MarkerColumns + `,
	       coalesce(f.muted, false), coalesce(f.hidden, false), coalesce(f.pinned, false),
	       a.seq, a.id, a.sender_id, a.sender_name, a.content, a.type, coalesce(a.client_msg_id, ''), a.created_at, ` + messages.Rare + `
	FROM (
		SELECT p.*, rc.seq AS read, rc.back_seq, rc.back_head FROM (
			SELECT me.room_id, me.user_id, me.joined_seq, me.by_token, r.name, r.kind, r.last_seq, coalesce(r.message_count, l.seq, 0) AS count,
			       CASE WHEN r.owner_id = me.user_id THEN 'owner' ELSE me.role END AS role,
			       l.seq, l.id, l.sender_id, l.sender_name, l.content, l.type, l.client_msg_id, l.created_at
			FROM memberships AS me
			JOIN rooms AS r ON r.room_id = me.room_id AND r.kind <> 'deleted'
			LEFT JOIN LATERAL (
				SELECT m.* FROM messages AS m WHERE m.room_id = me.room_id ORDER BY m.seq DESC LIMIT 1
			) AS l ON true
			WHERE me.user_id = $1 AND (cardinality($3::text[]) = 0 OR r.kind = ANY($3))
			AND ($4::timestamptz IS NULL OR coalesce(l.created_at, to_timestamp(0)) < $4
			     OR coalesce(l.created_at, to_timestamp(0)) = $4 AND me.room_id > $5)
			ORDER BY l.created_at DESC NULLS LAST, me.room_id
			LIMIT $2
		) AS p LEFT JOIN receipts AS rc ON rc.room_id = p.room_id AND rc.user_id = p.user_id
	) AS a
	LEFT JOIN LATERAL (SELECT * FROM messages WHERE room_id = a.room_id AND seq = a.seq LIMIT 1) AS m ON true ` + messages.Reply + `
	LEFT JOIN room_prefs AS f ON f.room_id = a.room_id AND f.user_id = a.user_id` + messages.MarkerJoins + `
	ORDER BY a.created_at DESC NULLS LAST, a.room_id`

// Rooms implements usecases.Store in one round trip.
func (s *Store) Rooms(ctx context.Context, user chat.UserID, page usecases.RoomsPage) (usecases.RoomList, error) {
	var l usecases.RoomList
	args := []any{string(user), page.Limit + 1, texts(page.Kinds), timeOrNull(page.After.Active), string(page.After.Room)}
	err := s.do(ctx, "list rooms", func(ctx context.Context) error {
		l = usecases.RoomList{}
		return s.readSnapshot(ctx,
			roundtrip.Step{SQL: sqlLogHead, Args: []any{string(user)}, Scan: func(rows pgx.Rows) error {
				var last int64
				err := rows.Scan(&last)
				l.Useq = uint64(last) //nolint:gosec // counts from 0
				return err
			}},
			roundtrip.Step{SQL: sqlRooms, Args: args, Scan: roundtrip.Collect(&l.List, scanSummary)})
	})
	if len(l.List) > page.Limit {
		l.List = l.List[:page.Limit]
		last := &l.List[page.Limit-1]
		l.Next = usecases.RoomsCursor{Active: time.Unix(0, 0), Room: last.Room}
		if last.Last != nil {
			l.Next.Active = last.Last.CreatedAt
		}
	}
	return l, err
}

func scanSummary(row pgx.CollectableRow) (usecases.RoomSummary, error) {
	var r usecases.RoomSummary
	var head int64
	var marker messages.ScanMarker
	var last messages.Nullable
	err := row.Scan(append([]any{
		(*string)(&r.Room), &r.Name, (*string)(&r.Kind), (*string)(&r.Role), &r.ByToken, &head, &marker.Seq, &marker.N, &marker.Count, &marker.Mentions,
		&r.Prefs.Muted, &r.Prefs.Hidden, &r.Prefs.Pinned,
	}, last.Into()...)...)
	r.Head, r.N, r.Marker = uint64(head), uint64(marker.Count), marker.Marker() //nolint:gosec // count from 0
	r.Last = last.Message(r.Room)
	return r, err
}

const (
	// What rooms are, where several are told at once. Members are counted as far as somebody would look, $2.
	infoColumns = `
		room_id, kind, name, topic, avatar_url, data, version, created_at, send_role, slow_mode_ms, max_members, archived_at,
		(SELECT count(*) FROM (SELECT FROM memberships AS m WHERE m.room_id = r.room_id LIMIT $2) AS counted)`

	sqlAllRooms = `SELECT ` + infoColumns + `, last_seq
		FROM rooms AS r WHERE room_id > $1 AND kind = ANY($3::text[]) ORDER BY room_id LIMIT $4`
)

// maxCounted bounds how many members are counted of each room.
const maxCounted = 1000

// AllRooms implements usecases.Store: one room more than is wanted tells that there are more.
func (s *Store) AllRooms(ctx context.Context, page usecases.AllRoomsPage) ([]usecases.ListedRoom, error) {
	var rooms []usecases.ListedRoom
	err := s.do(ctx, "list all rooms", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, sqlAllRooms, string(page.After), maxCounted, texts(page.Kinds), page.Limit+1)
		if err != nil {
			return err
		}
		rooms, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (r usecases.ListedRoom, err error) {
			var head int64
			r.RoomInfo, err = scanInfo(row, &head)
			r.Head = uint64(head) //nolint:gosec // counts from 0
			return r, err
		})
		return err
	})
	return rooms, err
}

// scanInfo reads infoColumns, and what is behind them into more.
func scanInfo(row pgx.CollectableRow, more ...any) (info chat.RoomInfo, err error) {
	var content string
	var version, slow int64
	var archived *time.Time
	err = row.Scan(append([]any{
		(*string)(&info.Room), (*string)(&info.Kind), &info.Profile.Name, &info.Profile.Topic, &info.Profile.AvatarURL, &content, &version,
		&info.CreatedAt, (*string)(&info.Settings.Send), &slow, &info.Settings.MaxMembers, &archived, &info.Members,
	}, more...)...)
	info.Settings.SlowMode, info.ArchivedAt = milliseconds(slow), timeOr0(archived)
	info.Profile.Data, info.Version = []byte(content), uint64(version) //nolint:gosec // counts from 1
	return info, err
}
