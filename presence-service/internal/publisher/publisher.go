package publisher

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/starling-chat/starling/presence-service/internal/presence"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// Headers of presence.v1.online, for the other replicas; gateways need not read them.
const (
	headerReplica = "Starling-Replica"
	headerStandIn = "Starling-Stand-In"
)

const proveTimeout = time.Second

var (
	_ presence.Publisher = (*Publisher)(nil)
	_ presence.Link      = (*Publisher)(nil)
)

// Publisher tells gateways who is online, and hears which other replicas do.
type Publisher struct {
	Conn       *nats.Conn
	Leadership *presence.Leadership
}

// Run listens to the replicas that publish until ctx ends.
func (p *Publisher) Run(ctx context.Context) error {
	sub, err := p.Conn.Subscribe(subject.PresenceOnline, func(m *nats.Msg) {
		if replica := m.Header.Get(headerReplica); replica != "" {
			p.Leadership.Heard(replica, m.Header.Get(headerStandIn) != "", time.Now())
		}
	})
	if err != nil {
		return fmt.Errorf("subscribe to %s: %w", subject.PresenceOnline, err)
	}
	<-ctx.Done()
	_ = sub.Unsubscribe()
	return nil
}

// maxChanges is how many changes one message carries.
const maxChanges = 2000

// PublishOnline implements presence.Publisher.
func (p *Publisher) PublishOnline(_ context.Context, o presence.Online, standIn bool) error {
	if o.Listed {
		if err := p.publishList(o, standIn); err != nil {
			return err
		}
	}
	shards := make(map[int][]*eventv1.PresenceChange)
	for _, c := range o.Changes {
		change := &eventv1.PresenceChange{UserId: string(c.User), Online: c.Online}
		if !c.Seen.IsZero() {
			change.LastSeen = timestamppb.New(c.Seen)
		}
		shard := subject.UserShard(change.UserId)
		shards[shard] = append(shards[shard], change)
	}
	for shard, changes := range shards {
		for part := range slices.Chunk(changes, maxChanges) {
			raw, err := proto.Marshal(&eventv1.PresenceChanges{Users: part})
			if err != nil {
				return fmt.Errorf("encode changes: %w", err)
			}
			if err := p.Conn.Publish(subject.PresenceChanged(shard), raw); err != nil {
				return fmt.Errorf("publish changes: %w", err)
			}
		}
	}
	return nil
}

// publishList tells who is online, and thereby who leads.
func (p *Publisher) publishList(o presence.Online, standIn bool) error {
	raw, err := proto.Marshal(&eventv1.OnlineUsers{
		UserIds: texts(o.Users), Count: uint32(o.Count), //nolint:gosec // users in memory
		Complete: o.Complete,
	})
	if err != nil {
		return fmt.Errorf("encode online users: %w", err)
	}
	m := nats.NewMsg(subject.PresenceOnline)
	m.Data = raw
	m.Header.Set(headerReplica, p.Leadership.Replica())
	if standIn {
		m.Header.Set(headerStandIn, "1")
	}
	if err := p.Conn.PublishMsg(m); err != nil {
		return fmt.Errorf("publish online users: %w", err)
	}
	return nil
}

// Prove implements presence.Link by a round trip to the NATS server.
func (p *Publisher) Prove(ctx context.Context) error {
	if !p.Conn.IsConnected() {
		return nats.ErrConnectionReconnecting
	}
	ctx, cancel := context.WithTimeout(ctx, proveTimeout)
	defer cancel()
	if err := p.Conn.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("prove the link: %w", err)
	}
	return nil
}

func texts(users []presence.UserID) []string {
	s := make([]string, len(users))
	for i, id := range users {
		s[i] = string(id)
	}
	return s
}
