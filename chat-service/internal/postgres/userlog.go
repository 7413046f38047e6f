package postgres

import (
	"github.com/jackc/pgx/v5"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/postgres/roundtrip"
	"github.com/starling-chat/starling/chat-service/internal/rules"
)

// A user's log is locked behind all rooms, by user id, so that batches cannot deadlock over it either. Its facts have the time at
// which they were stored by the clock of the database: a gateway that does not know from where a socket follows the log asks by it. What is read is in
// package userlogs.

const (
	sqlLockLogs = `
		INSERT INTO user_logs (user_id)
		SELECT id FROM unnest($1::text[]) AS id
		UNION SELECT m.user_id FROM unnest($2::text[], $3::text[]) AS k (room_id, user_id)
		CROSS JOIN LATERAL (SELECT user_id FROM memberships WHERE room_id = k.room_id AND user_id = k.user_id LIMIT 1) AS m ORDER BY 1
		ON CONFLICT (user_id) DO UPDATE SET last_seq = user_logs.last_seq RETURNING user_id, last_seq`

	sqlInfos = `SELECT ` + infoColumns + ` FROM rooms AS r WHERE room_id = ANY($1::text[])`

	sqlInsertTold = `
		INSERT INTO user_events (user_id, seq, payload, about, shown_room, shown_seq)
		SELECT user_id, seq, payload, NULLIF(about, ''), NULLIF(room, ''), NULLIF(shown, 0)
		FROM unnest($1::text[], $2::bigint[], $3::bytea[], $4::text[], $5::text[], $6::bigint[]) AS e (user_id, seq, payload, about, room, shown)`

	sqlAdvanceLogs = `
		UPDATE user_logs SET last_seq = a.last_seq FROM unnest($1::text[], $2::bigint[]) AS a (user_id, last_seq)
		WHERE user_logs.user_id = a.user_id`

	// Of the facts up to a sequence those go that a later one about the same has replaced, and of the others all but the last ones: who
	// is away for long misses no fact that still counts because others came often. A fact that is kept stands for those that went before it.
	sqlTrimLogs = `
		WITH log AS MATERIALIZED (
			SELECT t.user_id, e.seq, e.from_seq, e.seq <= t.seq AS old, min(coalesce(e.from_seq, e.seq)) OVER (PARTITION BY t.user_id) AS first,
				e.about IS NOT NULL AND e.seq <= t.seq AND e.seq < max(e.seq) OVER (PARTITION BY t.user_id, e.about) AS replaced
			FROM unnest($1::text[], $2::bigint[]) AS t (user_id, seq) JOIN user_events AS e ON e.user_id = t.user_id
		), kept AS MATERIALIZED (
			SELECT user_id, seq, from_seq, coalesce(lag(seq) OVER (PARTITION BY user_id ORDER BY seq) + 1, first) AS covers,
				old AND row_number() OVER (PARTITION BY user_id, old ORDER BY seq DESC) > $3 AS too_old
			FROM log WHERE NOT replaced
		), trimmed AS (
			DELETE FROM user_events AS e USING (
				SELECT user_id, seq FROM log WHERE replaced UNION ALL SELECT user_id, seq FROM kept WHERE too_old
			) AS g WHERE e.user_id = g.user_id AND e.seq = g.seq
		)
		UPDATE user_events AS e SET from_seq = k.covers FROM kept AS k
		WHERE e.user_id = k.user_id AND e.seq = k.seq AND NOT k.too_old AND k.covers < k.seq AND k.covers IS DISTINCT FROM k.from_seq`
)

// lockLogs locks the logs of users, and those of others where they are members.
func lockLogs(users []chat.UserID, ifMembers []chat.Membership, state *rules.State) roundtrip.Step {
	rooms, others := pairs(ifMembers)
	state.Logs = make(map[chat.UserID]uint64, len(users)+len(others))
	return roundtrip.Step{SQL: sqlLockLogs, Args: []any{texts(users), rooms, others}, Scan: scanLog(state.Logs)}
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

func readInfos(rooms []chat.RoomID, state *rules.State) roundtrip.Step {
	state.Infos = make(map[chat.RoomID]chat.RoomInfo, len(rooms))
	return roundtrip.Step{SQL: sqlInfos, Args: []any{texts(rooms), maxCounted}, Scan: func(rows pgx.Rows) error {
		info, err := scanInfo(rows)
		state.Infos[info.Room] = info
		return err
	}}
}

// logSteps writes what users' logs were told, and notes it in out behind what is there.
func (s *Store) logSteps(changes *rules.Changes, out *chat.Outgoing) (steps []roundtrip.Step, err error) {
	n := len(changes.Told)
	if n == 0 {
		return nil, nil
	}
	users, seqs, payloads, about := make([]string, n), make([]int64, n), make([][]byte, n), make([]string, n)
	rooms, shown := make([]string, n), make([]int64, n)
	for i, e := range changes.Told {
		user, _ := chat.UserOf(e.Room)
		encoded, err := s.codec.Event(e)
		if err != nil {
			return nil, err
		}
		users[i], seqs[i], payloads[i] = string(user), int64(e.Seq), encoded.Bytes //nolint:gosec // counts from 1
		switch f := e.Fact.(type) {
		case chat.MarkerMoved:
			about[i] = string(f.Room)
		case chat.Mentioned: // it is kept without what it says, which is read when it is told again
			rooms[i], shown[i] = string(f.Message.Room), int64(f.Message.Seq) //nolint:gosec // 40 bits
			nothing, err := s.codec.Event(chat.RoomEvent{Room: e.Room, Seq: e.Seq})
			if err != nil {
				return nil, err
			}
			payloads[i] = nothing.Bytes
		}
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
	steps = []roundtrip.Step{{SQL: sqlInsertTold, Args: []any{users, seqs, payloads, about, rooms, shown}}, {SQL: sqlAdvanceLogs, Args: []any{logs, heads}}}
	if len(trims) > 0 {
		steps = append(steps, roundtrip.Step{SQL: sqlTrimLogs, Args: []any{trimmed, trims, rules.KeptFacts}})
	}
	return steps, nil
}

const sqlLogHead = `SELECT last_seq FROM user_logs WHERE user_id = $1`
