package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/postgres/roundtrip"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
)

// LATERAL with LIMIT makes each look-up an index look-up, whatever the statistics say. The WHERE of the upsert keeps receipts from
// moving backwards; its order keeps replicas from deadlocks.
const sqlMarkRead = `
	WITH asked AS MATERIALIZED (
		SELECT a.n, a.room_id, a.user_id, m.seq, m.id, a.counts, m.seq IS NOT NULL OR a.id IS NULL AS message, rc.seq AS before, ` + standingColumns + `
		FROM unnest($1::text[], $2::text[], $3::bigint[], $4::uuid[], $5::bool[]) WITH ORDINALITY AS a (room_id, user_id, seq, id, counts, n)
		` + standingJoins + `
		LEFT JOIN LATERAL (
			SELECT seq, id FROM messages WHERE room_id = a.room_id AND seq <= a.seq
			AND seq >= CASE WHEN a.id IS NULL THEN 0 ELSE a.seq END AND (a.id IS NULL OR id = a.id) ORDER BY seq DESC LIMIT 1
		) AS m ON true
		LEFT JOIN LATERAL (SELECT seq FROM receipts WHERE room_id = a.room_id AND user_id = a.user_id LIMIT 1) AS rc ON true
	), moved AS (
		INSERT INTO receipts (room_id, user_id, seq)
		SELECT room_id, user_id, max(seq) FROM asked WHERE member AND (counts OR NOT by_token) AND seq IS NOT NULL GROUP BY room_id, user_id ORDER BY room_id, user_id
		ON CONFLICT (room_id, user_id) DO UPDATE SET seq = greatest(receipts.seq, excluded.seq),
			back_seq = CASE WHEN excluded.seq >= receipts.seq THEN NULL ELSE greatest(receipts.back_seq, excluded.seq) END
		WHERE receipts.seq < excluded.seq OR receipts.back_seq < excluded.seq
		RETURNING room_id, user_id
	), small AS MATERIALIZED (
		SELECT room_id FROM (SELECT DISTINCT room_id FROM moved) AS r
		WHERE (SELECT count(*) FROM (SELECT FROM memberships WHERE room_id = r.room_id LIMIT $6 + 1) AS m) <= $6
	)
	SELECT ` + standingNames + `,
	       a.message, coalesce(a.before, 0), v.room_id IS NOT NULL, coalesce(a.seq, 0), a.id, s.room_id IS NOT NULL
	FROM asked AS a LEFT JOIN moved AS v USING (room_id, user_id) LEFT JOIN small AS s USING (room_id) ORDER BY a.n`

// maxShown is how many members a room has at most in which the others are told of what one has read.
const maxShown = 100

// MarkRead implements usecases.Store.
func (s *Store) MarkRead(ctx context.Context, receipts []usecases.Receipt) ([]usecases.ReadOutcome, error) {
	n := len(receipts)
	rooms, users, seqs, ids := make([]string, n), make([]string, n), make([]int64, n), make([]*[16]byte, n)
	counts := make([]bool, n) // a membership by a token
	var until time.Time       // of the first receipt that is given up
	for i, r := range receipts {
		if !r.Until.IsZero() && (until.IsZero() || r.Until.Before(until)) {
			until = r.Until
		}
		counts[i] = r.Granted.MayCount()
		rooms[i], users[i], seqs[i] = string(r.Room), string(r.User), int64(r.Seq) //nolint:gosec // 53 bits
		if !r.BySeq {
			seqs[i], ids[i] = int64(chat.SeqOf(r.Message)), (*[16]byte)(&r.Message) //nolint:gosec // 40 bits
		}
	}
	var outcomes []usecases.ReadOutcome
	err := s.do(ctx, "mark read", roundtrip.BeginBy(until, s.pool, func(ctx context.Context, conn *pgxpool.Conn) error {
		outcomes = make([]usecases.ReadOutcome, 0, n)
		furthest := make(map[chat.Membership]int64, n) // of the receipts so far
		rows, err := conn.Query(ctx, sqlMarkRead, rooms, users, seqs, ids, counts, maxShown)
		if err != nil {
			return err
		}
		var o usecases.ReadOutcome
		var before, seq int64
		var id *[16]byte
		var moved, small bool // the membership's receipt, by this or another entry; the room
		var standing standingRow
		_, err = pgx.ForEachRow(rows, append(standing.into(), &o.MessageExists, &before, &moved, &seq, &id, &small), func() error {
			i := len(outcomes)
			of := receipts[i].Membership
			o.Standing = standing.of(of.User)
			o.Granted = receipts[i].Granted
			o.Marked, o.Message = moved && id != nil, chat.MessageID{}
			if o.Moved = o.Marked && seq > max(before, furthest[of]); o.Moved {
				furthest[of], o.Message = seq, *id
			}
			o.Shown = o.Moved && small
			outcomes = append(outcomes, o)
			return nil
		})
		return err
	}))
	if err != nil {
		return nil, err
	}
	return outcomes, s.showMarkers(ctx, receipts, outcomes)
}

