package userlogs

import (
	"context"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/starling-chat/starling/chat-service/internal/chat"
)

// Logs is the part of usecases.Store that is about the logs of users. It is safe for concurrent use.
type Logs struct {
	pool   *pgxpool.Pool
	do     func(ctx context.Context, what string, f func(context.Context) error) error
	encode func(chat.RoomEvent) (chat.EncodedEvent, error)
	lookUp LookUp
}

// LookUp reads the messages at places, as they are now, those that there are.
type LookUp func(ctx context.Context, refs []chat.MessageRef) (map[chat.MessageRef]chat.Message, error)

// New returns Logs on the pool. do runs what is asked of it, and again where the connection broke; encode makes the bytes of events.
func New(
	pool *pgxpool.Pool, do func(ctx context.Context, what string, f func(context.Context) error) error,
	encode func(chat.RoomEvent) (chat.EncodedEvent, error), lookUp LookUp,
) *Logs {
	return &Logs{pool: pool, do: do, encode: encode, lookUp: lookUp}
}

// A fact may stand for numbers before its own as well: what had them was replaced by a later fact (from_seq). A fact that shows a message shows
// nothing to who is not in the room any more.
const (
	sqlLogAfter = `
		SELECT h.head, e.seq, e.from_seq, e.payload, ` + shown + `
		FROM (SELECT coalesce((SELECT last_seq FROM user_logs WHERE user_id = $1), 0) AS head) AS h
		LEFT JOIN LATERAL (
			SELECT seq, coalesce(from_seq, seq) AS from_seq, payload, shown_room, shown_seq FROM user_events
			WHERE user_id = $1 AND seq > $2 AND coalesce(from_seq, seq) < $3 ORDER BY seq LIMIT $4
		) AS e ON true ORDER BY e.seq`

	sqlLogSince = `
		SELECT h.head, e.seq, e.seq, e.payload, ` + shown + `
		FROM (SELECT coalesce((SELECT last_seq FROM user_logs WHERE user_id = $1), 0) AS head) AS h
		LEFT JOIN LATERAL (SELECT * FROM user_events WHERE user_id = $1 AND at > $2 ORDER BY seq LIMIT $3) AS e ON true ORDER BY e.seq`

	shown = `coalesce((SELECT room_id FROM memberships WHERE room_id = e.shown_room AND user_id = $1), ''), coalesce(e.shown_seq, 0)`
)

// row is a fact of a log, and from where it stands for what it replaced.
type row struct {
	chat.EncodedEvent

	from  uint64
	shown chat.MessageRef // the message that it shows; zero = none
}

// LogEvents implements usecases.Store. A page up to a sequence is without holes, for who repairs one: numbers of facts that were replaced have events
// in which there is nothing. Any other page does without them.
func (l *Logs) LogEvents(ctx context.Context, user chat.UserID, page chat.LogPage) ([]chat.EncodedEvent, uint64, error) {
	below := int64(math.MaxInt64)
	if page.To > 0 && page.To < math.MaxInt64 {
		below = int64(page.To) + 1
	}
	sql, args := sqlLogAfter, []any{string(user), int64(min(page.After, math.MaxInt64)), below, page.Limit}
	if !page.Since.IsZero() {
		sql, args = sqlLogSince, []any{string(user), page.Since, page.Limit}
	}
	var found []row
	var head uint64
	err := l.do(ctx, "read a user's log", func(ctx context.Context) (err error) {
		if found, head, err = l.read(ctx, chat.LogOf(user), sql, args); err != nil {
			return err
		}
		return l.show(ctx, found)
	})
	if err != nil {
		return nil, 0, err
	}
	var first uint64
	if len(found) > 0 {
		first = found[0].from
	}
	if page.Misses(head, first) {
		reset, err := l.encode(chat.RoomEvent{Room: chat.LogOf(user), Seq: head, Fact: chat.LogReset{}})
		return []chat.EncodedEvent{reset}, head, err
	}
	events, err := l.fill(found, page)
	return events, head, err
}

