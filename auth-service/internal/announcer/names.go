package announcer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/auth-service/internal/auth"
	"github.com/starling-chat/starling/platform/obs"
	"github.com/starling-chat/starling/platform/run"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

const (
	// nameTimeout bounds the wait until chat-service has stored names.
	nameTimeout = time.Second
	// Between two looks for names that are not announced: nobody is there who takes them, or all are.
	nameInterval = time.Second
	namePause    = 5 * time.Second
	// maxNames bounds one announcement.
	maxNames = 100
)

// NameStore keeps which names are announced.
type NameStore interface {
	UnannouncedNames(ctx context.Context, limit int) ([]auth.User, error)
	UnannouncedAmong(ctx context.Context, ids []auth.UserID) ([]auth.User, error)
	MarkNamesAnnounced(ctx context.Context, users []auth.User) error
}

// AnnounceName implements auth.Announcer. It waits until chat-service has the name, so that what is said after a socket has connected is
// said by it; what RunNames announces comes later.
func (a *Announcer) AnnounceName(ctx context.Context, u auth.User) {
	// The caller may be gone; the name is not.
	if err := a.announceNames(context.WithoutCancel(ctx), []auth.User{u}); err != nil {
		a.log.LogAttrs(ctx, slog.LevelDebug, "name not announced, will be repeated",
			slog.String("user_id", string(u.ID)), slog.Any("error", err))
	}
}

// AnnounceNames waits until chat-service has the names of some users, a hundred at most, where it has not already: who adds them to a
// room next has them called so there. What fails is announced again.
func (a *Announcer) AnnounceNames(ctx context.Context, ids []auth.UserID) {
	ctx = context.WithoutCancel(ctx) // the caller may be gone; the names are not
	pending, err := a.store.UnannouncedAmong(ctx, ids)
	if err == nil && len(pending) > 0 {
		err = a.announceNames(ctx, pending)
	}
	if err != nil {
		a.log.LogAttrs(ctx, slog.LevelDebug, "names not announced, will be repeated", slog.Int("users", len(ids)), slog.Any("error", err))
	}
}

// RunNames announces names that nobody took, or whose replica died before, from when the database is prepared until ctx ends.
func (a *Announcer) RunNames(ctx context.Context, prepared <-chan struct{}) error {
	select {
	case <-prepared:
	case <-ctx.Done():
		return nil
	}
	failing := obs.Repeats{Log: a.log, Message: "names not announced, will be repeated"}
	pause := nameInterval
	for run.Pause(ctx, pause) {
		pending, err := a.store.UnannouncedNames(ctx, maxNames)
		if err == nil && len(pending) > 0 {
			err = a.announceNames(ctx, pending)
		}
		if pause = nameInterval; err != nil && ctx.Err() == nil {
			pause = namePause
			failing.Failed(ctx, err)
			continue
		}
		failing.Over(ctx)
		if len(pending) == maxNames {
			pause = 0 // there are more
		}
	}
	return nil
}

// announceNames has one replica of chat-service store the names.
func (a *Announcer) announceNames(ctx context.Context, users []auth.User) error {
	names := &eventv1.UserNames{}
	for _, u := range users {
		names.Names = append(names.Names, &eventv1.UserName{UserId: string(u.ID), Name: u.Name, Version: u.NameVersion})
	}
	if err := a.tell(ctx, names, nameTimeout); err != nil {
		return fmt.Errorf("announce %d names: %w", len(users), err)
	}
	return a.store.MarkNamesAnnounced(ctx, users)
}

// tell has one replica of chat-service do what is to be done.
func (a *Announcer) tell(ctx context.Context, names *eventv1.UserNames, patience time.Duration) error {
	raw, err := proto.Marshal(names)
	if err != nil {
		return fmt.Errorf("encode names: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if _, err = a.nc.RequestWithContext(ctx, subject.Named, raw); errors.Is(err, nats.ErrNoResponders) {
		return errors.New("chat-service does not listen")
	}
	return err
}
