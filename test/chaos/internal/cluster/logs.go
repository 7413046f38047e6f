package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/test/chaos/internal/history"
)

const (
	sqlLogs = `SELECT user_id, last_seq FROM chat.user_logs WHERE user_id = ANY ($1)`
	sqlTold = `SELECT e.user_id, e.seq, e.at, e.payload, coalesce(e.shown_room, ''), coalesce(m.id::text, '')
		FROM chat.user_events AS e LEFT JOIN chat.messages AS m ON m.room_id = e.shown_room AND m.seq = e.shown_seq
		WHERE e.user_id = ANY ($1) ORDER BY e.user_id, e.seq`
)

// DumpLogs reads the logs of users into h.Users and h.Told; start is the run's.
func (c *Cluster) DumpLogs(ctx context.Context, h *history.History, start time.Time) error {
	d := logDump{h: h, start: start, rooms: map[string]int{}, users: map[string]int{}}
	ids := make([]string, len(h.Users))
	for i, user := range h.Users {
		d.users[user.ID], ids[i] = i, user.ID
	}
	for i, room := range h.Rooms {
		d.rooms[room.ID] = i
	}
	err := c.Postgres.do(ctx, func(conn *pgx.Conn) error {
		return errors.Join(d.readHeads(ctx, conn, ids), d.readTold(ctx, conn, ids))
	})
	if err != nil {
		return fmt.Errorf("read what the database holds of the logs of users: %w", err)
	}
	return nil
}

type logDump struct {
	h            *history.History
	start        time.Time
	rooms, users map[string]int
}

func (d logDump) readHeads(ctx context.Context, conn *pgx.Conn, ids []string) error {
	var (
		id   string
		last uint64
	)
	rows, err := conn.Query(ctx, sqlLogs, ids)
	if err != nil {
		return err
	}
	_, err = pgx.ForEachRow(rows, []any{&id, &last}, func() error {
		d.h.Users[d.users[id]].LogSeq = last
		return nil
	})
	return err
}

func (d logDump) readTold(ctx context.Context, conn *pgx.Conn, ids []string) error {
	var (
		id, room, shown string
		seq             uint64
		at              time.Time
		payload         []byte
	)
	rows, err := conn.Query(ctx, sqlTold, ids)
	if err != nil {
		return err
	}
	_, err = pgx.ForEachRow(rows, []any{&id, &seq, &at, &payload, &room, &shown}, func() error {
		told := history.Told{Hash: history.MentionHash(seq, room, shown), Kind: "me:mention", Room: d.room(room)}
		if room == "" { // what the others say is not read when they are told
			var err error
			if told, err = d.told(payload); err != nil {
				return fmt.Errorf("event %d of the log of %s: %w", seq, id, err)
			}
		}
		told.User, told.Seq, told.At = d.users[id], seq, at.Sub(d.start)
		d.h.Told = append(d.h.Told, told)
		return nil
	})
	return err
}

// told reads an event: me:room-added has the room in an object, the others have its id.
func (d logDump) told(payload []byte) (history.Told, error) {
	var p eventv1.RoomEvent
	if err := proto.Unmarshal(payload, &p); err != nil {
		return history.Told{}, fmt.Errorf("read its form: %w", err)
	}
	var args []json.RawMessage
	if err := json.Unmarshal(p.GetEmit().GetArgs(), &args); err != nil {
		return history.Told{}, fmt.Errorf("read its arguments: %w", err)
	}
	if len(args) != 1 {
		return history.Told{}, fmt.Errorf("it has %d arguments", len(args))
	}
	var fields struct {
		RoomID string `json:"roomId"`
		Room   struct {
			RoomID string `json:"roomId"`
		} `json:"room"`
	}
	if err := json.Unmarshal(args[0], &fields); err != nil {
		return history.Told{}, fmt.Errorf("read its argument: %w", err)
	}
	kind := p.GetEmit().GetEvent()
	room := d.room(fields.RoomID + fields.Room.RoomID) // one of the two is empty
	return history.Told{Hash: history.LogHash(kind, args[0]), Kind: kind, Room: room}, nil
}

// room is the index of a room, -1 of one that is not of this run.
func (d logDump) room(id string) int {
	if i, known := d.rooms[id]; known {
		return i
	}
	return -1
}
