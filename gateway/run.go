package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/starling-chat/starling/gateway/internal/cluster"
	"github.com/starling-chat/starling/gateway/internal/edge"
	"github.com/starling-chat/starling/gateway/internal/peers"
	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/socketio"
	"github.com/starling-chat/starling/gateway/internal/stats"
	"github.com/starling-chat/starling/gateway/internal/transport"
	"github.com/starling-chat/starling/platform/bus"
	"github.com/starling-chat/starling/platform/obs"
	"github.com/starling-chat/starling/platform/rpc"
	"github.com/starling-chat/starling/platform/run"
	clusterv1 "github.com/starling-chat/starling/proto/gen/starling/cluster/v1"
)

// Run runs a gateway until ctx ends, then drains it. NATS and the services may be away at any time.
func Run(ctx context.Context, cfg Config, log *slog.Logger) error {
	cfg.Listen.ID = cmp.Or(cfg.Listen.ID, session.NewID())
	log = log.With(slog.String("gateway", cfg.Listen.ID))
	stopTracing, err := obs.Tracing(ctx, "gateway", &cfg.Obs, log)
	if err != nil {
		return fmt.Errorf("start tracing: %w", err)
	}
	defer stopTracing()
	public, err := cfg.public()
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
	unfinished, strangers := transport.NewUnfinished(int64(cfg.Protocol.Unfinished)), new(transport.Strangers)
	sockets := webSockets(cfg, unfinished, log)
	st := stats.New(registry, sockets.QueuedBytes)
	// The app outlives ctx: events that were accepted are finished while the sessions drain.
	app := newApp(context.WithoutCancel(ctx), cfg, nc, conns, st, log)
	sids := session.NewSIDs(cfg.Listen.ID, cfg.sidKey(), cfg.otherSIDKeys()...)
	sessions := session.NewServer(sessionConfig(cfg, unfinished, strangers), sids, app, socketio.NewNames(usualNames()...), st, log)

	listener, secure, err := listenPublic(ctx, cfg, log)
	if err != nil {
		return err
	}
	operations := clusterServer(cfg, app.cluster, registry, log)
	if err := operations.Listen(ctx); err != nil {
		return err
	}
	drain := &drain{window: cfg.Drain.Window, alone: app.cluster.Alone, sessions: sessions, sockets: sockets, busy: app.Busy, stats: st, log: log}
	others := drain.with(peers.New(peersConfig(cfg, app, drain, strangers), nc, sessions, log))
	front, err := edge.New(edgeConfig(cfg, public, listener, conns, app, sockets.OnLoops(), log),
		edge.Deps{SIDs: sids, Sessions: sessions, Sockets: sockets, Peers: others, Strangers: strangers, Stats: st, Log: log})
	if err != nil {
		return fmt.Errorf("prepare the HTTP edge: %w", err)
	}

	g := run.Group{Timeout: cfg.ShutdownTimeout}
	g.Go("admin", cfg.Obs.Server(registry, drain.ready, log).Run)
	g.Go("relay", app.Run)
	g.Go("cluster", app.cluster.Run)
	g.Go("peers", others.Run)
	g.Go("grpc", operations.Run)
	g.Go("heartbeats", sessions.Run)
	g.Go("memory", memory{sessions, app.joins}.Run)
	g.Go("drain", drain.run)
	g.Go("https", secure.Run)
	g.Go("edge", front.Run)
	return g.Run(ctx)
}

// closeTimeout is how long a closing connection may take.
const closeTimeout = 2 * time.Second

// edgeConfig completes what the settings say about the public side.
func edgeConfig(cfg Config, c edge.Config, listener net.Listener, conns serviceConns, app app, loops bool, log *slog.Logger) edge.Config {
	c.Listener, c.OwnHandshakes = listener, loops
	c.IdleTimeout, c.MaxPerAddress = cfg.Limits.IdleTimeout, perAddress(cfg.Limits.AddressConns)
	c.MaxPayload, c.MaxConnections, c.MaxSockets = cfg.maxPayload(), maxConnections(cfg.Limits.Connections, log), descriptorRoom()
	c.IPRate, c.IPBurst = cfg.Limits.IPRate, cfg.Limits.IPBurst
	c.Auth, c.Chat, c.Presence, c.Cluster = conns.auth, conns.chat, conns.presence, app.cluster.Server()
	c.Judged = app.Admit
	c.Page = edge.Page{Off: cfg.Listen.Web == "off", Demo: cfg.Demo, Developer: cfg.Developer}
	return c
}

func peersConfig(cfg Config, app app, drain *drain, strangers *transport.Strangers) peers.Config {
	return peers.Config{
		Gateway: cfg.Listen.ID, Takeover: app.Takeover, Resumed: app.Resumed, LetGo: drain.letGoWhenIdle,
		SendQueue: cfg.Limits.SendQueueBytes, Strangers: strangers,
	}
}

func transportLimits(cfg Config, unfinished *transport.Unfinished) transport.Limits {
	return transport.Limits{
		MaxMessage: cfg.maxPayload(), FirstMessage: firstPayload, Unfinished: unfinished, SendQueue: cfg.Limits.SendQueueBytes,
		FrameTimeout: cfg.Limits.FrameTimeout, CloseTimeout: closeTimeout,
	}
}

func sessionConfig(cfg Config, unfinished *transport.Unfinished, strangers *transport.Strangers) session.Config {
	return session.Config{
		PingInterval: cfg.Protocol.PingInterval, PingTimeout: cfg.Protocol.PingTimeout,
		ConnectTimeout: cfg.Protocol.ConnectTimeout, Strangers: strangers,
		MaxPayload: cfg.maxPayload(), FirstPayload: firstPayload, PacketTimeout: cfg.Limits.FrameTimeout, Unfinished: unfinished,
		MaxAttachments: cfg.Protocol.MaxAttachments, MaxDepth: cfg.Protocol.MaxDepth,
		ConnectRate: cfg.Limits.ConnectRate, ConnectBurst: cfg.Limits.ConnectBurst,
	}
}

// clusterServer serves the cluster operations to other services.
func clusterServer(cfg Config, operations *cluster.Cluster, registry *prometheus.Registry, log *slog.Logger) *rpc.Server {
	server := rpc.NewServer(cfg.RPC.Server(registry, log))
	clusterv1.RegisterClusterServiceServer(server.GRPC(), operations.Server())
	server.SetReady(true)
	return server
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

// errDraining makes /readyz say no.
var errDraining = errors.New("draining")
