package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/starling-chat/starling/gateway/internal/cluster"
	"github.com/starling-chat/starling/gateway/internal/edge"
	"github.com/starling-chat/starling/gateway/internal/peers"
	"github.com/starling-chat/starling/gateway/internal/relay"
	"github.com/starling-chat/starling/gateway/internal/roomfeed"
	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/socketio"
	"github.com/starling-chat/starling/gateway/internal/stats"
	"github.com/starling-chat/starling/gateway/internal/transport"
	"github.com/starling-chat/starling/platform/bus"
	"github.com/starling-chat/starling/platform/obs"
	"github.com/starling-chat/starling/platform/rpc"
	"github.com/starling-chat/starling/platform/run"
	authv1 "github.com/starling-chat/starling/proto/gen/starling/auth/v1"
	chatv1 "github.com/starling-chat/starling/proto/gen/starling/chat/v1"
	clusterv1 "github.com/starling-chat/starling/proto/gen/starling/cluster/v1"
	"github.com/starling-chat/starling/proto/namespaces"
)

// Run runs a gateway until ctx ends, then drains it. NATS and the services may be away at any time.
func Run(ctx context.Context, cfg Config, log *slog.Logger) error {
	if cfg.Listen.ID == "" {
		cfg.Listen.ID = session.NewID()
	}
	log = log.With(slog.String("gateway", cfg.Listen.ID))
	stopTracing, err := obs.Tracing(ctx, "gateway", cfg.Obs.OTLPEndpoint)
	if err != nil {
		return fmt.Errorf("start tracing: %w", err)
	}
	defer func() { _ = stopTracing(context.WithoutCancel(ctx)) }()
	proxies, err := cfg.trustedProxies()
	if err != nil {
		return err
	}

	conns, err := dial(cfg, log)
	if err != nil {
		return err
	}
	defer conns.close()

	nc, err := bus.Connect(ctx, cfg.NATS.Config("gateway", log))
	if err != nil {
		return fmt.Errorf("connect to NATS: %w", err)
	}
	defer nc.Close()

	registry := obs.NewRegistry("gateway")
	registry.MustRegister(bus.Collector(nc))
	sockets := transport.NewServer(transport.Limits{
		MaxMessage: cfg.Protocol.MaxPayload, SendQueue: cfg.Limits.SendQueueBytes,
		FrameTimeout: cfg.Limits.FrameTimeout, CloseTimeout: closeTimeout,
	}, log)
	st := stats.New(registry, sockets.QueuedBytes)
	// The relay outlives ctx: events that were accepted are finished while the sessions drain.
	background := context.WithoutCancel(ctx)
	chat := chatv1.NewChatServiceClient(rpc.Hedged(conns.chat))
	r := relay.New(background, relayConfig(cfg), relay.Deps{
		Bus: nc, Auth: authv1.NewAuthServiceClient(rpc.Hedged(conns.auth)), Chat: chat,
		Rooms: sabotaged(roomfeed.NewSource(nc, chat)), Stats: st, Log: log,
	})
	bus.OnReconnect(nc, r.Resync)
	operations := cluster.New(clusterConfig(cfg), cluster.Deps{
		Bus: nc, Hub: r.Hub(), Registry: r.Registry(), Sockets: r, Announce: r.AnnounceGateway, Stats: st, Log: log,
	})
	bus.OnReconnect(nc, operations.Resync)
	sids := session.NewSIDs(cfg.Listen.ID, cfg.sidKey())
	sessions := session.NewServer(session.Config{
		PingInterval: cfg.Protocol.PingInterval, PingTimeout: cfg.Protocol.PingTimeout,
		ConnectTimeout: cfg.Protocol.ConnectTimeout, MaxPayload: cfg.Protocol.MaxPayload,
		MaxAttachments: cfg.Protocol.MaxAttachments, MaxDepth: cfg.Protocol.MaxDepth,
	}, sids, app{Relay: r, cluster: operations}, socketio.NewNames(usualNames()...), st, log)

	listener, err := listen(ctx, cfg)
	if err != nil {
		return err
	}
	others := peers.New(peers.Config{Gateway: cfg.Listen.ID, Takeover: r.Takeover, Resumed: r.Resumed}, nc, sessions, log)
	front, err := edge.New(edge.Config{
		Listener: listener, Origins: cfg.Listen.FrontendURLs, TrustedProxies: proxies,
		MaxPayload: cfg.Protocol.MaxPayload, MaxConnections: maxConnections(cfg.Limits.Connections, log), MaxSockets: descriptorRoom(),
		IPRate: cfg.Limits.IPRate, IPBurst: cfg.Limits.IPBurst,
		Auth: conns.auth, Chat: conns.chat, Presence: conns.presence, Cluster: operations.Server(),
	}, sids, sessions, sockets, others, st, log)
	if err != nil {
		return fmt.Errorf("prepare the HTTP edge: %w", err)
	}

	drain := &drain{window: cfg.Drain.Window, sessions: sessions, sockets: sockets, busy: r.Busy, stats: st, log: log}
	g := run.Group{Timeout: cfg.ShutdownTimeout}
	g.Go("admin", obs.Admin{Addr: cfg.Obs.Admin, Registry: registry, Ready: drain.ready, Log: log}.Run)
	g.Go("relay", r.Run)
	g.Go("cluster", operations.Run)
	g.Go("peers", others.Run)
	if cfg.RPC.Listen != "" {
		g.Go("grpc", clusterServer(cfg, operations, registry, log).Run)
	}
	g.Go("heartbeats", sessions.Run)
	g.Go("memory", func(ctx context.Context) error { return keepMemory(ctx, sessions) })
	g.Go("drain", drain.run)
	g.Go("edge", front.Run)
	log.InfoContext(ctx, "gateway listens", slog.String("address", listener.Addr().String()))
	return g.Run(ctx)
}

