package messages

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
)

// Table is the part of usecases.Store that is about single messages. It is safe for concurrent use.
type Table struct {
	pool *pgxpool.Pool
	do   func(ctx context.Context, what string, f func(context.Context) error) error
}

// New returns a Table on the pool. do runs what is asked of it, and again where the connection broke.
func New(pool *pgxpool.Pool, do func(ctx context.Context, what string, f func(context.Context) error) error) *Table {
	return &Table{pool: pool, do: do}
}

const sqlMessages = `SELECT ` + Columns + From + ` WHERE m.room_id = $1 AND m.seq = ANY($2::bigint[]) ORDER BY m.seq`

// Messages implements usecases.Store.
func (t *Table) Messages(ctx context.Context, room chat.RoomID, seqs []uint64) (list []chat.Message, err error) {
	if len(seqs) == 0 {
		return nil, nil
	}
	places := make([]int64, len(seqs))
	for i, seq := range seqs {
		places[i] = int64(seq) //nolint:gosec // 40 bits
	}
	err = t.do(ctx, "read messages", func(ctx context.Context) error {
		rows, err := t.pool.Query(ctx, sqlMessages, string(room), places)
		if err == nil {
			list, err = pgx.CollectRows(rows, Scan)
		}
		return err
	})
	return list, err
}

// sqlChanges finds what is new or has changed, by versions: two runs that are each complete up to the limit.
const sqlChanges = `
	SELECT r.last_seq, c.seq, c.version FROM rooms AS r LEFT JOIN LATERAL (
		(SELECT seq, seq AS version FROM messages WHERE room_id = $1 AND seq > $2 AND changed IS NULL ORDER BY seq LIMIT $3)
		UNION ALL
		(SELECT seq, changed FROM changed_messages WHERE room_id = $1 AND changed > $2 ORDER BY changed LIMIT $3)
		ORDER BY version LIMIT $3
	) AS c ON true WHERE r.room_id = $1 ORDER BY c.version`

// Changes implements usecases.Store.
func (t *Table) Changes(ctx context.Context, room chat.RoomID, since uint64, limit int) (c usecases.Changes, err error) {
	err = t.do(ctx, "list changes", func(ctx context.Context) error {
		c = usecases.Changes{}
		rows, err := t.pool.Query(ctx, sqlChanges, string(room), int64(min(since, 1<<53)), limit+1)
		if err != nil {
			return err
		}
		var head int64
		var seq, version *int64
		_, err = pgx.ForEachRow(rows, []any{&head, &seq, &version}, func() error {
			c.UpTo = uint64(head) //nolint:gosec // counts from 0
			if seq != nil {
				c.Seqs, c.Versions = append(c.Seqs, number(seq)), append(c.Versions, number(version))
			}
			return nil
		})
		return err
	})
	if c.HasMore = len(c.Seqs) > limit; c.HasMore {
		c.Seqs, c.Versions = c.Seqs[:limit], c.Versions[:limit]
		c.UpTo = c.Versions[limit-1]
	}
	return c, err
}

// sqlFormer gives the last ones, the oldest first.
const sqlFormer = `
	SELECT version, content, coalesce(data, ''), at FROM (
		SELECT * FROM message_edits WHERE room_id = $1 AND seq = $2 ORDER BY version DESC LIMIT $3
	) AS e ORDER BY version`

// Former implements usecases.Store.
func (t *Table) Former(ctx context.Context, room chat.RoomID, seq uint64, limit int) (list []usecases.FormerMessage, err error) {
	err = t.do(ctx, "list edits", func(ctx context.Context) error {
		rows, err := t.pool.Query(ctx, sqlFormer, string(room), int64(seq), limit) //nolint:gosec // 40 bits
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (f usecases.FormerMessage, err error) {
			var version int64
			var data string
			err = row.Scan(&version, &f.Content, &data, &f.At)
			f.Version, f.Data = uint64(version), []byte(data) //nolint:gosec // counts from 1
			return f, err
		})
		return err
	})
	return list, err
}

const sqlMine = `SELECT seq, key FROM reactions WHERE room_id = $1 AND user_id = $2 AND seq = ANY($3::bigint[]) ORDER BY at, key`

// Mine implements usecases.Store.
func (t *Table) Mine(ctx context.Context, m chat.Membership, seqs []uint64) (keys map[uint64][]string, err error) {
	places := make([]int64, len(seqs))
	for i, seq := range seqs {
		places[i] = int64(seq) //nolint:gosec // 40 bits
	}
	err = t.do(ctx, "read reactions", func(ctx context.Context) error {
		keys = map[uint64][]string{}
		rows, err := t.pool.Query(ctx, sqlMine, string(m.Room), string(m.User), places)
		if err != nil {
			return err
		}
		var seq int64
		var key string
		_, err = pgx.ForEachRow(rows, []any{&seq, &key}, func() error {
			keys[uint64(seq)] = append(keys[uint64(seq)], key) //nolint:gosec // counts from 1
			return nil
		})
		return err
	})
	return keys, err
}

const sqlPins = `
	SELECT ` + Columns + ` FROM pins AS p CROSS JOIN LATERAL (SELECT * FROM messages WHERE room_id = p.room_id AND seq = p.seq LIMIT 1) AS m` + Reply + `
	WHERE p.room_id = $1 AND p.seq > $2 ORDER BY p.seq LIMIT $3`

// Pins implements usecases.Store.
func (t *Table) Pins(ctx context.Context, room chat.RoomID, after uint64, limit int) (list []chat.Message, err error) {
	err = t.do(ctx, "list pinned messages", func(ctx context.Context) error {
		rows, err := t.pool.Query(ctx, sqlPins, string(room), int64(min(after, 1<<53)), limit)
		if err == nil {
			list, err = pgx.CollectRows(rows, Scan)
		}
		return err
	})
	return list, err
}

// The stream is told to forget again after erasePause, until nothing is on its way any more that was sent before the deletion.
const (
	erasePause = 5 * time.Second
	eraseLife  = 20 * time.Second
)

const (
	sqlErasures = `
		UPDATE erasures SET due_at = clock_timestamp() + $1 * interval '1 millisecond' WHERE room_id IN (
			SELECT room_id FROM erasures WHERE due_at <= clock_timestamp() ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED
		)
		RETURNING room_id`

	sqlErased = `
		DELETE FROM erasures WHERE room_id = ANY($1::text[]) AND since < clock_timestamp() - $2 * interval '1 millisecond'`
)

// Erasures takes rooms of which the stream has to forget what it has.
func (t *Table) Erasures(ctx context.Context, limit int) (rooms []chat.RoomID, err error) {
	err = t.do(ctx, "look for deleted messages", func(ctx context.Context) error {
		rows, err := t.pool.Query(ctx, sqlErasures, erasePause.Milliseconds(), limit)
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

// Erased notes that the stream has forgotten what it had of rooms. They come again, while something may be on its way.
func (t *Table) Erased(ctx context.Context, rooms []chat.RoomID) error {
	ids := make([]string, len(rooms))
	for i, room := range rooms {
		ids[i] = string(room)
	}
	return t.do(ctx, "note erased events", func(ctx context.Context) error {
		_, err := t.pool.Exec(ctx, sqlErased, ids, eraseLife.Milliseconds())
		return err
	})
}