// showMarkers tells where the markers are by now.
func (s *Store) showMarkers(ctx context.Context, receipts []usecases.Receipt, outcomes []usecases.ReadOutcome) error {
	members := make([]chat.Membership, len(receipts))
	for i, r := range receipts {
		members[i] = r.Membership
	}
	markers, err := s.Markers(ctx, members)
	for i := range outcomes {
		outcomes[i].Marker = markers[members[i]]
	}
	return err
}

// maxCountedReaders bounds the count of readers.
const maxCountedReaders = 10_000

const (
	sqlReadBy = `
		SELECT ` + standingColumns + `,
		       $4::uuid IS NULL OR EXISTS (SELECT FROM messages WHERE room_id = $1 AND seq = $3 AND id = $4::uuid)
		FROM (VALUES ($1::text, $2::text)) AS a (room_id, user_id)` + standingJoins + ``

	// Receipts stay when members leave, for when they come back. For strangers none is looked for.
	sqlReaders = `
		SELECT rc.user_id, rc.seq FROM receipts AS rc
		WHERE ($6 OR (SELECT EXISTS (SELECT FROM memberships WHERE room_id = $1 AND user_id = $5 AND NOT by_token)))
		AND rc.room_id = $1 AND rc.seq >= $2 AND rc.user_id > $3
		AND EXISTS (SELECT FROM memberships AS m WHERE m.room_id = rc.room_id AND m.user_id = rc.user_id)
		ORDER BY rc.user_id LIMIT $4`

	sqlCountReaders = `SELECT count(*) FROM (
		SELECT FROM receipts AS rc
		WHERE ($5 OR (SELECT EXISTS (SELECT FROM memberships WHERE room_id = $1 AND user_id = $4 AND NOT by_token)))
		AND rc.room_id = $1 AND rc.seq >= $2
		AND EXISTS (SELECT FROM memberships AS m WHERE m.room_id = rc.room_id AND m.user_id = rc.user_id)
		LIMIT $3) AS r`
)

// Readers implements usecases.Store in one round trip.
func (s *Store) Readers(ctx context.Context, as chat.Membership, page usecases.ReadersPage) (usecases.Readers, error) {
	room, from := string(as.Room), int64(1) // a receipt of 0 is none
	if page.Message != nil {
		from = int64(chat.SeqOf(*page.Message)) //nolint:gosec // 40 bits
	}
	var r usecases.Readers
	err := s.do(ctx, "list readers", func(ctx context.Context) error {
		r = usecases.Readers{}
		return s.readSnapshot(ctx,
			roundtrip.Step{SQL: sqlReadBy, Args: []any{room, string(as.User), from, (*[16]byte)(page.Message)}, Scan: func(rows pgx.Rows) error {
				var row standingRow
				err := rows.Scan(append(row.into(), &r.MessageExists)...)
				r.Standing = row.of(as.User)
				r.Granted = page.Granted
				return err
			}},
			roundtrip.Step{SQL: sqlReaders, Args: []any{room, from, string(page.After), page.Limit + 1, string(as.User), page.Granted.MayReadWithout()}, Scan: roundtrip.Collect(&r.List, scanReader)},
			roundtrip.Step{SQL: sqlCountReaders, Args: []any{room, from, maxCountedReaders, string(as.User), page.Granted.MayReadWithout()}, Scan: func(rows pgx.Rows) error {
				return rows.Scan(&r.Count)
			}})
	})
	if r.HasMore = len(r.List) > page.Limit; r.HasMore {
		r.List = r.List[:page.Limit]
	}
	return r, err
}

func scanReader(row pgx.CollectableRow) (r usecases.Reader, err error) {
	var seq int64
	err = row.Scan((*string)(&r.User), &seq)
	r.Seq = uint64(seq) //nolint:gosec // counts from 1
	return r, err
}
