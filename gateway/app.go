package gateway

import (
	"context"
	"log/slog"
	"runtime"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/starling-chat/starling/gateway/internal/cluster"
	"github.com/starling-chat/starling/gateway/internal/hub"
	"github.com/starling-chat/starling/gateway/internal/inbox"
	"github.com/starling-chat/starling/gateway/internal/presence"
	"github.com/starling-chat/starling/gateway/internal/quota"
	"github.com/starling-chat/starling/gateway/internal/relay"
	"github.com/starling-chat/starling/gateway/internal/roomfeed"
	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/sessionstore"
	"github.com/starling-chat/starling/gateway/internal/stats"
	"github.com/starling-chat/starling/gateway/internal/userlog"
	"github.com/starling-chat/starling/gateway/internal/watches"
	"github.com/starling-chat/starling/platform/bus"
	"github.com/starling-chat/starling/platform/rpc"
	"github.com/starling-chat/starling/proto/events"
	authv1 "github.com/starling-chat/starling/proto/gen/starling/auth/v1"
	chatv1 "github.com/starling-chat/starling/proto/gen/starling/chat/v1"
	presencev1 "github.com/starling-chat/starling/proto/gen/starling/presence/v1"
	"github.com/starling-chat/starling/proto/namespaces"
)

// app is what sessions serve: client events are the relay's, and the acks of clients are those of cluster operations.
type app struct {
	*relay.Relay
	cluster *cluster.Cluster
	joins   func() int64 // of sockets into rooms, so far
}

var _ session.App = app{}

// Ack implements session.App.
func (a app) Ack(s *session.Socket, id int64, args []byte, attachments [][]byte) {
	a.cluster.Acked(s, id, args, attachments)
}

// newApp puts the parts together that stand behind the sessions:
//
//	relay ──► store, feed, logs, inbox, presence, watches   cluster
//	             │                            │
//	             └──────► rooms, sockets ◄────┘
func newApp(ctx context.Context, cfg Config, nc *nats.Conn, conns serviceConns, st *stats.Stats, log *slog.Logger) app {
	id, incarnation := cfg.Listen.ID, time.Now().UnixNano()
	chat := chatv1.NewChatServiceClient(rpc.Hedged(conns.chat))
	rooms, sockets := hub.New(max(2, runtime.GOMAXPROCS(0)), st, log), hub.NewRegistry()
	feed := roomfeed.New(
		roomfeed.Config{Gateway: id, Linger: 30 * time.Second, GapWait: 30 * time.Millisecond, HeadInterval: headInterval},
		roomfeed.Deps{Bus: nc, Source: sabotaged(roomfeed.NewSource(nc, chat)), Hub: rooms, Stats: st, Log: log},
	)
	who := presence.New(presence.Config{
		GatewayID: id, Incarnation: incarnation, LeaseInterval: leaseInterval,
	}, nc, log)
	watching := watches.New(watches.Config{Most: cfg.Limits.Watches, Behind: feed.Behind}, presencev1.NewPresenceServiceClient(rpc.Hedged(conns.presence)), nc, st, log)
	store := sessionstore.New(sessionstore.Config{
		GatewayID: id, Incarnation: incarnation,
		Window: cfg.Recovery.Window, Replicas: cfg.Recovery.Replicas, Bytes: cfg.Recovery.Bytes,
	}, nc, st, log)
	inboxes := inbox.New(inbox.Config{Rooms: cfg.Limits.InboxRooms, Most: cfg.Limits.InboxLinks}, chat, sockets, nc, st, log)
	logs := userlog.New(userlog.Deps{
		Chat: chat, Hub: rooms, Registry: sockets, Repair: feed.Repair, Missed: inboxes.Missed, Stats: st, Log: log, Interval: headInterval,
	})
	r := relay.New(ctx, relayConfig(cfg), relay.Deps{
		Bus: nc, Auth: authv1.NewAuthServiceClient(rpc.Hedged(conns.auth)), Chat: chat,
		Hub: rooms, Registry: sockets, Feed: feed, Presence: who, Watches: watching, Store: store, Logs: logs, Inbox: inboxes, Stats: st, Log: log,
	})
	operations := cluster.New(clusterConfig(cfg), cluster.Deps{
		Bus: nc, Hub: rooms, Registry: sockets, Sockets: r, Announce: who.Announce, Stats: st, Log: log,
	})
	bus.OnDisconnect(nc, feed.Lost)
	bus.OnDisconnect(nc, inboxes.Lost)
	bus.OnReconnect(nc, r.Resync)
	bus.OnReconnect(nc, operations.Resync)
	bus.OnReconnect(nc, watching.Resync)
	return app{Relay: r, cluster: operations, joins: rooms.Joins}
}

func relayConfig(cfg Config) relay.Config {
	return relay.Config{
		GatewayID: cfg.Listen.ID,
		Events: relay.EventLimits{
			Rate: cfg.Limits.EventRate, Burst: cfg.Limits.EventBurst, MaxBytes: cfg.Limits.EventBytes,
			MaxQueued: cfg.Limits.Queued, MaxInFlight: cfg.Limits.InFlight, MaxWaiting: cfg.Limits.Waiting, Timeout: cfg.Limits.EventTimeout,
			Stall: cfg.Stall.Limit,
		},
		MaxRooms: cfg.Limits.Rooms, MaxHandshakes: cfg.Limits.Handshakes, AuthTimeout: 5 * time.Second,
		HoldConnect: cfg.Protocol.ConnectTimeout * 4 / 5, // then the session ends for want of a namespace
		Recovery: relay.RecoveryLimits{
			MaxEvents: cfg.Recovery.Events, PongWithin: cfg.Protocol.PingInterval + cfg.Protocol.PingTimeout,
		},
		Users:    cfg.users(),
		Services: []string{"chat-service", "presence-service"},
	}
}

// users are the limits of a user over its sockets: a few sockets' worth of events, and of bytes what one socket can send.
func (c *Config) users() quota.Limits {
	l := quota.Limits{Sockets: c.Limits.UserSockets, Events: c.Limits.UserEvents, Bytes: float64(c.Limits.UserBytes)}
	if l.Events == 0 {
		l.Events = socketsWorth * c.Limits.EventRate
	}
	if l.Bytes == 0 {
		l.Bytes = c.Limits.EventRate * float64(c.Limits.EventBytes)
	}
	l.Bursts = max(socketsWorth*float64(c.Limits.EventBurst), l.Events)
	l.BurstSize = max(4*l.Bytes, float64(c.Limits.EventBytes))
	return l
}

// socketsWorth is how many sockets' events one user may send by default.
const socketsWorth = 4

// headInterval is the time between two looks for events that were lost.
const headInterval = 5 * time.Second

// leaseInterval is the time between two presence leases of a gateway.
const leaseInterval = 3 * time.Second

func clusterConfig(cfg Config) cluster.Config {
	return cluster.Config{
		Gateway: cfg.Listen.ID, Calls: cfg.Limits.ClusterCalls,
		Timeout: cfg.Limits.ClusterTimeout, RoomTimeout: cfg.Limits.EventTimeout,
		LeaseInterval: leaseInterval, MaxAckBytes: cfg.Limits.EventBytes,
	}
}

// usualNames are the namespaces and events that packets usually carry, kept as shared strings.
func usualNames() []string {
	contract, err := events.Read()
	if err != nil {
		panic(err) // it is part of the binary
	}
	names := namespaces.All()
	for _, e := range contract.ClientEvents {
		names = append(names, e.Event)
	}
	return names
}
