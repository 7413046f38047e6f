package postgres

import (
	"context"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
)

// A user's log is locked behind all rooms, by user id, so that batches cannot deadlock over it either. Its facts have the time at
// which they were stored by the clock of the database: a gateway that does not know from where a socket follows the log asks by it.

const (
	sqlLockLogs = `
		INSERT INTO user_logs (user_id) SELECT id FROM unnest($1::text[]) AS id ORDER BY id
		ON CONFLICT (user_id) DO UPDATE SET last_seq = user_logs.last_seq RETURNING user_id, last_seq`

	sqlInfos = `SELECT ` + infoColumns + ` FROM rooms AS r WHERE room_id = ANY($1::text[])`

	sqlInsertTold = `
		INSERT INTO user_events (user_id, seq, payload)
		SELECT user_id, seq, payload FROM unnest($1::text[], $2::bigint[], $3::bytea[]) AS e (user_id, seq, payload)`

	sqlAdvanceLogs = `
		UPDATE user_logs SET last_seq = a.last_seq FROM unnest($1::text[], $2::bigint[]) AS a (user_id, last_seq)
		WHERE user_logs.user_id = a.user_id`

	sqlTrimLogs = `
		DELETE FROM user_events AS e USING unnest($1::text[], $2::bigint[]) AS t (user_id, seq)
		WHERE e.user_id = t.user_id AND e.seq <= t.seq`
)

func lockLogs(users []chat.UserID, state *rules.State) step {
	ids := texts(users)
	state.Logs = make(map[chat.UserID]uint64, len(users))
	return step{sql: sqlLockLogs, args: []any{ids}, scan: scanLog(state.Logs)}
}

func scanLog(heads map[chat.UserID]uint64) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		var user string
		var seq int64
		err := rows.Scan(&user, &seq)
		heads[chat.UserID(user)] = uint64(seq) //nolint:gosec // counts from 0
		return err
	}
}

func readInfos(rooms []chat.RoomID, state *rules.State) step {
	state.Infos = make(map[chat.RoomID]chat.RoomInfo, len(rooms))
	return step{sql: sqlInfos, args: []any{texts(rooms), maxCounted}, scan: func(rows pgx.Rows) error {
		info, err := scanInfo(rows)
		state.Infos[info.Room] = info
		return err
	}}
}

// logSteps writes what users' logs were told, and notes it in out behind what is there.
func (s *Store) logSteps(changes *rules.Changes, out *chat.Outgoing) (steps []step, err error) {
	n := len(changes.Told)
	if n == 0 {
		return nil, nil
	}
	users, seqs, payloads := make([]string, n), make([]int64, n), make([][]byte, n)
	for i, e := range changes.Told {
		user, _ := chat.UserOf(e.Room)
		encoded, err := s.codec.Event(e)
		if err != nil {
			return nil, err
		}
		users[i], seqs[i], payloads[i] = string(user), int64(e.Seq), encoded.Bytes //nolint:gosec // counts from 1
		out.Events = append(out.Events, encoded)
	}
	var heads, trims []int64
	var logs, trimmed []string
	for _, l := range changes.Logs {
		logs, heads = append(logs, string(l.User)), append(heads, int64(l.Seq)) //nolint:gosec // counts from 1
		if l.Trim > 0 {
			trimmed, trims = append(trimmed, string(l.User)), append(trims, int64(l.Trim)) //nolint:gosec // counts from 1
		}
	}
	steps = []step{{sql: sqlInsertTold, args: []any{users, seqs, payloads}}, {sql: sqlAdvanceLogs, args: []any{logs, heads}}}
	if len(trims) > 0 {
		steps = append(steps, step{sql: sqlTrimLogs, args: []any{trimmed, trims}})
	}
	return steps, nil
}

const (
	sqlLogHead = `SELECT last_seq FROM user_logs WHERE user_id = $1`

	sqlLogAfter = `SELECT seq, payload FROM user_events WHERE user_id = $1 AND seq > $2 AND seq < $3 ORDER BY seq LIMIT $4`

	sqlLogSince = `SELECT seq, payload FROM user_events WHERE user_id = $1 AND at > $2 ORDER BY seq LIMIT $3`
)

// LogEvents implements usecases.Store.
func (s *Store) LogEvents(ctx context.Context, user chat.UserID, page chat.LogPage) ([]chat.EncodedEvent, uint64, error) {
	var events []chat.EncodedEvent
	var head uint64
	below := int64(math.MaxInt64)
	if page.To > 0 && page.To < math.MaxInt64 {
		below = int64(page.To) + 1
	}
	read := step{sql: sqlLogAfter, args: []any{string(user), int64(min(page.After, math.MaxInt64)), below, page.Limit}}
	if !page.Since.IsZero() {
		read = step{sql: sqlLogSince, args: []any{string(user), page.Since, page.Limit}}
	}
	read.scan = collect(&events, scanEvent(chat.LogOf(user)))
	err := s.do(ctx, "read a user's log", func(ctx context.Context) error {
		events, head = nil, 0
		return s.readSnapshot(ctx,
			step{sql: sqlLogHead, args: []any{string(user)}, scan: func(rows pgx.Rows) error {
				var last int64
				err := rows.Scan(&last)
				head = uint64(last) //nolint:gosec // counts from 0
				return err
			}}, read)
	})
	if err != nil || !page.Misses(head, events) {
		return events, head, err
	}
	reset, err := s.codec.Event(chat.RoomEvent{Room: chat.LogOf(user), Seq: head, Fact: chat.LogReset{}})
	return []chat.EncodedEvent{reset}, head, err
}

const sqlLogHeads = `SELECT user_id, last_seq FROM user_logs WHERE user_id = ANY($1::text[])`

// LogHeads implements usecases.Store.
func (s *Store) LogHeads(ctx context.Context, users []chat.UserID) (map[chat.UserID]uint64, error) {
	ids := texts(users)
	heads := make(map[chat.UserID]uint64, len(users))
	err := s.do(ctx, "read heads of logs", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, sqlLogHeads, ids)
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
func (s *Store) GrownLogs(ctx context.Context, since time.Time, limit int) (chat.Grown, error) {
	grown := chat.Grown{}
	err := s.do(ctx, "list logs that have grown", func(ctx context.Context) error {
		grown = chat.Grown{Heads: map[chat.UserID]uint64{}, Until: since}
		var now time.Time
		n := 0
		rows, err := s.pool.Query(ctx, sqlGrownLogs, since, limit)
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
