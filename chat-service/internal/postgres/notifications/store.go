package notifications

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
)

// maxUnread bounds how many notifications are counted as unread.
const maxUnread = 1000

// Store is the part of usecases.Store that is about notifications. It is safe for concurrent use.
type Store struct {
	pool *pgxpool.Pool
	do   func(ctx context.Context, what string, f func(context.Context) error) error
}

// New returns a Store on the pool. do runs what is asked of it, and again where the connection broke.
func New(pool *pgxpool.Pool, do func(ctx context.Context, what string, f func(context.Context) error) error) *Store {
	return &Store{pool: pool, do: do}
}

const (
	sqlAddNotification = `
		INSERT INTO notifications (user_id, id, type, title, body, data, idempotency_key, created_at)
		VALUES ($1, $2, $3, $4, $5, NULLIF($6, ''), NULLIF($7, ''), $8)
		ON CONFLICT DO NOTHING
		RETURNING id`

	// By id: this very one, stored by an attempt whose connection broke.
	sqlSameNotification = `SELECT id FROM notifications WHERE user_id = $1 AND (idempotency_key = NULLIF($2, '') OR id = $3)`
)

// AddNotification implements usecases.Store.
func (s *Store) AddNotification(ctx context.Context, n usecases.Notification, key string) (usecases.NotificationID, bool, error) {
	var id [16]byte
	var fresh bool
	err := s.do(ctx, "add notification", func(ctx context.Context) error {
		err := s.pool.QueryRow(ctx, sqlAddNotification, string(n.User), [16]byte(n.ID), n.Type, n.Title, n.Body,
			string(n.Data), key, n.CreatedAt).Scan(&id)
		fresh = err == nil
		if errors.Is(err, pgx.ErrNoRows) {
			err = s.pool.QueryRow(ctx, sqlSameNotification, string(n.User), key, [16]byte(n.ID)).Scan(&id)
		}
		return err
	})
	return id, fresh, err
}

const (
	// One statement, so that the page and the count are of one moment. Where the page is empty, its columns are NULL.
	sqlNotifications = `
		SELECT u.unread, p.id, coalesce(p.type, ''), coalesce(p.title, ''), coalesce(p.body, ''), coalesce(p.data, ''),
		       coalesce(p.created_at, 'epoch'), p.read_at IS NOT NULL
		FROM (SELECT count(*) AS unread FROM (SELECT FROM notifications WHERE user_id = $1 AND read_at IS NULL LIMIT $4) AS n) AS u
		LEFT JOIN LATERAL (
			SELECT * FROM notifications WHERE user_id = $1 AND ($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3
		) AS p ON true ORDER BY p.id DESC`

	// Locked in one order, so that replicas cannot deadlock.
	sqlMarkNotifications = `
		WITH unread AS (
			SELECT n.user_id, n.id FROM unnest($1::text[], $2::uuid[]) AS p (user_id, id)
			JOIN notifications AS n ON n.user_id = p.user_id AND n.id = p.id
			WHERE n.read_at IS NULL ORDER BY n.user_id, n.id FOR NO KEY UPDATE OF n
		)
		UPDATE notifications AS n SET read_at = now() FROM unread AS u WHERE n.user_id = u.user_id AND n.id = u.id`

	sqlUnreadOfEach = `
		SELECT u.user_id, c.unread FROM unnest($1::text[]) AS u (user_id)
		CROSS JOIN LATERAL (
			SELECT count(*) AS unread FROM (SELECT FROM notifications WHERE user_id = u.user_id AND read_at IS NULL LIMIT $2) AS n
		) AS c`
)

// Notifications implements usecases.Store.
func (s *Store) Notifications(ctx context.Context, user chat.UserID, before *usecases.NotificationID, limit int) ([]usecases.Notification, int, error) {
	var list []usecases.Notification
	var unread int
	err := s.do(ctx, "list notifications", func(ctx context.Context) error {
		list = nil
		rows, err := s.pool.Query(ctx, sqlNotifications, string(user), (*[16]byte)(before), limit, maxUnread)
		if err != nil {
			return err
		}
		n := usecases.Notification{User: user}
		var id *[16]byte
		var content string
		_, err = pgx.ForEachRow(rows, []any{&unread, &id, &n.Type, &n.Title, &n.Body, &content, &n.CreatedAt, &n.Read}, func() error {
			if id != nil {
				n.ID, n.Data = *id, []byte(content)
				list = append(list, n)
			}
			return nil
		})
		return err
	})
	return list, unread, err
}

// MarkNotifications implements usecases.Store.
func (s *Store) MarkNotifications(ctx context.Context, read []usecases.NotificationsRead) ([]int, error) {
	var owners, users []string
	var ids [][16]byte
	unread := make(map[string]int, len(read))
	for _, r := range read {
		for _, id := range r.IDs {
			owners, ids = append(owners, string(r.User)), append(ids, id)
		}
		if _, known := unread[string(r.User)]; !known {
			unread[string(r.User)], users = 0, append(users, string(r.User))
		}
	}
	err := s.do(ctx, "mark notifications", func(ctx context.Context) error {
		batch := &pgx.Batch{} // one round trip, and one transaction
		batch.Queue(sqlMarkNotifications, owners, ids)
		batch.Queue(sqlUnreadOfEach, users, maxUnread).Query(func(rows pgx.Rows) error {
			var user string
			var n int
			_, err := pgx.ForEachRow(rows, []any{&user, &n}, func() error {
				unread[user] = n
				return nil
			})
			return err
		})
		return s.pool.SendBatch(ctx, batch).Close()
	})
	if err != nil {
		return nil, err
	}
	left := make([]int, len(read))
	for i, r := range read {
		left[i] = unread[string(r.User)]
	}
	return left, nil
}

const sqlNotificationHead = `SELECT created_at FROM notifications WHERE user_id = $1 ORDER BY id DESC LIMIT 1`

// NotificationHead implements usecases.Store.
func (s *Store) NotificationHead(ctx context.Context, user chat.UserID) (time.Time, error) {
	var at time.Time
	err := s.do(ctx, "find the newest notification", func(ctx context.Context) error {
		err := s.pool.QueryRow(ctx, sqlNotificationHead, string(user)).Scan(&at)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	return at, err
}
