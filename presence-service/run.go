package presenceservice

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"google.golang.org/grpc"

	"github.com/starling-chat/starling/platform/bus"
	"github.com/starling-chat/starling/platform/eventserver"
	"github.com/starling-chat/starling/platform/obs"
	"github.com/starling-chat/starling/platform/pg"
	"github.com/starling-chat/starling/platform/rpc"
	"github.com/starling-chat/starling/platform/run"
	"github.com/starling-chat/starling/presence-service/internal/clientevents"
	"github.com/starling-chat/starling/presence-service/internal/grpcapi"
	"github.com/starling-chat/starling/presence-service/internal/intake"
	"github.com/starling-chat/starling/presence-service/internal/postgres"
	"github.com/starling-chat/starling/presence-service/internal/presence"
	"github.com/starling-chat/starling/presence-service/internal/publisher"
	presencev1 "github.com/starling-chat/starling/proto/gen/starling/presence/v1"
)

// Migrations are the goose files of the schema.
func Migrations() (fs.FS, error) { return postgres.Migrations() }

// Run serves until ctx ends. It takes cfg as valid (settings.Parse calls Validate). NATS, PostgreSQL and chat-service may come and go.
func Run(ctx context.Context, cfg Config, log *slog.Logger) error {
	migrations, err := Migrations()
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	if cfg.Database.MigrateOnly {
		return pg.Migrate(ctx, cfg.database(), migrations, log)
	}
	stopTracing, err := obs.Tracing(ctx, Name, &cfg.Obs, log)
	if err != nil {
		return err
	}
	defer stopTracing()
	pool, err := pg.Open(ctx, cfg.database())
	if err != nil {
		return err
	}
	defer pool.Close()
	nc, err := bus.Connect(ctx, cfg.NATS.Config(Name, log))
	if err != nil {
		return err
	}
	defer nc.Close()
	chat, err := rpc.Dial(cfg.ChatAddr, cfg.RPC.Client(log))
	if err != nil {
		return err
	}
	defer func() { _ = chat.Close() }()
	return serve(ctx, cfg, connections{pool, nc, chat}, func(ctx context.Context) error {
		if !cfg.Database.Migrate {
			return nil
		}
		return pg.Migrate(ctx, cfg.database(), migrations, log)
	}, log)
}

// connections are what the service stands on; Run closes them.
type connections struct {
	pool *pgxpool.Pool
	nc   *nats.Conn
	chat *grpc.ClientConn
}

// serve puts the parts together and runs them until ctx ends.
func serve(ctx context.Context, cfg Config, conns connections, migrate func(context.Context) error, log *slog.Logger) error {
	pool, nc := conns.pool, conns.nc
	var (
		metrics    = obs.NewRegistry(Name)
		registry   = presence.NewRegistry(cfg.presence())
		leadership = presence.NewLeadership(cfg.presence(), uuid.NewString(), time.Now())
		store      = postgres.NewStore(pool)
		scope      = presence.Scope(cfg.Scope)
		members    = grpcapi.NewMembers(rpc.Hedged(conns.chat))
		query      = &presence.Query{Registry: registry, Store: store, Members: members, Scope: scope, MaxWatched: cfg.WatchedRoom}
		online     = &publisher.Publisher{Conn: nc, Leadership: leadership}
		snapshots  = intake.NewSnapshots(nc, registry, log, metrics)
		reports    = &intake.Intake{Conn: nc, Registry: registry, Snapshots: snapshots, Log: log}
		election   = &postgres.Election{Pool: pool, Schema: cfg.Database.Schema, Leadership: leadership, Begin: registry.Warm(), Log: log}
		journal    = &presence.Journal{Registry: registry, Leadership: leadership, Store: store, Log: log, Off: scope == presence.ScopeNone}
		keeper     = &presence.Keeper{Registry: registry, Leadership: leadership, Publisher: online, Link: online, Log: log}
		server     = rpc.NewServer(cfg.RPC.Server(metrics, log))
		// PostgreSQL has to be there only once, for the migration: who is online is known without it.
		migrated  = make(chan struct{})
		readiness = rpc.NewReadiness(server, log, rpc.Done(migrated, "waiting for PostgreSQL"), bus.Ready(nc), registry.Ready)
		admin     = cfg.Obs.Server(metrics, readiness.Err, log)
	)
	events, err := eventserver.New(nc, eventserver.Service{
		Name: Name, Routes: clientevents.Routes(query), Begin: registry.Warm(),
	}, clientevents.Limits(cfg.Stall.Limit), metrics, log)
	if err != nil {
		return err
	}
	if err := server.Listen(ctx); err != nil {
		return err
	}
	presencev1.RegisterPresenceServiceServer(server.GRPC(), grpcapi.NewService(query))
	metrics.MustRegister(pg.Collector(pool), bus.Collector(nc))
	registerGauges(metrics, registry, leadership)

	group := run.Group{Timeout: cfg.ShutdownTimeout}
	group.Go("admin", admin.Run)
	group.Go("migrations", func(ctx context.Context) error {
		defer close(migrated)
		return migrate(ctx)
	})
	// A database that does not fit ends the service, also where it is not the one who migrates; one that is away does not.
	group.Go("database", func(ctx context.Context) error { return pg.Await(ctx, pool, log) })
	group.Go("other replicas", online.Run)
	group.Go("snapshots", snapshots.Run)
	group.Go("intake", reports.Run)
	group.Go("election", election.Run)
	group.Go("journal", journal.Run)
	group.Go("keeper", keeper.Run)
	group.Go("client events", events.Run)
	group.Go("grpc", server.Run)
	group.Go("readiness", readiness.Run)
	return group.Run(ctx)
}
