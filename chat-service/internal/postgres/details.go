package postgres

import (
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/postgres/roundtrip"
	"github.com/starling-chat/starling/chat-service/internal/rules"
)

const (
	// What a room is, beside its id, its sequence and its owner.
	sqlDescribeRooms = `
		UPDATE rooms SET kind = a.kind, name = a.name, topic = a.topic, avatar_url = a.avatar_url, data = a.data,
			send_role = a.send_role, slow_mode_ms = a.slow_mode_ms, max_members = a.max_members, version = a.version, archived_at = a.archived_at,
			deleted_at = CASE WHEN a.kind = 'deleted' THEN clock_timestamp() END
		FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[], $9::integer[],
				$10::bigint[], $11::timestamptz[])
			AS a (room_id, kind, name, topic, avatar_url, data, send_role, slow_mode_ms, max_members, version, archived_at)
		WHERE rooms.room_id = a.room_id`

	// Only where there is a bound, and not further than it.
	sqlCounts = `
		SELECT room_id, (SELECT count(*) FROM (SELECT FROM memberships AS m WHERE m.room_id = r.room_id
			LIMIT least(nullif(r.max_members, 0), nullif($2::integer, 0))) AS c)
		FROM rooms AS r WHERE room_id = ANY($1::text[]) AND (max_members > 0 OR $2 > 0)`
)

// readCounts counts members where a room has a bound, of its own or that of all rooms, as far as to the bound.
func readCounts(rooms []chat.RoomID, state *rules.State) roundtrip.Step {
	state.Counts = map[chat.RoomID]int{}
	return roundtrip.Step{SQL: sqlCounts, Args: []any{texts(rooms), state.Quotas.Members}, Scan: func(rows pgx.Rows) error {
		var id string
		var n int
		err := rows.Scan(&id, &n)
		state.Counts[chat.RoomID(id)] = n
		return err
	}}
}

// detailRows are what rooms are, column by column. A room without a name has its id for one.
type detailRows struct {
	rooms, kinds, names, topics, avatars, contents, sends []string

	slow, versions []int64
	most           []int32
	archived       []*time.Time
}

func (r *detailRows) add(id chat.RoomID, kind access.Kind, d *chat.RoomDetails) {
	name := d.Profile.Name
	if name == "" {
		name = string(id)
	}
	r.rooms, r.kinds, r.names = append(r.rooms, string(id)), append(r.kinds, string(kind)), append(r.names, name)
	r.topics, r.avatars = append(r.topics, d.Profile.Topic), append(r.avatars, d.Profile.AvatarURL)
	r.contents, r.sends = append(r.contents, string(d.Profile.Data)), append(r.sends, string(d.Settings.Send))
	r.slow, r.most = append(r.slow, d.Settings.SlowMode.Milliseconds()), append(r.most, int32(d.Settings.MaxMembers)) //nolint:gosec // 100,000 at most
	r.versions, r.archived = append(r.versions, int64(d.Version)), append(r.archived, timeOrNull(d.ArchivedAt))       //nolint:gosec // counts from 1
}

func (r *detailRows) step() roundtrip.Step {
	return roundtrip.Step{SQL: sqlDescribeRooms, Args: []any{
		r.rooms, r.kinds, r.names, r.topics, r.avatars, r.contents, r.sends, r.slow, r.most, r.versions, r.archived,
	}}
}
