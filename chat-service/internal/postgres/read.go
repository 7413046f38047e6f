package postgres

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/postgres/messages"
	"github.com/starling-chat/starling/chat-service/internal/postgres/roundtrip"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
)

const (
	sqlRoomFor = `SELECT coalesce(r.last_seq, 0), ` + standingColumns + `
	FROM (VALUES ($1::text, $2::text)) AS a (room_id, user_id)` + standingJoins

	sqlMessagesAfter = `
		SELECT ` + messages.Columns + messages.From + `
		WHERE m.room_id = $1 AND m.seq > $2 AND m.seq < $3 ORDER BY m.seq LIMIT $4`

	// A page for a member, or for who may read without a membership that is its own. For others no message is looked for, so that a room
	// which they may not see takes no longer than none.
	sqlPageBefore = `
		SELECT ` + messages.Columns + messages.From + `
		WHERE ($5 OR (SELECT EXISTS (SELECT FROM memberships WHERE room_id = $1 AND user_id = $4 AND NOT by_token)))
		AND m.room_id = $1 AND m.seq < $2 ORDER BY m.seq DESC LIMIT $3`

	sqlPageAfter = `
		SELECT ` + messages.Columns + messages.From + `
		WHERE ($6 OR (SELECT EXISTS (SELECT FROM memberships WHERE room_id = $1 AND user_id = $5 AND NOT by_token)))
		AND m.room_id = $1 AND m.seq > $2 AND m.seq < $3 ORDER BY m.seq LIMIT $4`
)

// View implements usecases.Store in one round trip.
func (s *Store) View(ctx context.Context, room chat.RoomID, user chat.UserID, page usecases.Page) (usecases.View, error) {
	var v usecases.View
	err := s.do(ctx, "view room", func(ctx context.Context) error {
		v = usecases.View{}
		return s.readSnapshot(ctx,
			roundtrip.Step{SQL: sqlRoomFor, Args: []any{string(room), string(user)}, Scan: func(rows pgx.Rows) error {
				var head int64
				var row standingRow
				err := rows.Scan(append([]any{&head}, row.into()...)...)
				v.Standing, v.Head = row.of(user), uint64(head) //nolint:gosec // counts from 0
				v.Granted = page.Granted
				return err
			}},
			readPage(room, user, page, &v.Messages))
	})
	if v.HasMore = len(v.Messages) > page.Limit; v.HasMore {
		v.Messages = v.Messages[:page.Limit]
	}
	if page.After == nil {
		slices.Reverse(v.Messages)
	}
	return v, err
}

// readPage reads one message more than wanted, which tells whether there is more.
func readPage(room chat.RoomID, user chat.UserID, page usecases.Page, list *[]chat.Message) roundtrip.Step {
	before := int64(math.MaxInt64)
	if page.Before != nil {
		before = int64(*page.Before) //nolint:gosec // 53 bits
	}
	read := roundtrip.Step{SQL: sqlPageBefore, Args: []any{string(room), before, page.Limit + 1, string(user), page.Granted.MayReadWithout()}, Scan: roundtrip.Collect(list, messages.Scan)}
	if page.After != nil {
		read.SQL = sqlPageAfter
		read.Args = []any{string(room), int64(*page.After), before, page.Limit + 1, string(user), page.Granted.MayReadWithout()} //nolint:gosec // 53 bits
	}
	return read
}

const (
	sqlHead = `SELECT last_seq FROM rooms WHERE room_id = $1`

	sqlEventsAfter = `
		SELECT seq, payload, coalesce(message_seq, 0) FROM room_events WHERE room_id = $1 AND seq > $2 AND seq < $3 ORDER BY seq LIMIT $4`
)

