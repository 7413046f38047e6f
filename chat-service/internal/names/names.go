package names

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/wire"
	"github.com/starling-chat/starling/platform/obs"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

const (
	// queue is the queue group of the replicas.
	queue = "chat-service"
	// pending bounds the announcements that wait. What is over the bound, or fails, is announced again.
	pending = 1024
	// timeout bounds the storing of one announcement; auth-service waits a second for it.
	timeout = 5 * time.Second
)

// Intake takes in the announcements of auth-service.
type Intake struct {
	nc     *nats.Conn
	rename func(context.Context, []chat.UserName) error
	gone   func(context.Context, []chat.UserID) error
	log    *slog.Logger
}

// New uses a connection that the caller closes. rename stores names, gone ends the memberships of users who are no more.
func New(
	nc *nats.Conn, rename func(context.Context, []chat.UserName) error, gone func(context.Context, []chat.UserID) error, log *slog.Logger,
) *Intake {
	return &Intake{nc: nc, rename: rename, gone: gone, log: log}
}

// Run stores what is announced, one announcement after the other, and confirms it, until ctx ends.
func (i *Intake) Run(ctx context.Context) error {
	announcements := make(chan *nats.Msg, pending)
	sub, err := i.nc.ChanQueueSubscribe(subject.Named, queue, announcements)
	if err != nil {
		return fmt.Errorf("subscribe to names: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	failing := obs.Repeats{Log: i.log, Message: "names not stored, they will come again"}
	for {
		select {
		case <-ctx.Done():
			return nil
		case msg, ok := <-announcements:
			if !ok {
				return errors.New("the subscription to names ended")
			}
			if err := i.store(ctx, msg.Data); err != nil {
				failing.Failed(ctx, err)
				continue // no answer: auth-service repeats it
			}
			failing.Over(ctx)
			_ = msg.Respond(nil)
		}
	}
}

func (i *Intake) store(ctx context.Context, raw []byte) error {
	var announced eventv1.UserNames
	if err := proto.Unmarshal(raw, &announced); err != nil {
		return fmt.Errorf("decode names: %w", err)
	}
	names := make([]chat.UserName, 0, len(announced.GetNames()))
	var gone []chat.UserID
	for _, n := range announced.GetNames() {
		name, err := wire.UserName(n)
		switch {
		case err != nil: // nobody else can be a member
		case n.GetGone():
			gone = append(gone, name.User)
		default:
			names = append(names, name)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if len(names) > 0 {
		if err := i.rename(ctx, names); err != nil {
			return err
		}
	}
	return i.gone(ctx, gone)
}
