package postgres

import (
	"context"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
)

// What is not given is NULL, so that each of the filters is an index condition or none.
const sqlListAudit = `
	SELECT id, at, room_id, by_id, api_key, act, user_id, role, until, reason FROM audit
	WHERE id < $1 AND ($2::text IS NULL OR room_id = $2) AND ($3::text IS NULL OR user_id = $3) AND ($4::text IS NULL OR by_id = $4)
	AND ($5::timestamptz IS NULL OR at >= $5) AND ($6::timestamptz IS NULL OR at < $6)
	ORDER BY id DESC LIMIT $7`

// Audit implements usecases.Store: one entry more than is wanted tells that there are more.
func (s *Store) Audit(ctx context.Context, page usecases.AuditPage) ([]usecases.AuditEntry, error) {
	before := int64(math.MaxInt64)
	if page.Before > 0 {
		before = int64(min(page.Before, math.MaxInt64))
	}
	args := []any{
		before, textOrNull(string(page.Room)), textOrNull(string(page.User)), textOrNull(string(page.By)),
		timeOrNull(page.Since), timeOrNull(page.Until), page.Limit + 1,
	}
	var entries []usecases.AuditEntry
	err := s.do(ctx, "list audit", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, sqlListAudit, args...)
		if err != nil {
			return err
		}
		entries, err = pgx.CollectRows(rows, scanAudit)
		return err
	})
	return entries, err
}

func scanAudit(row pgx.CollectableRow) (e usecases.AuditEntry, err error) {
	var id int64
	var until *time.Time
	err = row.Scan(&id, &e.At, (*string)(&e.Room), (*string)(&e.By), &e.Key, &e.Act, (*string)(&e.User), (*string)(&e.Role), &until, &e.Why)
	e.ID, e.Until = uint64(id), timeOr0(until) //nolint:gosec // counts from 1
	return e, err
}

func textOrNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

const (
	sqlBanned = `
		SELECT user_id, banned_until FROM restrictions
		WHERE room_id = $1 AND user_id > $2 AND banned_until > clock_timestamp() ORDER BY user_id LIMIT $3`
	sqlMuted = `
		SELECT user_id, muted_until FROM restrictions
		WHERE room_id = $1 AND user_id > $2 AND muted_until > clock_timestamp() ORDER BY user_id LIMIT $3`
)

// Restricted implements usecases.Store: one user more than is wanted tells that there are more.
func (s *Store) Restricted(ctx context.Context, room chat.RoomID, page usecases.RestrictedPage) ([]usecases.Restricted, error) {
	sql := sqlBanned
	if page.Mutes {
		sql = sqlMuted
	}
	var users []usecases.Restricted
	err := s.do(ctx, "list restrictions", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, sql, string(room), string(page.After), page.Limit+1)
		if err != nil {
			return err
		}
		users, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (r usecases.Restricted, err error) {
			err = row.Scan((*string)(&r.User), &r.Until)
			r.Until = r.Until.UTC()
			return r, err
		})
		return err
	})
	return users, err
}
