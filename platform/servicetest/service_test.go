package servicetest

import (
	"context"
	"io/fs"
	"log/slog"

	"github.com/starling-chat/starling/platform/bus"
	"github.com/starling-chat/starling/platform/obs"
	"github.com/starling-chat/starling/platform/pg"
	"github.com/starling-chat/starling/platform/rpc"
	"github.com/starling-chat/starling/platform/run"
	authv1 "github.com/starling-chat/starling/proto/gen/starling/auth/v1"
)

// Config is all settings of a service that has a database, NATS, gRPC and one setting of its own.
type Config struct {
	run.Common
	Obs      obs.Settings `embed:"" set:"admin_listen=:8084"`
	RPC      rpc.Settings `embed:"" set:"grpc_listen=:7005"`
	NATS     bus.Settings `embed:""`
	Database pg.Settings  `embed:"" set:"db_schema=fifth" set:"db_max_conns=4"` //nolint:staticcheck // kong takes set more than once
	Greeting string       `name:"greeting" env:"GREETING" default:"hello" help:"Word that every answer begins with."`
}

// Run is the service from start to stop, whatever is away meanwhile.
func Run(ctx context.Context, cfg Config, migrations fs.FS, log *slog.Logger) error {
	database := cfg.Database.Config("fifth-service", cfg.Obs.Traces())
	if cfg.Database.MigrateOnly {
		return pg.Migrate(ctx, database, migrations, log)
	}
	stopTracing, err := obs.Tracing(ctx, "fifth-service", &cfg.Obs, log)
	if err != nil {
		return err
	}
	defer stopTracing()
	pool, err := pg.Open(context.WithoutCancel(ctx), database)
	if err != nil {
		return err
	}
	defer pool.Close()
	nc, err := bus.Connect(ctx, cfg.NATS.Config("fifth-service", log))
	if err != nil {
		return err
	}
	defer nc.Close()

	registry := obs.NewRegistry("fifth-service")
	registry.MustRegister(pg.Collector(pool), bus.Collector(nc))
	store := pg.NewStore(pool)
	server := rpc.NewServer(cfg.RPC.Server(registry, log))
	authv1.RegisterAuthServiceServer(server.GRPC(), &handler{store: store, greeting: cfg.Greeting})
	migrated := make(chan struct{})
	readiness := rpc.NewReadiness(server, log, rpc.Done(migrated, "waiting for PostgreSQL"), store.Ready, bus.Ready(nc))

	parts := run.Group{Timeout: cfg.ShutdownTimeout}
	parts.Go("admin", cfg.Obs.Server(registry, readiness.Err, log).Run)
	parts.Go("grpc", server.Run)
	parts.Go("database", func(ctx context.Context) error {
		defer close(migrated)
		if !cfg.Database.Migrate {
			return nil
		}
		return pg.Migrate(ctx, database, migrations, log)
	})
	parts.Go("readiness", readiness.Run)
	return parts.Run(ctx)
}
