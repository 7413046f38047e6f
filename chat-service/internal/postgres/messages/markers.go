package messages

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/postgres/roundtrip"
	"github.com/starling-chat/starling/chat-service/internal/rules"
)

// What is unread is a subtraction: as many messages as the room has, without those up to the marker. The marker is where the user has read up to,
// or has set it back to, or what it said after that itself; what came before the user counts as read. For what it said itself the last
// chat.MaxUnread messages behind the rest are looked at, from the newest on: an index for that would cost every message, and more are not told
// as unread anyway. Of mentions there are few, in a table of their own, and a deletion takes them away: those behind the marker are counted.
//
// MarkerColumns and MarkerJoins are for a row a with room_id, user_id, joined_seq, and read, back_seq, back_head of the receipt, and count.
const (
	MarkerColumns = `greatest(coalesce(a.back_seq, a.read, 0), coalesce(own.seq, 0)), least(coalesce(up.n, 0), a.count), a.count, named.n`

	MarkerJoins = `
		LEFT JOIN LATERAL (
			SELECT seq FROM (
				SELECT seq, sender_id FROM messages
				WHERE room_id = a.room_id AND seq > greatest(coalesce(a.back_seq, a.read), a.joined_seq, a.back_head, 0) ORDER BY seq DESC LIMIT 1000
			) AS late WHERE sender_id = a.user_id ORDER BY seq DESC LIMIT 1
		) AS own ON true
		LEFT JOIN LATERAL (
			SELECT coalesce(n, seq) AS n FROM messages
			WHERE room_id = a.room_id AND seq <= greatest(coalesce(a.back_seq, a.read), own.seq, a.joined_seq) ORDER BY seq DESC LIMIT 1
		) AS up ON true
		CROSS JOIN LATERAL (
			SELECT count(*) AS n FROM (
				(SELECT seq FROM mentions WHERE user_id = a.user_id AND room_id = a.room_id
				 AND seq > greatest(coalesce(a.back_seq, a.read), own.seq, a.joined_seq) AND NOT off LIMIT 100)
				UNION
				(SELECT seq FROM mentions WHERE user_id = '' AND room_id = a.room_id
				 AND seq > greatest(coalesce(a.back_seq, a.read), own.seq, a.joined_seq) AND NOT off LIMIT 100)
			) AS late
		) AS named`

	// count is the last n of a room; that of a room in which nothing happened since there is n is the last message's sequence.
	count = `coalesce(r.message_count, (SELECT seq FROM messages WHERE room_id = k.room_id ORDER BY seq DESC LIMIT 1), 0) AS count`

	sqlMarkers = `
		SELECT a.room_id, a.user_id, ` + MarkerColumns + ` FROM (
			SELECT k.place, k.room_id, k.user_id, me.joined_seq, rc.seq AS read, rc.back_seq, rc.back_head, ` + count + `
			FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS k (room_id, user_id, place)
			JOIN LATERAL (SELECT message_count FROM rooms WHERE room_id = k.room_id LIMIT 1) AS r ON true
			JOIN LATERAL (SELECT joined_seq FROM memberships WHERE room_id = k.room_id AND user_id = k.user_id LIMIT 1) AS me ON true
			LEFT JOIN LATERAL (SELECT * FROM receipts WHERE room_id = k.room_id AND user_id = k.user_id LIMIT 1) AS rc ON true
		) AS a` + MarkerJoins + ` ORDER BY a.place`

	sqlSetBack = `
		INSERT INTO receipts (room_id, user_id, seq, back_seq, back_head) SELECT room_id, $2, 0, $3, last_seq FROM rooms WHERE room_id = $1
		ON CONFLICT (room_id, user_id) DO UPDATE SET back_seq = excluded.back_seq, back_head = excluded.back_head`
)

// ScanMarker reads MarkerColumns.
type ScanMarker struct {
	Seq, N, Count int64

	Mentions int
}

// Into lists where the columns go.
func (s *ScanMarker) Into() []any { return []any{&s.Seq, &s.N, &s.Count, &s.Mentions} }

// Marker gives the marker.
func (s *ScanMarker) Marker() chat.Marker {
	return chat.Marker{
		Seq: uint64(s.Seq), N: uint64(s.N), Unread: uint64(min(max(s.Count-s.N, 0), chat.MaxUnread)), //nolint:gosec // count from 0
		Mentions: min(s.Mentions, chat.MaxMentions),
	}
}

// lookUpMarkers reads markers.
func lookUpMarkers(members []chat.Membership, markers map[chat.Membership]chat.Marker) roundtrip.Step {
	rooms, users := make([]string, len(members)), make([]string, len(members))
	for i, m := range members {
		rooms[i], users[i] = string(m.Room), string(m.User)
	}
	return roundtrip.Step{SQL: sqlMarkers, Args: []any{rooms, users}, Scan: func(rows pgx.Rows) error {
		var m chat.Membership
		var marker ScanMarker
		err := rows.Scan(append([]any{(*string)(&m.Room), (*string)(&m.User)}, marker.Into()...)...)
		markers[m] = marker.Marker()
		return err
	}}
}

func needMarkers(members []chat.Membership, state *rules.State) roundtrip.Step {
	state.Markers = make(map[chat.Membership]chat.Marker, len(members))
	return lookUpMarkers(members, state.Markers)
}

// Marker implements usecases.Store.
func (t *Table) Marker(ctx context.Context, m chat.Membership) (chat.Marker, error) {
	markers, err := t.Markers(ctx, []chat.Membership{m})
	return markers[m], err
}

// Markers reads the markers of members; those who are none are left out.
func (t *Table) Markers(ctx context.Context, members []chat.Membership) (map[chat.Membership]chat.Marker, error) {
	markers := make(map[chat.Membership]chat.Marker, len(members))
	err := t.do(ctx, "read markers", func(ctx context.Context) error {
		return roundtrip.Send(ctx, t.pool, []roundtrip.Step{lookUpMarkers(members, markers)})
	})
	return markers, err
}

// SetBack implements usecases.Store.
func (t *Table) SetBack(ctx context.Context, m chat.Membership, seq uint64, until time.Time) error {
	return t.do(ctx, "set a marker back", roundtrip.BeginBy(until, t.pool, func(ctx context.Context, conn *pgxpool.Conn) error {
		_, err := conn.Exec(ctx, sqlSetBack, string(m.Room), string(m.User), int64(seq)) //nolint:gosec // checked
		return err
	}))
}