func (l *Logs) read(ctx context.Context, log chat.RoomID, sql string, args []any) (found []row, head uint64, err error) {
	rows, err := l.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, 0, err
	}
	var last int64
	var seq, from *int64
	var payload []byte
	var room chat.RoomID
	var shown int64
	_, err = pgx.ForEachRow(rows, []any{&last, &seq, &from, &payload, (*string)(&room), &shown}, func() error {
		if head = uint64(last); seq == nil { //nolint:gosec // counts from 0
			return nil
		}
		r := row{EncodedEvent: chat.EncodedEvent{Room: log, Seq: uint64(*seq), Bytes: payload}, from: uint64(*from)} //nolint:gosec // counts from 1
		if room != "" {
			r.shown = chat.MessageRef{Room: room, Seq: uint64(shown)} //nolint:gosec // counts from 1
		}
		found = append(found, r)
		return nil
	})
	return found, head, err
}

// show gives facts that show messages these messages, as they are now.
func (l *Logs) show(ctx context.Context, found []row) error {
	var refs []chat.MessageRef
	for i := range found {
		if found[i].shown != (chat.MessageRef{}) {
			refs = append(refs, found[i].shown)
		}
	}
	if len(refs) == 0 {
		return nil
	}
	messages, err := l.lookUp(ctx, refs)
	if err != nil {
		return err
	}
	for i := range found {
		if m, ok := messages[found[i].shown]; ok {
			e := &found[i].EncodedEvent
			if *e, err = l.encode(chat.RoomEvent{Room: e.Room, Seq: e.Seq, Fact: chat.Mentioned{Message: m}}); err != nil {
				return err
			}
		}
	}
	return nil
}

// fill gives the events of a page, in one up to a sequence with those in which there is nothing.
func (l *Logs) fill(found []row, page chat.LogPage) ([]chat.EncodedEvent, error) {
	events := make([]chat.EncodedEvent, 0, len(found))
	for _, r := range found {
		if page.To > 0 {
			for seq := max(r.from, page.After+1); seq < r.Seq && seq <= page.To && len(events) < page.Limit; seq++ {
				nothing, err := l.encode(chat.RoomEvent{Room: r.Room, Seq: seq})
				if err != nil {
					return nil, err
				}
				events = append(events, nothing)
			}
			if r.Seq > page.To || len(events) >= page.Limit {
				break
			}
		}
		events = append(events, r.EncodedEvent)
	}
	return events, nil
}

const sqlLogHeads = `SELECT user_id, last_seq FROM user_logs WHERE user_id = ANY($1::text[])`

// LogHeads implements usecases.Store.
func (l *Logs) LogHeads(ctx context.Context, users []chat.UserID) (map[chat.UserID]uint64, error) {
	ids := make([]string, len(users))
	for i, user := range users {
		ids[i] = string(user)
	}
	heads := make(map[chat.UserID]uint64, len(users))
	err := l.do(ctx, "read heads of logs", func(ctx context.Context) error {
		rows, err := l.pool.Query(ctx, sqlLogHeads, ids)
		if err != nil {
			return err
		}
		var user string
		var seq int64
		_, err = pgx.ForEachRow(rows, []any{&user, &seq}, func() error {
			heads[chat.UserID(user)] = uint64(seq) //nolint:gosec // counts from 0
			return nil
		})
		return err
	})
	return heads, err
}

const sqlGrownLogs = `SELECT user_id, seq, at, clock_timestamp() FROM user_events WHERE at > $1 ORDER BY at LIMIT $2`

// GrownLogs implements usecases.Store.
func (l *Logs) GrownLogs(ctx context.Context, since time.Time, limit int) (chat.Grown, error) {
	grown := chat.Grown{}
	err := l.do(ctx, "list logs that have grown", func(ctx context.Context) error {
		grown = chat.Grown{Heads: map[chat.UserID]uint64{}, Until: since}
		var now time.Time
		n := 0
		rows, err := l.pool.Query(ctx, sqlGrownLogs, since, limit)
		if err != nil {
			return err
		}
		var user string
		var seq int64
		var at time.Time
		_, err = pgx.ForEachRow(rows, []any{&user, &seq, &at, &now}, func() error {
			n++
			grown.Heads[chat.UserID(user)] = max(grown.Heads[chat.UserID(user)], uint64(seq)) //nolint:gosec // counts from 1
			return nil
		})
		if grown.More = n == limit; grown.More {
			grown.Until = at
		} else if n > 0 {
			grown.Until = later(since, now.Add(-chat.GrownMargin))
		}
		return err
	})
	return grown, err
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
