package postgres

import (
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/postgres/roundtrip"
	"github.com/starling-chat/starling/chat-service/internal/rules"
)

// The usage of a user is read after its name was locked (names.go) and written before the commit that lets go of it: two replicas
// never count from the same number.
const (
	sqlUsage = `SELECT user_id, made, joined FROM user_usage WHERE user_id = ANY($1::text[])`

	sqlKeepUsage = `
		INSERT INTO user_usage (user_id, made, joined)
		SELECT user_id, made::bigint[], joined FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS u (user_id, made, joined)
		ON CONFLICT (user_id) DO UPDATE SET made = excluded.made, joined = excluded.joined`
)

func readUsage(users []chat.UserID, state *rules.State) roundtrip.Step {
	state.Usage = make(map[chat.UserID]rules.Usage, len(users))
	return roundtrip.Step{SQL: sqlUsage, Args: []any{texts(users)}, Scan: func(rows pgx.Rows) error {
		var user chat.UserID
		var made []int64
		var u rules.Usage
		if err := rows.Scan((*string)(&user), &made, &u.Joined); err != nil {
			return err
		}
		for _, at := range made {
			u.Made = append(u.Made, time.UnixMicro(at).UTC())
		}
		state.Usage[user] = u
		return nil
	}}
}

func keepUsage(usage []rules.UserUsage) roundtrip.Step {
	users, made, joined := make([]string, len(usage)), make([]string, len(usage)), make([]time.Time, len(usage))
	for i, u := range usage {
		times := make([]string, len(u.Made))
		for j, at := range u.Made {
			times[j] = strconv.FormatInt(at.UnixMicro(), 10)
		}
		users[i], made[i], joined[i] = string(u.User), "{"+strings.Join(times, ",")+"}", u.Joined
		if u.Joined.IsZero() {
			joined[i] = time.UnixMicro(0)
		}
	}
	return roundtrip.Step{SQL: sqlKeepUsage, Args: []any{users, made, joined}}
}
