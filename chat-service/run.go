package chatservice

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/starling-chat/starling/chat-service/internal/activity"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/clientevents"
	"github.com/starling-chat/starling/chat-service/internal/departures"
	"github.com/starling-chat/starling/chat-service/internal/evictor"
	"github.com/starling-chat/starling/chat-service/internal/gossip"
	"github.com/starling-chat/starling/chat-service/internal/grpcapi"
	"github.com/starling-chat/starling/chat-service/internal/names"
	"github.com/starling-chat/starling/chat-service/internal/postgres"
	"github.com/starling-chat/starling/chat-service/internal/publisher"
	"github.com/starling-chat/starling/chat-service/internal/typing"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
	"github.com/starling-chat/starling/chat-service/internal/wire"
	"github.com/starling-chat/starling/platform/bus"
	"github.com/starling-chat/starling/platform/eventserver"
	"github.com/starling-chat/starling/platform/obs"
	"github.com/starling-chat/starling/platform/pg"
	"github.com/starling-chat/starling/platform/rpc"
	"github.com/starling-chat/starling/platform/run"
)

const serviceName = "chat-service"

// Migrations returns the goose files of the schema.
func Migrations() fs.FS { return postgres.Migrations() }

// Run is chat-service from start to stop: it works until ctx ends, whatever is away meanwhile.
func Run(ctx context.Context, cfg Config, log *slog.Logger) error {
	if cfg.Database.MigrateOnly {
		return pg.Migrate(ctx, cfg.database(), Migrations(), log)
	}
	stopTracing, err := obs.Tracing(ctx, serviceName, &cfg.Obs, log)
	if err != nil {
		return err
	}
	defer stopTracing()
	registry := obs.NewRegistry(serviceName)
	// Connections outlive the parts that use them.
	life := context.WithoutCancel(ctx)
	pool, err := pg.Open(life, cfg.database())
	if err != nil {
		return err
	}
	defer pool.Close()
	nc, err := bus.Connect(life, cfg.NATS.Config(serviceName, log))
	if err != nil {
		return err
	}
	defer nc.Close()
	metrics := newMetrics(registry, pg.Collector(pool), bus.Collector(nc))
	store := postgres.New(pool, wire.Codec{}, cfg.quotas()).KeepEdits(cfg.Messages.KeepEdits)
	active := newActivity(nc, store, log)
	out, err := publisher.New(nc, store, cfg.publisher(metrics, active.Seen), log)
	if err != nil {
		return err
	}
	replicas := gossip.New(nc)
	typists := typing.New(out.Ephemeral, replicas)
	defer typists.Close()
	evictions := evictor.New(nc, log)
	writes, publishes := sabotaged(pool, store, out)
	writer := usecases.NewWriter(writes, publishes, metrics, cfg.writer(), log)
	service := usecases.NewService(store, writer, out, typists, evicting(evictions), cfg.service(), log)
	events, err := eventserver.New(nc, eventserver.Service{Name: serviceName, Routes: clientevents.Routes(service)}, cfg.server(), registry, log)
	if err != nil {
		return err
	}
	server := rpc.NewServer(cfg.RPC.Server(registry, log))
	if err := server.Listen(ctx); err != nil {
		return err
	}
	grpcapi.Register(server.GRPC(), service)

	readiness := rpc.NewReadiness(server, log, store.Ready, bus.Ready(nc))
	parts := run.Group{Timeout: cfg.ShutdownTimeout}
	parts.Go("admin", cfg.Obs.Server(registry, readiness.Err, log).Run)
	parts.Go("publisher", out.Run)
	parts.Go("activity", active.Run)
	parts.Go("writer", writer.Run)
	parts.Go("marks", service.Run)
	parts.Go("grpc", server.Run)
	parts.Go("typing", func(ctx context.Context) error { return replicas.Run(ctx, typists) })
	parts.Go("evictions", func(ctx context.Context) error { return evictions.Run(ctx, service.Forget) })
	parts.Go("names", names.New(nc, service.Rename, departures.New(store, service).Gone, log).Run)
	parts.Go("client events", events.Run)
	parts.Go("database", func(ctx context.Context) error { return openDatabase(ctx, cfg, pool, store, log) })
	parts.Go("readiness", readiness.Run)
	return parts.Run(ctx)
}

// newActivity tells gateways of rooms in which something was said.
func newActivity(nc *nats.Conn, store *postgres.Store, log *slog.Logger) *activity.Teller {
	active := activity.New(nc, reading(store.Activity), log)
	bus.OnReconnect(nc, active.Wanted) // who wants it may have said so meanwhile
	return active
}

// purgeInterval is how often a replica looks for deleted rooms of which something is left.
const purgeInterval = 10 * time.Second

