package messages

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/starling-chat/starling/chat-service/internal/chat"
)

// sqlActivity looks up the last message of each room by the index, whatever the statistics say. Of the content it takes what a preview
// shows and a character more, which tells that there is more.
const sqlActivity = `
	SELECT k.room_id, r.last_seq, coalesce(r.message_count, l.seq, 0),
	       l.seq, l.id, l.sender_id, l.sender_name, left(l.content, 141), l.type, l.created_at, l.deleted_at
	FROM unnest($1::text[]) AS k (room_id)
	JOIN LATERAL (SELECT last_seq, message_count, kind FROM rooms WHERE room_id = k.room_id LIMIT 1) AS r ON r.kind <> 'deleted'
	LEFT JOIN LATERAL (SELECT * FROM messages WHERE room_id = k.room_id ORDER BY seq DESC LIMIT 1) AS l ON true`

// Activity tells how rooms stand by now; those that are no more are left out.
func (t *Table) Activity(ctx context.Context, rooms []chat.RoomID) (list []chat.Activity, err error) {
	ids := make([]string, len(rooms))
	for i, room := range rooms {
		ids[i] = string(room)
	}
	err = t.do(ctx, "read the activity of rooms", func(ctx context.Context) error {
		rows, err := t.pool.Query(ctx, sqlActivity, ids)
		if err == nil {
			list, err = pgx.CollectRows(rows, scanActivity)
		}
		return err
	})
	return list, err
}

func scanActivity(row pgx.CollectableRow) (a chat.Activity, err error) {
	var head, n int64
	var last Nullable
	var deleted *time.Time
	err = row.Scan((*string)(&a.Room), &head, &n,
		&last.seq, &last.id, &last.sender, &last.senderName, &last.content, &last.kind, &last.createdAt, &deleted)
	if err != nil {
		return a, err
	}
	a.Seq, a.N = uint64(head), uint64(n) //nolint:gosec // count from 0
	last.clientMsgID = new(string)       // nobody asks for it
	if a.Last = last.Message(a.Room); a.Last != nil && deleted != nil {
		a.Last.Extras = &chat.Extras{DeletedAt: at(deleted)}
	}
	return a, nil
}
