package auth

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// unchangedNotes is how many tokens that change nothing are noted, in a second: clients that come back all at once, each with a fresh
// token, do not cost a write each.
const unchangedNotes = 50

// quota counts what was done in this second.
type quota struct {
	mu     sync.Mutex // guards what follows
	second int64
	done   int
}

// take tells whether one more may be done, of so many a second.
func (q *quota) take(most int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if now := time.Now().Unix(); q.second != now {
		q.second, q.done = now, 0
	}
	q.done++
	return q.done <= most
}

// Description is what a token of another login system says of its user.
type Description struct {
	Name     string    // "" when it does not say
	Role     Role      // "" when it does not say
	IssuedAt time.Time // zero when it does not say
}

// describe has the user of a token of another login system called as the newest one says with which a socket connected; of those
// issued in the same second, and of those that do not say when, it is the last one to come. A token that was issued before is good, but
// it changes nothing: devices that still have it would turn the name back.
func (s *Service) describe(ctx context.Context, v verified, u User) User {
	if v.issuedAt.Before(u.DescribedAt) {
		return u
	}
	d := Description{Name: v.name, Role: v.role, IssuedAt: v.issuedAt}
	renamed := d.Name != "" && d.Name != u.Name
	if !renamed && (d.Role == "" || d.Role == u.Role || u.Username != "") {
		// Nothing changes, but that what an older token says is past.
		if !v.issuedAt.After(u.DescribedAt) || !s.unchanged.take(unchangedNotes) {
			return u
		}
	}
	asOf := time.Now()
	now, err := s.store.Describe(ctx, u.ID, d)
	if errors.Is(err, ErrStale) { // u is of memory, and somebody has described the user since
		if state, err := s.load(ctx, u.ID, ""); err == nil {
			return state.User
		}
	}
	if err != nil {
		s.log.LogAttrs(ctx, slog.LevelDebug, "user not described", slog.String("user_id", string(u.ID)), slog.Any("error", err))
		return u
	}
	s.users.put(u.ID, now, asOf)
	if renamed {
		s.announcer.AnnounceName(ctx, now)
	}
	return now
}