// purge removes what is stored of deleted rooms.
func purge(ctx context.Context, store *postgres.Store, log *slog.Logger) error {
	failing := obs.Repeats{Log: log, Message: "deleted rooms not purged, it goes on later"}
	return store.PurgeEvery(ctx, purgeInterval, func(err error) { failing.Failed(ctx, err) })
}

// openDatabase brings the schema up to date and lets requests in, which waits for PostgreSQL as long as it takes. Then it purges.
func openDatabase(ctx context.Context, cfg Config, pool *pgxpool.Pool, store *postgres.Store, log *slog.Logger) error {
	if cfg.Database.Migrate {
		if err := pg.Migrate(ctx, cfg.database(), Migrations(), log); err != nil {
			return err
		}
	} else if err := pg.Await(ctx, pool, log); err != nil {
		return err
	}
	if cfg.AssertDurable {
		if err := pg.AwaitDurable(ctx, pool, log); err != nil {
			return fmt.Errorf("check PostgreSQL (ASSERT_DURABLE): %w", err)
		}
	}
	store.Open()
	return purge(ctx, store, log)
}

// The parts of the configuration, in the words of their packages.

func (c *Config) database() pg.Config {
	cfg := c.Database.Config(serviceName, c.Obs.Traces())
	cfg.GenericPlans = postgres.GenericPlans
	return cfg
}

func (c *Config) writer() usecases.WriterConfig {
	return usecases.WriterConfig{
		Lanes: c.Writer.Lanes, BatchMax: c.Writer.BatchMax, BatchWait: c.Writer.BatchWait,
		Queue: c.Writer.LaneQueue, Timeout: c.Bus.EventTimeout,
	}
}

func (c *Config) service() usecases.Config {
	return usecases.Config{
		Autocreate: c.autocreate(), Broadcast: usecases.BroadcastRight(c.ChatBroadcast),
		MembershipTTL: c.Writer.MembershipTTL, Marks: c.marks(), Messages: usecases.MessagesConfig(c.Messages),
	}
}

func (c *Config) marks() usecases.MarksConfig {
	return usecases.MarksConfig{BatchMax: c.Writer.BatchMax, Queue: c.Writer.LaneQueue, Timeout: c.Bus.EventTimeout}
}

func (c *Config) server() eventserver.Limits {
	return eventserver.Limits{
		Workers: c.Bus.Workers, WorkerQueue: c.Bus.WorkerQueue, Inbox: c.Bus.Inbox,
		PendingBytes: c.Bus.PendingBytes, Timeout: c.Bus.EventTimeout, Stall: c.Stall.Limit,
	}
}

func (c *Config) publisher(m *metrics, seen func([]chat.EncodedEvent)) publisher.Config {
	return publisher.Config{
		Stream: publisher.StreamConfig{
			Replicas: c.Stream.Replicas, MaxAge: c.Stream.MaxAge, MaxBytes: c.Stream.MaxBytes,
			Duplicates: c.Stream.Duplicates, InMemory: c.Stream.Storage == "memory",
		},
		RelayPause: c.Bus.RelayPause, LagReport: m.lag, Seen: seen,
	}
}

// metrics are the service's own; packages with more of them keep theirs.
type metrics struct {
	batchSize     prometheus.Histogram
	commitSeconds prometheus.Histogram
	outboxRows    prometheus.Gauge
	outboxAge     prometheus.Gauge
}

// newMetrics registers them, and those of what the service uses.
func newMetrics(registry prometheus.Registerer, used ...prometheus.Collector) *metrics {
	registry.MustRegister(used...)
	m := &metrics{
		batchSize: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "starling_chat_batch_size", Help: "Commands in a transaction of the writer.",
			Buckets: []float64{1, 2, 5, 10, 20, 50, 100, 200, 500},
		}),
		commitSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "starling_chat_commit_seconds", Help: "Time of a transaction of the writer.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}),
		outboxRows: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "starling_chat_outbox_lag", Help: "Outbox rows that wait for publication; counted up to 10,000.",
		}),
		outboxAge: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "starling_chat_outbox_lag_seconds", Help: "Age of the oldest outbox row.",
		}),
	}
	registry.MustRegister(m.batchSize, m.commitSeconds, m.outboxRows, m.outboxAge)
	return m
}

// Batch implements usecases.Observer.
func (m *metrics) Batch(size int, took time.Duration) {
	m.batchSize.Observe(float64(size))
	m.commitSeconds.Observe(took.Seconds())
}

func (m *metrics) lag(rows int, age time.Duration) {
	m.outboxRows.Set(float64(rows))
	m.outboxAge.Set(age.Seconds())
}
