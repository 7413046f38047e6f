package announcer

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/starling-chat/starling/auth-service/internal/auth"
	"github.com/starling-chat/starling/platform/obs"
	"github.com/starling-chat/starling/platform/run"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

const (
	goneInterval = 30 * time.Second
	// maxGone bounds those who are announced at once: each may be in many rooms.
	maxGone = 20
	// goneTimeout bounds the wait until they have left them.
	goneTimeout = 10 * time.Second
)

// GoneStore keeps users who are no more until they have left their rooms.
type GoneStore interface {
	// Gone lists at most limit users who are no more: guests who have no login left, also no ended one, so that nobody can be them again, and
	// deleted users who have not left.
	Gone(ctx context.Context, limit int) ([]auth.UserID, error)
	// Left takes note that users who are no more have left their rooms: such guests are forgotten.
	Left(ctx context.Context, ids []auth.UserID) error
}

// RunGone has users who are no more leave their rooms, from when the database is prepared until ctx ends: chat-service does that. What is not
// done there is announced again.
func (a *Announcer) RunGone(ctx context.Context, prepared <-chan struct{}) error {
	select {
	case <-prepared:
	case <-ctx.Done():
		return nil
	}
	failing := obs.Repeats{Log: a.log, Message: "users who are no more have not left their rooms, will be repeated"}
	for run.Pause(ctx, goneInterval+rand.N(goneInterval/10)) { //nolint:gosec // jitter, not a secret
		if err := a.announceGone(ctx); err != nil && ctx.Err() == nil {
			failing.Failed(ctx, err)
			continue
		}
		failing.Over(ctx)
	}
	return nil
}

// AnnounceGone implements users.Announcer. It waits a moment; what is not done by then RunGone sees to.
func (a *Announcer) AnnounceGone(ctx context.Context, id auth.UserID) {
	// The caller may be gone; that the user is stays true.
	if err := a.haveLeave(context.WithoutCancel(ctx), []auth.UserID{id}, nameTimeout); err != nil {
		a.log.LogAttrs(ctx, slog.LevelDebug, "a deleted user has not left all rooms, will be repeated",
			slog.String("user_id", string(id)), slog.Any("error", err))
	}
}

func (a *Announcer) announceGone(ctx context.Context) error {
	for {
		users, err := a.store.Gone(ctx, maxGone)
		if err != nil || len(users) == 0 {
			return err
		}
		if err := a.haveLeave(ctx, users, goneTimeout); err != nil {
			return err
		}
		if len(users) < maxGone {
			return nil
		}
	}
}

// haveLeave has chat-service end the memberships of users.
func (a *Announcer) haveLeave(ctx context.Context, users []auth.UserID, patience time.Duration) error {
	gone := &eventv1.UserNames{}
	for _, id := range users {
		gone.Names = append(gone.Names, &eventv1.UserName{UserId: string(id), Gone: true})
	}
	if err := a.tell(ctx, gone, patience); err != nil {
		return fmt.Errorf("have %d users leave: %w", len(users), err)
	}
	return a.store.Left(ctx, users)
}