// closeTimeout is how long a closing connection may take.
const closeTimeout = 2 * time.Second

func relayConfig(cfg Config) relay.Config {
	return relay.Config{
		GatewayID: cfg.Listen.ID, Incarnation: time.Now().UnixNano(),
		EventRate: cfg.Limits.EventRate, EventBurst: cfg.Limits.EventBurst,
		MaxEventBytes: cfg.Limits.EventBytes, MaxRooms: cfg.Limits.Rooms, MaxQueued: cfg.Limits.Queued,
		MaxInFlight: cfg.Limits.InFlight, MaxWaiting: cfg.Limits.Waiting, MaxHandshakes: cfg.Limits.Handshakes,
		EventTimeout: cfg.Limits.EventTimeout, AuthTimeout: 5 * time.Second,
		Linger: 30 * time.Second, GapWait: 30 * time.Millisecond, HeadInterval: 5 * time.Second, LeaseInterval: leaseInterval,
		PongWithin:     cfg.Protocol.PingInterval + cfg.Protocol.PingTimeout,
		RecoveryWindow: cfg.Recovery.Window, RecoveryEvents: cfg.Recovery.Events,
		RecoveryReplicas: cfg.Recovery.Replicas, RecoveryBytes: cfg.Recovery.Bytes,
		Services: []string{"chat-service", "presence-service"},
	}
}

// leaseInterval is the time between two presence leases of a gateway.
const leaseInterval = 3 * time.Second

func clusterConfig(cfg Config) cluster.Config {
	return cluster.Config{
		Gateway: cfg.Listen.ID, Calls: cfg.Limits.ClusterCalls,
		Timeout: cfg.Limits.ClusterTimeout, RoomTimeout: cfg.Limits.EventTimeout,
		LeaseInterval: leaseInterval, MaxAckBytes: cfg.Limits.EventBytes,
	}
}

// app is what sessions serve: client events are the relay's, and the acks of clients are those of cluster operations.
type app struct {
	*relay.Relay
	cluster *cluster.Cluster
}

var _ session.App = app{}

