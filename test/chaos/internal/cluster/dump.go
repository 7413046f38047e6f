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
	sqlRooms  = `SELECT room_id, last_seq, coalesce(message_count, 0) FROM chat.rooms WHERE room_id = ANY ($1)`
	sqlEvents = `SELECT room_id, seq, payload, coalesce(message_seq, 0) FROM chat.room_events WHERE room_id = ANY ($1) ORDER BY room_id, seq`

	sqlReceipts = `SELECT room_id, user_id, seq, back_seq, coalesce(back_head, 0) FROM chat.receipts WHERE room_id = ANY ($1) ORDER BY room_id, user_id`
)

// Dump reads what the database holds into h.Rooms and h.Log.
func (c *Cluster) Dump(ctx context.Context, h *history.History) error {
	d := &dump{h: h, rooms: map[string]int{}, users: map[string]int{}, messages: map[place]int{}, seqs: map[string]uint64{}}
	var ids []string
	for i, room := range h.Rooms {
		d.rooms[room.ID] = i
		ids = append(ids, room.ID)
	}
	for i, user := range h.Users {
		d.users[user.ID] = i
	}
	err := c.Postgres.do(ctx, func(conn *pgx.Conn) error {
		return errors.Join(d.readRooms(ctx, conn, ids), d.readMessages(ctx, conn, ids), d.readEvents(ctx, conn, ids), d.readReactions(ctx, conn, ids), d.readReceipts(ctx, conn, ids), d.readLeaks(ctx, conn))
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
	messages     map[place]int     // position in h.Log
	seqs         map[string]uint64 // of messages, by id
}

type place struct {
	room int
	seq  uint64
}

func (d *dump) readRooms(ctx context.Context, conn *pgx.Conn, ids []string) error {
	var (
		id          string
		last, count uint64
	)
	rows, err := conn.Query(ctx, sqlRooms, ids)
	if err != nil {
		return err
	}
	_, err = pgx.ForEachRow(rows, []any{&id, &last, &count}, func() error {
		room := &d.h.Rooms[d.rooms[id]]
		room.LastSeq, room.Count = last, count
		return nil
	})
	return err
}

// readReceipts adds how far users have read.
func (d *dump) readReceipts(ctx context.Context, conn *pgx.Conn, ids []string) error {
	var room, user string
	var r history.Receipt
	rows, err := conn.Query(ctx, sqlReceipts, ids)
	if err != nil {
		return err
	}
	_, err = pgx.ForEachRow(rows, []any{&room, &user, &r.Read, &r.Back, &r.BackHead}, func() error {
		r.Room, r.User = d.rooms[room], d.user(user)
		d.h.Receipts = append(d.h.Receipts, r)
		r.Back = nil // the next row has its own
		return nil
	})
	return err
}

func (d *dump) readEvents(ctx context.Context, conn *pgx.Conn, ids []string) error {
	var (
		id         string
		seq, about uint64
		payload    []byte
	)
	rows, err := conn.Query(ctx, sqlEvents, ids)
	if err != nil {
		return err
	}
	_, err = pgx.ForEachRow(rows, []any{&id, &seq, &payload, &about}, func() error {
		event, err := d.event(d.rooms[id], seq, about, payload)
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
	Changes   []struct {
		Key    string `json:"key"`
		UserID string `json:"userId"`
		On     bool   `json:"on"`
	} `json:"changes"`
}

// event reads what is kept of an event. Of one that shows a message that is only which message it is.
func (d *dump) event(room int, seq, about uint64, payload []byte) (history.Event, error) {
	if about > 0 {
		n, known := d.messages[place{room, about}]
		if !known {
			return history.Event{}, fmt.Errorf("it is about a message %d that is not there", about)
		}
		id := d.h.Log[n].Message
		return history.Event{Hash: history.EventHash(messageEdited, seq, "", id, ""), User: -1, Kind: messageEdited, Message: id, About: about}, nil
	}
	var p eventv1.RoomEvent
	if err := proto.Unmarshal(payload, &p); err != nil {
		return history.Event{}, fmt.Errorf("read its form: %w", err)
	}
	var args []json.RawMessage
	if err := json.Unmarshal(p.GetEmit().GetArgs(), &args); err != nil {
		return history.Event{}, fmt.Errorf("read its arguments: %w", err)
	}
	if len(args) != 1 {
		return history.Event{}, fmt.Errorf("it has %d arguments", len(args))
	}
	var f fact
	if err := json.Unmarshal(args[0], &f); err != nil {
		return history.Event{}, fmt.Errorf("read its argument: %w", err)
	}
	kind := p.GetEmit().GetEvent()
	if f.MessageID == "" {
		return history.Event{Hash: history.EventHash(kind, seq, f.UserID, "", ""), User: d.user(f.UserID), Kind: kind, Except: p.GetExceptSocketId()}, nil
	}
	e := history.Event{
		Hash: history.EventHash(kind, seq, "", f.MessageID, string(args[0])), User: -1, Kind: kind, Message: f.MessageID, About: d.seqs[f.MessageID],
		Except: p.GetExceptSocketId(),
	}
	for _, c := range f.Changes {
		e.Changes = append(e.Changes, history.Change{Reacted: history.Reacted{User: d.user(c.UserID), Key: c.Key}, On: c.On})
	}
	return e, nil
}

const (
	messageNew    = "message:new"
	messageEdited = "message:edited"
)

// user is the index of a user, -1 of one that is not of this run.
func (d *dump) user(id string) int {
	if i, ok := d.users[id]; ok {
		return i
	}
	return -1
}
