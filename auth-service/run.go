package authservice

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/starling-chat/starling/auth-service/internal/announcer"
	"github.com/starling-chat/starling/auth-service/internal/apikeys"
	"github.com/starling-chat/starling/auth-service/internal/auth"
	"github.com/starling-chat/starling/auth-service/internal/grpcapi"
	"github.com/starling-chat/starling/auth-service/internal/postgres"
	"github.com/starling-chat/starling/auth-service/internal/securitylog"
	"github.com/starling-chat/starling/auth-service/internal/users"
	"github.com/starling-chat/starling/platform/bus"
	"github.com/starling-chat/starling/platform/obs"
	"github.com/starling-chat/starling/platform/pg"
	"github.com/starling-chat/starling/platform/rpc"
	"github.com/starling-chat/starling/platform/run"
	"github.com/starling-chat/starling/proto/caller"
	"github.com/starling-chat/starling/proto/fault"
)

const (
	name = "auth-service"

	prepareRetry = 500 * time.Millisecond
)

// Migrations are the goose files of the schema.
func Migrations() fs.FS { return postgres.Migrations() }

// Run is the process: it serves until ctx ends, or migrates only, as the settings say. cfg has been validated.
func Run(ctx context.Context, cfg Config, log *slog.Logger) error {
	database := cfg.database()
	if cfg.Database.MigrateOnly {
		return pg.Migrate(ctx, database, Migrations(), log)
	}
	stopTracing, err := obs.Tracing(ctx, name, &cfg.Obs, log)
	if err != nil {
		return err
	}
	defer stopTracing()
	pool, err := pg.Open(ctx, database)
	if err != nil {
		return err
	}
	defer pool.Close()
	nc, err := bus.Connect(ctx, cfg.NATS.Config(name, log))
	if err != nil {
		return err
	}
	defer nc.Close()

	store := postgres.NewStore(pool)
	announcements := announcer.New(nc, store, log)
	registry := obs.NewRegistry(name)
	registry.MustRegister(pg.Collector(pool), bus.Collector(nc))
	events := securitylog.New(registry, log)
	others, keys, err := cfg.issuers(ctx, registry, log)
	if err != nil {
		return err
	}
	service, err := auth.New(cfg.domain(others), store, announcements, events, log)
	if err != nil {
		return err
	}
	server := rpc.NewServer(cfg.RPC.Server(registry, log))
	if err := server.Listen(ctx); err != nil {
		return err
	}
	accounts, apiKeys := users.New(store, service, announcements, events), apikeys.New(store, caller.AllScopes(), events)
	grpcapi.Register(server.GRPC(), service, accounts, apiKeys, log)

	// NATS is no condition: without it only announcements wait.
	prepared := make(chan struct{})
	readiness := rpc.NewReadiness(server, log, rpc.Done(prepared, "the database is not prepared yet"), store.Ready)
	warn(ctx, cfg, log)
	group := run.Group{Timeout: cfg.ShutdownTimeout}
	group.Go("admin", cfg.Obs.Server(registry, readiness.Err, log).Run)
	group.Go("revocations", func(ctx context.Context) error { return announcements.Run(ctx, service.Forget) })
	for _, source := range keys {
		group.Go("keys of an issuer", source.Run)
	}
	group.Go("upkeep", func(ctx context.Context) error { return upkeep(ctx, cfg, service, prepared, log) })
	group.Go("names", func(ctx context.Context) error { return announcements.RunNames(ctx, prepared) })
	group.Go("gone", func(ctx context.Context) error { return announcements.RunGone(ctx, prepared) })
	group.Go("grpc", server.Run)
	group.Go("readiness", readiness.Run)
	return group.Run(ctx)
}

func (c *Config) database() pg.Config { return c.Database.Config(name, c.Obs.Traces()) }

// upkeep prepares the database, says so, and does what has to be done now and then.
func upkeep(ctx context.Context, cfg Config, service *auth.Service, prepared chan<- struct{}, log *slog.Logger) error {
	if err := prepare(ctx, cfg, service, log); err != nil {
		return err
	}
	close(prepared)
	return service.Run(ctx)
}

// prepare migrates, and makes what the service needs in the database, as soon as there is one.
func prepare(ctx context.Context, cfg Config, service *auth.Service, log *slog.Logger) error {
	if cfg.Database.Migrate {
		if err := pg.Migrate(ctx, cfg.database(), Migrations(), log); err != nil {
			return err
		}
	}
	waiting := obs.Repeats{Log: log, Message: "waiting for the database"}
	for {
		err := service.Prepare(ctx)
		kind := fault.KindOf(err)
		switch {
		case err == nil:
			waiting.Over(ctx)
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case kind != fault.Unavailable && kind != fault.Timeout && kind != fault.RateLimited: // the last: logins took all turns
			return fmt.Errorf("prepare: %w", err)
		}
		waiting.Failed(ctx, err)
		run.Pause(ctx, prepareRetry)
	}
}

// warn names settings that are legal but weak, and what was decided where nothing was said.
func warn(ctx context.Context, cfg Config, log *slog.Logger) {
	if cfg.Accounts.Registration == nil {
		log.LogAttrs(ctx, slog.LevelInfo, "whether everyone may register follows from other settings: REGISTRATION says otherwise",
			slog.Bool("registration", cfg.registration()))
	}
	if cfg.Tokens.KeySecret == "" {
		log.LogAttrs(ctx, slog.LevelWarn, "signing keys are stored unencrypted, set KEY_ENCRYPTION_SECRET")
	}
	if tooShort(cfg.Tokens.KeySecret, minAPIKey) { // not refused: it cannot be changed any more
		log.LogAttrs(ctx, slog.LevelWarn, "KEY_ENCRYPTION_SECRET is short and may be guessed by who has a copy of the database")
	}
}
