package announcer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/starling-chat/starling/auth-service/internal/auth"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

const (
	// flushTimeout bounds the wait until the server has a revocation.
	flushTimeout = time.Second
	// Replies are collected until none came for replyQuiet, but not longer than replyTotal: nobody knows how many
	// gateways there are.
	replyQuiet = 150 * time.Millisecond
	replyTotal = 500 * time.Millisecond
	// pendingReplies and pendingRevocations bound the queues. A reply over the bound is not counted; a revocation over the
	// bound is found when the cache entry ends.
	pendingReplies     = 4096
	pendingRevocations = 4096
)

var _ auth.Announcer = (*Announcer)(nil)

// Announcer is auth.Announcer on NATS.
type Announcer struct {
	nc    *nats.Conn
	store Store
	log   *slog.Logger
}

// Store keeps what is announced but revocations, which package auth announces.
type Store interface {
	NameStore
	GoneStore
}

// New uses a connection that the caller closes.
func New(nc *nats.Conn, store Store, log *slog.Logger) *Announcer {
	return &Announcer{nc: nc, store: store, log: log}
}

// Announce implements auth.Announcer.
func (a *Announcer) Announce(ctx context.Context, r auth.Revocation) error {
	return a.publish(ctx, r, "")
}

func (a *Announcer) publish(ctx context.Context, r auth.Revocation, reply string) error {
	raw, err := proto.Marshal(toProto(r))
	if err != nil {
		return fmt.Errorf("encode revocation %d: %w", r.ID, err)
	}
	if err := a.nc.PublishMsg(&nats.Msg{Subject: subject.Revoked, Reply: reply, Data: raw}); err != nil {
		return fmt.Errorf("publish revocation %d: %w", r.ID, err)
	}
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	if err := a.nc.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("flush revocation %d: %w", r.ID, err)
	}
	return nil
}

// AnnounceAndCount implements auth.Announcer: it publishes and collects the gateways' answers.
func (a *Announcer) AnnounceAndCount(ctx context.Context, r auth.Revocation) (int, error) {
	inbox := a.nc.NewInbox()
	replies := make(chan *nats.Msg, pendingReplies)
	sub, err := a.nc.ChanSubscribe(inbox, replies)
	if err != nil {
		return 0, fmt.Errorf("subscribe to replies: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	// A caller that gives up does not keep the revocation from being published.
	if err := a.publish(context.WithoutCancel(ctx), r, inbox); err != nil {
		return 0, err
	}
	return a.collect(ctx, replies), nil
}

func (a *Announcer) collect(ctx context.Context, replies <-chan *nats.Msg) int {
	closed := make(map[string]int) // by gateway, so that a repeated reply counts once
	total := time.NewTimer(replyTotal)
	defer total.Stop()
	quiet := time.NewTimer(replyQuiet)
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return sum(closed)
		case <-total.C:
			return sum(closed)
		case <-quiet.C:
			return sum(closed)
		case msg := <-replies:
			var reply eventv1.RevocationReply
			if len(msg.Data) == 0 || proto.Unmarshal(msg.Data, &reply) != nil {
				continue // the server's "no responders" has no data
			}
			closed[reply.GetGatewayId()] = int(reply.GetClosed())
			quiet.Reset(replyQuiet)
		}
	}
}

func sum(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

// Run calls forget with every revocation of this and the other replicas, until ctx ends.
func (a *Announcer) Run(ctx context.Context, forget func(auth.Revocation)) error {
	revocations := make(chan *nats.Msg, pendingRevocations)
	sub, err := a.nc.ChanSubscribe(subject.Revoked, revocations)
	if err != nil {
		return fmt.Errorf("subscribe to revocations: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	for {
		select {
		case <-ctx.Done():
			return nil
		case msg, ok := <-revocations:
			if !ok {
				return errors.New("the subscription to revocations ended")
			}
			r, err := fromProto(msg.Data)
			if err != nil {
				a.log.LogAttrs(ctx, slog.LevelWarn, "revocation not understood", slog.Any("error", err))
				continue
			}
			forget(r)
		}
	}
}

func toProto(r auth.Revocation) *eventv1.Revocation {
	return &eventv1.Revocation{
		Id: r.ID, UserId: string(r.UserID), LoginId: string(r.LoginID), RevokedAt: timestamppb.New(r.RevokedAt),
		Generation: r.Generation,
	}
}

func fromProto(raw []byte) (auth.Revocation, error) {
	var p eventv1.Revocation
	if err := proto.Unmarshal(raw, &p); err != nil {
		return auth.Revocation{}, fmt.Errorf("decode revocation: %w", err)
	}
	return auth.Revocation{
		ID: p.GetId(), UserID: auth.UserID(p.GetUserId()), LoginID: auth.LoginID(p.GetLoginId()),
		RevokedAt: p.GetRevokedAt().AsTime(), Generation: p.GetGeneration(),
	}, nil
}