// Events implements usecases.Store: the messages and the other events of the room's log, merged by sequence.
func (s *Store) Events(ctx context.Context, room chat.RoomID, after, to uint64, limit int) ([]chat.EncodedEvent, uint64, error) {
	var events []chat.EncodedEvent
	var head uint64
	below := int64(math.MaxInt64)
	if to > 0 && to < math.MaxInt64 {
		below = int64(to) + 1
	}
	from := int64(min(after, math.MaxInt64))
	err := s.do(ctx, "read room events", func(ctx context.Context) error {
		var sent []chat.Message
		var others []chat.EncodedEvent
		var shown []shownMessage
		err := s.readSnapshot(ctx,
			roundtrip.Step{SQL: sqlHead, Args: []any{string(room)}, Scan: func(rows pgx.Rows) error {
				var last int64
				err := rows.Scan(&last)
				head = uint64(last) //nolint:gosec // counts from 0
				return err
			}},
			roundtrip.Step{SQL: sqlMessagesAfter, Args: []any{string(room), from, below, limit}, Scan: roundtrip.Collect(&sent, messages.Scan)},
			roundtrip.Step{SQL: sqlEventsAfter, Args: []any{string(room), from, below, limit}, Scan: func(rows pgx.Rows) error {
				e, of, err := scanShown(rows, room)
				if of > 0 {
					shown = append(shown, shownMessage{of: of, event: len(others)})
				}
				others = append(others, e)
				return err
			}})
		if err != nil {
			return err
		}
		if err := s.show(ctx, room, shown, others); err != nil {
			return err
		}
		events, err = s.merge(sent, others, limit)
		return err
	})
	return events, head, err
}

// shownMessage is the message that one of some events shows.
type shownMessage struct {
	of    uint64 // its sequence
	event int
}

func scanShown(row pgx.CollectableRow, room chat.RoomID) (e chat.EncodedEvent, of uint64, err error) {
	e.Room = room
	var seq, shown int64
	err = row.Scan(&seq, &e.Bytes, &shown)
	e.Seq = uint64(seq)          //nolint:gosec // counts from 1
	return e, uint64(shown), err //nolint:gosec // counts from 1
}

// show gives events that show messages these messages, as they are now.
func (s *Store) show(ctx context.Context, room chat.RoomID, shown []shownMessage, events []chat.EncodedEvent) error {
	seqs := make([]uint64, len(shown))
	for i, m := range shown {
		seqs[i] = m.of
	}
	list, err := s.Messages(ctx, room, seqs)
	if err != nil {
		return err
	}
	for _, m := range shown {
		i := slices.IndexFunc(list, func(candidate chat.Message) bool { return candidate.Seq == m.of })
		if i < 0 {
			continue // the room is being purged
		}
		e := &events[m.event]
		if *e, err = s.codec.Event(chat.RoomEvent{Room: room, Seq: e.Seq, Fact: chat.MessageEdited{Message: list[i]}}); err != nil {
			return err
		}
	}
	return nil
}

// merge joins two runs that are each complete up to their limit; so is what it gives, up to the same limit.
func (s *Store) merge(sent []chat.Message, others []chat.EncodedEvent, limit int) ([]chat.EncodedEvent, error) {
	events := make([]chat.EncodedEvent, 0, min(limit, len(sent)+len(others)))
	for len(events) < limit && len(sent)+len(others) > 0 {
		if len(sent) == 0 || len(others) > 0 && others[0].Seq < sent[0].Seq {
			events, others = append(events, others[0]), others[1:]
			continue
		}
		m := sent[0]
		e, err := s.codec.Event(chat.RoomEvent{Room: m.Room, Seq: m.Seq, Fact: chat.MessageSent{Message: m}})
		if err != nil {
			return nil, err
		}
		events, sent = append(events, e), sent[1:]
	}
	for i := 1; i < len(events); i++ {
		if events[i].Seq != events[i-1].Seq+1 {
			return nil, fmt.Errorf("the log of room %q has a hole after %d", events[i].Room, events[i-1].Seq)
		}
	}
	return events, nil
}

