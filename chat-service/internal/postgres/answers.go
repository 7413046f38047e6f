package postgres

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/postgres/roundtrip"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/proto/fault"
)

// Two requests with the same key and in the same room wait for the room's lock, and the second finds the answer of the first. Where the request
// names no room, the second waits for the key's row in the primary key, and fails as a conflict: the next try finds the answer.

const (
	answerColumns = `key, asked, at, room_id, version, until, salt, seqs, changed, reasons`

	sqlForgetAnswers = `DELETE FROM answers WHERE key = ANY($1::bytea[]) AND at < clock_timestamp() - $2 * interval '1 millisecond'`

	sqlAnswers = `SELECT ` + answerColumns + ` FROM answers WHERE key = ANY($1::bytea[])`

	sqlAnswer = `SELECT ` + answerColumns + ` FROM answers WHERE key = $1 AND at >= clock_timestamp() - $2 * interval '1 millisecond'`

	sqlKeepAnswer = `
		INSERT INTO answers (key, user_id, asked, at, room_id, version, until, salt, seqs, changed, reasons)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`

	// A user's oldest answers, beyond those that are kept. What another transaction is deleting is not waited for.
	sqlTrimAnswers = `
		DELETE FROM answers WHERE key = ANY(ARRAY(
			SELECT key FROM answers
			WHERE key = ANY(ARRAY(SELECT key FROM answers WHERE user_id = $1 ORDER BY at DESC OFFSET $2 LIMIT $3))
			FOR UPDATE SKIP LOCKED))`

	sqlExpireAnswers = `
		DELETE FROM answers WHERE key = ANY(ARRAY(
			SELECT key FROM answers WHERE at < clock_timestamp() - $1 * interval '1 millisecond' ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED))`
)

// trimmedAnswers bounds how many answers of a user one transaction deletes.
const trimmedAnswers = 100

// readAnswers deletes what is too old first, so that its key is free.
func readAnswers(keys []rules.KeyID, state *rules.State) []roundtrip.Step {
	state.Answers = map[rules.KeyID]rules.Answer{}
	raw := make([][]byte, len(keys))
	for i := range keys {
		raw[i] = keys[i][:]
	}
	return []roundtrip.Step{
		{SQL: sqlForgetAnswers, Args: []any{raw, rules.KeyLife.Milliseconds()}},
		{SQL: sqlAnswers, Args: []any{raw}, Scan: func(rows pgx.Rows) error {
			key, answer, err := scanAnswer(rows)
			state.Answers[key] = answer
			return err
		}},
	}
}

// scanAnswer reads answerColumns.
func scanAnswer(row pgx.Row) (key rules.KeyID, a rules.Answer, err error) {
	var id, asked, salt []byte
	var version int64
	var until *time.Time
	var details rules.Details
	var seqs []int64
	var changed []bool
	var reasons []string
	if err = row.Scan(&id, &asked, &a.At, (*string)(&details.Room), &version, &until, &salt, &seqs, &changed, &reasons); err != nil {
		return key, a, err
	}
	copy(key[:], id)
	copy(a.Asked[:], asked)
	copy(details.Salt[:], salt)
	details.Until = timeOr0(until)
	for i := range min(len(seqs), len(changed), len(reasons)) {
		o := rules.Outcome{CreatedAt: a.At, Version: uint64(version), Changed: changed[i], Details: &details} //nolint:gosec // counts from 0
		o.Seq = uint64(seqs[i])                                                                               //nolint:gosec // counts from 0
		if reasons[i] != "" {
			o.Err = fault.Because(fault.Forbidden, fault.Reason(reasons[i]), "Refused")
		}
		a.Outcomes = append(a.Outcomes, o)
	}
	return key, a, nil
}

// answerSteps keeps answers, in the order of their keys: two transactions that keep the same ones do not wait for each other in a circle.
func answerSteps(answers []rules.NewAnswer) (steps []roundtrip.Step) {
	answers = slices.SortedFunc(slices.Values(answers), func(x, y rules.NewAnswer) int { return bytes.Compare(x.Key[:], y.Key[:]) })
	for i := range answers {
		steps = append(steps, keepAnswer(&answers[i])...)
	}
	return steps
}

func keepAnswer(a *rules.NewAnswer) []roundtrip.Step {
	n := len(a.Outcomes)
	seqs, changed, reasons := make([]int64, n), make([]bool, n), make([]string, n)
	var details rules.Details
	var version uint64
	for i, o := range a.Outcomes {
		seqs[i], changed[i], version = int64(o.Seq), o.Changed, max(version, o.Version) //nolint:gosec // 40 bits
		if o.Details != nil {
			details = *o.Details
		}
		if f, ok := errors.AsType[*fault.Error](o.Err); ok {
			reasons[i] = string(f.Reason)
		}
	}
	user := string(a.By.User)
	if a.By.Key != "" || a.By.User == chat.System {
		user = ""
	}
	steps := []roundtrip.Step{{SQL: sqlKeepAnswer, Args: []any{
		a.Key[:], user, a.Asked[:], a.At, string(details.Room), int64(version), timeOrNull(details.Until), details.Salt[:], seqs, changed, reasons,
	}}}
	if user != "" {
		steps = append(steps, roundtrip.Step{SQL: sqlTrimAnswers, Args: []any{user, rules.KeysKept, trimmedAnswers}})
	}
	return steps
}

// Answer implements usecases.Store.
func (s *Store) Answer(ctx context.Context, key rules.KeyID) (a rules.Answer, ok bool, err error) {
	err = s.do(ctx, "read the answer to a key", func(ctx context.Context) error {
		_, found, err := scanAnswer(s.pool.QueryRow(ctx, sqlAnswer, key[:], rules.KeyLife.Milliseconds()))
		if a, ok = found, err == nil; errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	return a, ok, err
}

// ExpireAnswers deletes answers that have been kept for long enough, purgeRows at most, and gives their number.
func (s *Store) ExpireAnswers(ctx context.Context) (n int64, err error) {
	err = s.do(ctx, "delete old answers to keys", func(ctx context.Context) error {
		tag, err := s.pool.Exec(ctx, sqlExpireAnswers, rules.KeyLife.Milliseconds(), purgeRows)
		n = tag.RowsAffected()
		return err
	})
	return n, err
}
