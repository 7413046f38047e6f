package announcer

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/starling-chat/starling/auth-service/internal/auth"
	"github.com/starling-chat/starling/platform/obs"
	"github.com/starling-chat/starling/platform/run"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

const (
	guestInterval = time.Minute
	// maxGone bounds those who are announced at once: each may be in many rooms.
	maxGone = 20
	// goneTimeout bounds the wait until they have left them.
	goneTimeout = 10 * time.Second
)

// GuestStore keeps guests until they are over.
type GuestStore interface {
	// GuestsOver lists at most limit guests who have no login left, also no ended one: nobody can be them again.
	GuestsOver(ctx context.Context, limit int) ([]auth.UserID, error)
	// DropGuests forgets guests, if they have no login left.
	DropGuests(ctx context.Context, ids []auth.UserID) error
}

// RunGuests forgets guests who are over, from when the database is prepared until ctx ends. Chat-service has them leave their rooms first; what
// is not done there is announced again.
func (a *Announcer) RunGuests(ctx context.Context, prepared <-chan struct{}) error {
	select {
	case <-prepared:
	case <-ctx.Done():
		return nil
	}
	failing := obs.Repeats{Log: a.log, Message: "guests who are over not forgotten, will be repeated"}
	for run.Pause(ctx, guestInterval+rand.N(guestInterval/10)) { //nolint:gosec // jitter, not a secret
		if err := a.forgetGuests(ctx); err != nil && ctx.Err() == nil {
			failing.Failed(ctx, err)
			continue
		}
		failing.Over(ctx)
	}
	return nil
}

func (a *Announcer) forgetGuests(ctx context.Context) error {
	for {
		over, err := a.store.GuestsOver(ctx, maxGone)
		if err != nil || len(over) == 0 {
			return err
		}
		gone := &eventv1.UserNames{}
		for _, id := range over {
			gone.Names = append(gone.Names, &eventv1.UserName{UserId: string(id), Gone: true})
		}
		if err := a.tell(ctx, gone, goneTimeout); err != nil {
			return fmt.Errorf("have %d guests leave: %w", len(over), err)
		}
		if err := a.store.DropGuests(ctx, over); err != nil {
			return err
		}
		if len(over) < maxGone {
			return nil
		}
	}
}