// Ack implements session.App.
func (a app) Ack(s *session.Socket, id int64, args []byte, attachments [][]byte) {
	a.cluster.Acked(s, id, args, attachments)
}

// clusterServer serves the cluster operations to other services.
func clusterServer(cfg Config, operations *cluster.Cluster, registry *prometheus.Registry, log *slog.Logger) *rpc.Server {
	if cfg.RPC.Token == "" {
		log.Warn("gRPC asks for no service token: everyone who reaches it may use the cluster operations", slog.String("address", cfg.RPC.Listen))
	}
	server := rpc.NewServer(cfg.RPC.Server(registry, log))
	clusterv1.RegisterClusterServiceServer(server.GRPC(), operations.Server())
	server.SetReady(true)
	return server
}

// usualNames are the namespaces and events that packets usually carry, kept as shared strings.
func usualNames() []string {
	return append(namespaces.All(),
		"room:join", "room:leave", "room:message", "message:send", "message", "message:read", "message:history", "room:list",
		"typing:start", "typing:stop", "chat:message", "announcement", "presence:get", "notification:list", "notification:read",
	)
}

type serviceConns struct{ auth, chat, presence *grpc.ClientConn }

func dial(cfg Config, log *slog.Logger) (serviceConns, error) {
	var s serviceConns
	client := cfg.RPC.Client(log)
	for _, c := range []struct {
		conn   **grpc.ClientConn
		target string
	}{{&s.auth, cfg.Services.Auth}, {&s.chat, cfg.Services.Chat}, {&s.presence, cfg.Services.Presence}} {
		conn, err := rpc.Dial(c.target, client)
		if err != nil {
			s.close()
			return s, fmt.Errorf("dial %s: %w", c.target, err)
		}
		*c.conn = conn
	}
	return s, nil
}

func (s serviceConns) close() {
	for _, c := range []*grpc.ClientConn{s.auth, s.chat, s.presence} {
		if c != nil {
			_ = c.Close()
		}
	}
}

func listen(ctx context.Context, cfg Config) (net.Listener, error) {
	l := cfg.Listener
	if l == nil {
		var lc net.ListenConfig
		var err error
		if l, err = lc.Listen(ctx, "tcp", cfg.Listen.Addr); err != nil {
			return nil, fmt.Errorf("listen on %s: %w", cfg.Listen.Addr, err)
		}
	}
	if err := setSendBuffer(l, cfg.Limits.SendBuffer); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("set KERNEL_SEND_BUFFER_BYTES: %w", err)
	}
	return l, nil
}

// setSendBuffer bounds what the kernel takes for each connection that l accepts: they inherit it. The kernel doubles size for its
// own needs.
func setSendBuffer(l net.Listener, size int) error {
	if size == 0 {
		return nil
	}
	socket, ok := l.(syscall.Conn)
	if !ok {
		return fmt.Errorf("a %T has none", l)
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	var refused error
	err = raw.Control(func(fd uintptr) {
		refused = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF, size)
	})
	return errors.Join(err, refused)
}

// descriptorReserve is kept for everything that is not a client: NATS, gRPC, files, HTTP requests.
const descriptorReserve = 200

// maxConnections takes what the descriptor limit leaves when nothing is set, and warns when a setting is over it.
func maxConnections(set int, log *slog.Logger) int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		log.Warn("descriptor limit unknown", slog.Any("error", err))
		return set
	}
	room := descriptorRoom()
	log.Info("descriptor limit", slog.Uint64("nofile", limit.Cur), slog.Int("connections", room))
	if set == 0 {
		return max(room, 1)
	}
	if set > room {
		log.Warn("max-connections is over the descriptor limit", slog.Int("max_connections", set), slog.Int("possible", room))
	}
	return set
}

// descriptorRoom is how many descriptors are left for clients; 0 where that is unknown.
func descriptorRoom() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return max(int(min(limit.Cur, 1<<30))-descriptorReserve, 1)
}

// errDraining makes /readyz say no.
var errDraining = errors.New("draining")
