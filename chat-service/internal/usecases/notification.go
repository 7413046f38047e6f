package usecases

import (
	"context"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/proto/fault"
)

// Bounds of notifications.
const (
	maxNotificationTitle = 200      // characters
	maxNotificationBody  = 4 << 10  // bytes
	maxNotificationData  = 16 << 10 // bytes of JSON
	maxIdempotencyKey    = 128      // characters
	maxNotificationPage  = 100
	defaultPage          = 50
	maxNotificationIDs   = 1000
)

// NotificationID is a UUIDv7; ids of one user sort by age.
type NotificationID = uuid.UUID

// Notification is something to tell one user.
type Notification struct {
	ID        NotificationID
	User      chat.UserID
	Type      string
	Title     string
	Body      string
	Data      []byte // a JSON value, or nil
	CreatedAt time.Time
	Read      bool
}

// Notify stores a notification and tells the user's sockets. The same idempotency key gives the first one's id, and
// tells nobody again.
func (s *Service) Notify(ctx context.Context, n Notification, idempotencyKey string) (NotificationID, error) {
	if err := checkNotification(n, idempotencyKey); err != nil {
		return NotificationID{}, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return NotificationID{}, err
	}
	n.ID, n.CreatedAt = id, now()
	stored, fresh, err := s.store.AddNotification(ctx, n, idempotencyKey)
	if err != nil {
		return NotificationID{}, err
	}
	if fresh {
		// The notification is stored: a socket that misses the event finds it in notification:list.
		s.ephemeralFailed(s.publisher.Notified(n))
	}
	return stored, nil
}

func checkNotification(n Notification, key string) error {
	switch {
	case n.Type == "":
		return fault.New(fault.Invalid, "type must not be empty")
	case utf8.RuneCountInString(n.Type) > chat.MaxType:
		return fault.Newf(fault.Invalid, "type must have at most %d characters", chat.MaxType)
	case n.Title == "":
		return fault.New(fault.Invalid, "title must not be empty")
	case utf8.RuneCountInString(n.Title) > maxNotificationTitle:
		return fault.Newf(fault.TooLarge, "title must have at most %d characters", maxNotificationTitle)
	case len(n.Body) > maxNotificationBody:
		return fault.Newf(fault.TooLarge, "body must have at most %d bytes", maxNotificationBody)
	case len(n.Data) > maxNotificationData:
		return fault.Newf(fault.TooLarge, "data must have at most %d bytes", maxNotificationData)
	case utf8.RuneCountInString(key) > maxIdempotencyKey:
		return fault.Newf(fault.Invalid, "idempotencyKey must have at most %d characters", maxIdempotencyKey)
	}
	for _, f := range []struct{ name, value string }{
		{"type", n.Type}, {"title", n.Title}, {"body", n.Body}, {"idempotencyKey", key},
	} {
		if err := chat.CheckText(f.name, f.value); err != nil {
			return err
		}
	}
	return nil
}

// Notifications lists a page of the caller's notifications, newest first, and counts the unread ones.
// A limit of 0 means 50; at most 100 come.
func (s *Service) Notifications(ctx context.Context, c Caller, before *NotificationID, limit int) ([]Notification, int, error) {
	list, unread, err := s.store.Notifications(ctx, c.User, before, pageLimit(limit, maxNotificationPage))
	return fitNotifications(list), unread, err
}

// MarkNotifications marks notifications as read, counts the unread ones left, and tells the user's other sockets. Unknown ids are
// ignored.
func (s *Service) MarkNotifications(c Caller, ids []NotificationID, done func(unread int, err error)) error {
	if len(ids) > maxNotificationIDs {
		return fault.Newf(fault.Invalid, "ids must have at most %d entries", maxNotificationIDs)
	}
	read := NotificationsRead{c.User, ids}
	return s.marks.Submit(read, c.Asker, func(unread int, err error) {
		if err == nil {
			// A socket that misses the event finds it in notification:list.
			s.ephemeralFailed(s.publisher.NotificationsRead(read, unread, c.Socket))
		}
		done(unread, err)
	})
}

// pageLimit puts what a client asked for into bounds; 0 means the default.
func pageLimit(asked, most int) int {
	if asked <= 0 {
		return min(defaultPage, most)
	}
	return min(asked, most)
}

// now is the time as it is stored and shown.
func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// NotificationHead tells when a user's newest notification was stored; zero = there is none.
func (s *Service) NotificationHead(ctx context.Context, user chat.UserID) (time.Time, error) {
	return s.store.NotificationHead(ctx, user)
}
