package postgres

import (
	"context"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/chat"
)

// What is stored of deleted rooms goes in steps, each a transaction of its own, by whichever replica comes first. Where a purge ends too early,
// it goes on at the next look: a room is due until nothing of it is left.
const (
	// purgeGrace is how long the log of a deleted room stays, for gateways that were cut off when it was deleted.
	purgeGrace = time.Minute
	purgeRows  = 1000 // of a table, in one statement
	purgeRooms = 20   // at one look
)

const (
	sqlDueRooms = `
		SELECT room_id FROM rooms WHERE deleted_at IS NOT NULL AND deleted_at < clock_timestamp() - $1 * interval '1 millisecond'
		ORDER BY deleted_at LIMIT $2`

	sqlPurged = `UPDATE rooms SET deleted_at = NULL WHERE room_id = $1 AND kind = 'deleted'`
)

// purges delete what is left of a room, purgeRows at most.
func purges() []string {
	return []string{
		`DELETE FROM messages WHERE room_id = $1 AND seq = ANY(ARRAY(SELECT seq FROM messages WHERE room_id = $1 ORDER BY seq LIMIT $2))`,
		`DELETE FROM changed_messages WHERE room_id = $1 AND seq = ANY(ARRAY(SELECT seq FROM changed_messages WHERE room_id = $1 ORDER BY seq LIMIT $2))`,
		`DELETE FROM replies WHERE room_id = $1 AND seq = ANY(ARRAY(SELECT seq FROM replies WHERE room_id = $1 ORDER BY seq LIMIT $2))`,
		`DELETE FROM reactions WHERE ctid = ANY(ARRAY(SELECT ctid FROM reactions WHERE room_id = $1 LIMIT $2))`,
		`DELETE FROM pins WHERE room_id = $1 AND seq = ANY(ARRAY(SELECT seq FROM pins WHERE room_id = $1 LIMIT $2))`,
		`DELETE FROM mentions WHERE ctid = ANY(ARRAY(SELECT ctid FROM mentions WHERE room_id = $1 LIMIT $2))`,
		`DELETE FROM message_edits WHERE ctid = ANY(ARRAY(SELECT ctid FROM message_edits WHERE room_id = $1 LIMIT $2))`,
		`DELETE FROM room_events WHERE room_id = $1 AND seq = ANY(ARRAY(SELECT seq FROM room_events WHERE room_id = $1 ORDER BY seq LIMIT $2))`,
		`DELETE FROM receipts WHERE room_id = $1 AND user_id = ANY(ARRAY(SELECT user_id FROM receipts WHERE room_id = $1 ORDER BY user_id LIMIT $2))`,
		`DELETE FROM restrictions WHERE room_id = $1 AND user_id = ANY(ARRAY(SELECT user_id FROM restrictions WHERE room_id = $1 ORDER BY user_id LIMIT $2))`,
		`DELETE FROM room_prefs WHERE room_id = $1 AND user_id = ANY(ARRAY(SELECT user_id FROM room_prefs WHERE room_id = $1 ORDER BY user_id LIMIT $2))`,
		`DELETE FROM invites WHERE hash = ANY(ARRAY(SELECT hash FROM invites WHERE room_id = $1 ORDER BY hash LIMIT $2))`,
		`DELETE FROM memberships WHERE room_id = $1 AND user_id = ANY(ARRAY(SELECT user_id FROM memberships WHERE room_id = $1 ORDER BY user_id LIMIT $2))`,
	}
}

// Purge tells members of deleted rooms that have not been told, and removes what is stored of rooms that were deleted longer ago than grace. It
// gives the number of rooms of which all is gone.
func (s *Store) Purge(ctx context.Context, grace time.Duration) (rooms int, err error) {
	untold, err := s.rooms(ctx, "look for deleted rooms", sqlUntoldRooms, purgeRooms)
	for _, room := range untold {
		if err != nil {
			break
		}
		err = s.farewellAll(ctx, room)
	}
	if err != nil {
		return 0, err
	}
	due, err := s.rooms(ctx, "look for deleted rooms", sqlDueRooms, grace.Milliseconds(), purgeRooms)
	for _, room := range due {
		if err != nil {
			break
		}
		if err = s.purge(ctx, room); err == nil {
			rooms++
		}
	}
	return rooms, err
}

// purge removes what is stored of a room: its members last, after they have been told.
func (s *Store) purge(ctx context.Context, room chat.RoomID) error {
	if err := s.farewellAll(ctx, room); err != nil {
		return err
	}
	for _, sql := range purges() {
		for n := int64(purgeRows); n == purgeRows; {
			err := s.do(ctx, "purge a deleted room", func(ctx context.Context) error {
				tag, err := s.pool.Exec(ctx, sql, string(room), purgeRows)
				n = tag.RowsAffected()
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return s.do(ctx, "note a purged room", func(ctx context.Context) error {
		_, err := s.pool.Exec(ctx, sqlPurged, string(room))
		return err
	})
}

// PurgeEvery purges at an interval until ctx ends, and at once again while there is more; it expires answers as well.
func (s *Store) PurgeEvery(ctx context.Context, interval time.Duration, failed func(error)) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		for s.opened.Load() && ctx.Err() == nil {
			rooms, err := s.Purge(ctx, purgeGrace)
			answers := int64(0)
			if err == nil {
				answers, err = s.ExpireAnswers(ctx)
			}
			if err != nil && ctx.Err() == nil {
				failed(err)
			}
			if err != nil || rooms < purgeRooms && answers < purgeRows {
				break
			}
		}
	}
}