// Of nobody no membership is looked for.
const sqlHeads = `
	SELECT r.room_id, r.last_seq, m.user_id IS NOT NULL, coalesce(m.by_token, false) FROM rooms AS r
	LEFT JOIN memberships AS m ON $2 <> '' AND m.room_id = r.room_id AND m.user_id = $2
	WHERE r.room_id = ANY($1::text[]) AND (r.kind <> 'deleted' OR $2 = '' AND r.deleted_at IS NOT NULL)`

// Heads implements usecases.Store.
func (s *Store) Heads(ctx context.Context, rooms []chat.RoomID, of chat.UserID) (map[chat.RoomID]usecases.Head, error) {
	ids := make([]string, len(rooms))
	for i, id := range rooms {
		ids[i] = string(id)
	}
	heads := make(map[chat.RoomID]usecases.Head, len(rooms))
	err := s.do(ctx, "read heads", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, sqlHeads, ids, string(of))
		if err != nil {
			return err
		}
		var id string
		var seq int64
		var head usecases.Head
		_, err = pgx.ForEachRow(rows, []any{&id, &seq, &head.Member, &head.ByToken}, func() error {
			head.Seq = uint64(seq) //nolint:gosec // counts from 0
			heads[chat.RoomID(id)] = head
			return nil
		})
		return err
	})
	return heads, err
}

// maxMembers bounds the list of a room's members.
const maxMembers = 100_000

const sqlMemberList = `SELECT user_id FROM memberships WHERE room_id = $1 ORDER BY user_id LIMIT $2`

// Members implements usecases.Store.
func (s *Store) Members(ctx context.Context, room chat.RoomID) ([]chat.UserID, error) {
	var users []chat.UserID
	err := s.do(ctx, "list members", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, sqlMemberList, string(room), maxMembers)
		if err != nil {
			return err
		}
		users, err = pgx.CollectRows(rows, scanUser)
		return err
	})
	return users, err
}

// The rooms of the user and of each candidate are compared by the index memberships_by_user, until one is found in both.
const sqlRoommates = `
	SELECT c.user_id FROM unnest($2::text[]) AS c (user_id)
	WHERE EXISTS (
		SELECT FROM memberships AS mine JOIN memberships AS theirs USING (room_id)
		WHERE mine.user_id = $1 AND theirs.user_id = c.user_id AND (NOT mine.by_token OR mine.room_id = ANY($3::text[])))`

// maxTokenRooms bounds how many rooms are looked at that a user's tokens have opened.
const maxTokenRooms = 1000

const sqlTokenRooms = `SELECT room_id FROM memberships WHERE user_id = $1 AND by_token LIMIT $2`

// TokenRooms implements usecases.Store.
func (s *Store) TokenRooms(ctx context.Context, of chat.UserID) ([]chat.RoomID, error) {
	return s.rooms(ctx, "list rooms by token", sqlTokenRooms, string(of), maxTokenRooms)
}

// rooms reads the ids that a statement gives.
func (s *Store) rooms(ctx context.Context, what, sql string, args ...any) (rooms []chat.RoomID, err error) {
	err = s.do(ctx, what, func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		rooms, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (id chat.RoomID, err error) {
			err = row.Scan((*string)(&id))
			return id, err
		})
		return err
	})
	return rooms, err
}

// Roommates implements usecases.Store.
func (s *Store) Roommates(ctx context.Context, of chat.UserID, users []chat.UserID, opened []chat.RoomID) ([]chat.UserID, error) {
	var mates []chat.UserID
	err := s.do(ctx, "list roommates", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, sqlRoommates, string(of), texts(users), texts(opened))
		if err != nil {
			return err
		}
		mates, err = pgx.CollectRows(rows, scanUser)
		return err
	})
	return mates, err
}

func scanUser(row pgx.CollectableRow) (id chat.UserID, err error) {
	err = row.Scan((*string)(&id))
	return id, err
}
