package evictor

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

const (
	// leaseExpiry is how long after its last lease a gateway counts as alive: as everywhere.
	leaseExpiry = 10 * time.Second
	// Before warmAfter not all leases have been heard: answers are then awaited for coldWait at least.
	warmAfter = 4 * time.Second
	coldWait  = 500 * time.Millisecond
	// longest bounds the wait for gateways that do not answer.
	longest = 2 * time.Second
	// replyQueue bounds the answers to one eviction that wait. Gateways are fewer; what overflows makes the wait longer.
	replyQueue = 1024
)

// Evictor is usecases.Evictor on NATS.
type Evictor struct {
	nc      *nats.Conn
	log     *slog.Logger
	started time.Time

	mu       sync.Mutex           // guards gateways
	gateways map[string]time.Time // → when they were heard of
}

var _ usecases.Evictor = (*Evictor)(nil)

// New returns an Evictor; it hears of gateways while Run runs.
func New(nc *nats.Conn, log *slog.Logger) *Evictor {
	return &Evictor{nc: nc, log: log, started: time.Now(), gateways: map[string]time.Time{}}
}

// Run listens for gateways, and calls forget with what other replicas evict, and this one, until ctx ends.
func (e *Evictor) Run(ctx context.Context, forget func(chat.RoomID, []chat.UserID)) error {
	leases, err := e.nc.Subscribe(subject.PresenceLease, func(msg *nats.Msg) {
		var lease eventv1.PresenceLease
		if proto.Unmarshal(msg.Data, &lease) == nil {
			e.heard(&lease)
		}
	})
	if err != nil {
		return fmt.Errorf("subscribe leases: %w", err)
	}
	defer func() { _ = leases.Unsubscribe() }()
	others, err := e.nc.Subscribe(subject.Evict, func(msg *nats.Msg) {
		var eviction eventv1.Eviction
		if proto.Unmarshal(msg.Data, &eviction) != nil {
			return // of a newer version: what is remembered ends by itself
		}
		users := make([]chat.UserID, len(eviction.GetUserIds()))
		for i, user := range eviction.GetUserIds() {
			users[i] = chat.UserID(user)
		}
		forget(chat.RoomID(eviction.GetRoomId()), users)
	})
	if err != nil {
		return fmt.Errorf("subscribe evictions: %w", err)
	}
	defer func() { _ = others.Unsubscribe() }()
	<-ctx.Done()
	return nil
}

func (e *Evictor) heard(lease *eventv1.PresenceLease) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if lease.GetEnding() {
		delete(e.gateways, lease.GetGatewayId())
		return
	}
	e.gateways[lease.GetGatewayId()] = time.Now()
}

// alive lists the gateways that have to answer.
func (e *Evictor) alive(now time.Time) map[string]bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	ids := make(map[string]bool, len(e.gateways))
	for id, seen := range e.gateways {
		if now.Sub(seen) < leaseExpiry {
			ids[id] = true
		} else {
			delete(e.gateways, id)
		}
	}
	return ids
}

// Evict implements usecases.Evictor.
func (e *Evictor) Evict(ctx context.Context, room chat.RoomID, users []chat.UserID, seq uint64) {
	eviction := &eventv1.Eviction{RoomId: string(room), Seq: seq}
	for _, user := range users {
		eviction.UserIds = append(eviction.UserIds, string(user))
	}
	raw, err := proto.Marshal(eviction)
	if err != nil {
		e.log.LogAttrs(ctx, slog.LevelError, "eviction cannot be encoded", slog.Any("error", err))
		return
	}
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	missing, err := e.ask(ctx, raw)
	if err != nil || len(missing) > 0 {
		e.log.LogAttrs(ctx, slog.LevelWarn, "eviction not confirmed by all gateways",
			slog.Int("missing", len(missing)), slog.Any("error", err))
	}
}

// ask publishes an eviction and gives the gateways that have not answered when ctx ends.
func (e *Evictor) ask(ctx context.Context, eviction []byte) (missing map[string]bool, err error) {
	inbox := e.nc.NewInbox()
	replies := make(chan *nats.Msg, replyQueue)
	sub, err := e.nc.ChanSubscribe(inbox, replies)
	if err != nil {
		return nil, fmt.Errorf("subscribe to replies: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	now := time.Now()
	missing = e.alive(now)
	if err := e.nc.PublishRequest(subject.Evict, inbox, eviction); err != nil {
		return missing, fmt.Errorf("publish eviction: %w", err)
	}
	least := time.NewTimer(0)
	defer least.Stop()
	cold := now.Sub(e.started) < warmAfter
	if cold {
		least.Reset(coldWait)
	}
	for len(missing) > 0 || cold {
		select {
		case <-ctx.Done():
			return missing, nil
		case <-least.C:
			cold = false
		case msg := <-replies:
			var reply eventv1.EvictionReply
			if len(msg.Data) > 0 && proto.Unmarshal(msg.Data, &reply) == nil { // the server's "no responders" has no data
				delete(missing, reply.GetGatewayId())
			}
		}
	}
	return missing, nil
}
