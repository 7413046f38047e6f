package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/test/chaos/internal/history"
)

const (
	sqlRooms    = `SELECT room_id, last_seq FROM chat.rooms WHERE room_id = ANY ($1)`
	sqlEvents   = `SELECT room_id, seq, payload FROM chat.room_events WHERE room_id = ANY ($1) ORDER BY room_id, seq`
	sqlMessages = `SELECT room_id, seq, id::text, sender_id, content, coalesce(client_msg_id, '') FROM chat.messages WHERE room_id = ANY ($1)`
)

// Dump reads what the database holds into h.Rooms and h.Log.
func (c *Cluster) Dump(ctx context.Context, h *history.History) error {
	d := dump{h: h, rooms: map[string]int{}, users: map[string]int{}}
	var ids []string
	for i, room := range h.Rooms {
		d.rooms[room.ID] = i
		ids = append(ids, room.ID)
	}
	for i, user := range h.Users {
		d.users[user.ID] = i
	}
	err := c.Postgres.do(ctx, func(conn *pgx.Conn) error {
		return errors.Join(d.readRooms(ctx, conn, ids), d.readEvents(ctx, conn, ids), d.readMessages(ctx, conn, ids))
	})
	if err != nil {
		return fmt.Errorf("read what the database holds: %w", err)
	}
	slices.SortFunc(h.Log, func(a, b history.Event) int {
		if a.Room != b.Room {
			return a.Room - b.Room
		}
		return int(a.Seq) - int(b.Seq) //nolint:gosec // far below 2^63
	})
	return nil
}

type dump struct {
	h            *history.History
	rooms, users map[string]int
}

func (d dump) readRooms(ctx context.Context, conn *pgx.Conn, ids []string) error {
	var (
		id   string
		last uint64
	)
	rows, err := conn.Query(ctx, sqlRooms, ids)
	if err != nil {
		return err
	}
	_, err = pgx.ForEachRow(rows, []any{&id, &last}, func() error {
		d.h.Rooms[d.rooms[id]].LastSeq = last
		return nil
	})
	return err
}

func (d dump) readEvents(ctx context.Context, conn *pgx.Conn, ids []string) error {
	var (
		id      string
		seq     uint64
		payload []byte
	)
	rows, err := conn.Query(ctx, sqlEvents, ids)
	if err != nil {
		return err
	}
	_, err = pgx.ForEachRow(rows, []any{&id, &seq, &payload}, func() error {
		event, err := d.event(payload)
		if err != nil {
			return fmt.Errorf("event %d of room %s: %w", seq, id, err)
		}
		event.Room, event.Seq = d.rooms[id], seq
		d.h.Log = append(d.h.Log, event)
		return nil
	})
	return err
}

// fact has the fields of the durable events that are no messages, as clients see them.
type fact struct {
	MessageID string `json:"messageId"`
	UserID    string `json:"userId"`
}

func (d dump) event(payload []byte) (history.Event, error) {
	var p eventv1.RoomEvent
	if err := proto.Unmarshal(payload, &p); err != nil {
		return history.Event{}, fmt.Errorf("read its form: %w", err)
	}
	var facts []fact
	if err := json.Unmarshal(p.GetEmit().GetArgs(), &facts); err != nil {
		return history.Event{}, fmt.Errorf("read its arguments: %w", err)
	}
	if len(facts) != 1 {
		return history.Event{}, fmt.Errorf("it has %d arguments", len(facts))
	}
	kind, f := p.GetEmit().GetEvent(), facts[0]
	return history.Event{
		Hash: history.EventHash(kind, p.GetSeq(), f.UserID, f.MessageID, ""), User: d.user(f.UserID), Kind: kind,
		Message: f.MessageID, Except: p.GetExceptSocketId(),
	}, nil
}

// readMessages adds the messages: each is its own event, and room_events holds the others (docs/adr/0002-the-room-log.md).
func (d dump) readMessages(ctx context.Context, conn *pgx.Conn, ids []string) error {
	var (
		room, id, sender, content, clientMsgID string
		seq                                    uint64
	)
	rows, err := conn.Query(ctx, sqlMessages, ids)
	if err != nil {
		return err
	}
	_, err = pgx.ForEachRow(rows, []any{&room, &seq, &id, &sender, &content, &clientMsgID}, func() error {
		d.h.Log = append(d.h.Log, history.Event{
			Hash: history.EventHash(messageNew, seq, sender, id, content), Body: history.Hash(content), Seq: seq,
			Room: d.rooms[room], User: d.user(sender), Kind: messageNew, ClientMsgID: clientMsgID, Message: id,
		})
		return nil
	})
	return err
}

const messageNew = "message:new"

// user is the index of a user, -1 of one that is not of this run.
func (d dump) user(id string) int {
	if i, ok := d.users[id]; ok {
		return i
	}
	return -1
}
