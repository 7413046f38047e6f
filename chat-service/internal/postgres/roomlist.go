package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
)

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
func (s *Store) AllRooms(ctx context.Context, page usecases.RoomsPage) ([]usecases.ListedRoom, error) {
	kinds := make([]string, len(page.Kinds))
	for i, kind := range page.Kinds {
		kinds[i] = string(kind)
	}
	var rooms []usecases.ListedRoom
	err := s.do(ctx, "list all rooms", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, sqlAllRooms, string(page.After), maxCounted, kinds, page.Limit+1)
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
