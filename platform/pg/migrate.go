package pg

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/starling-chat/starling/platform/run"
)

const (
	migrationTimeout    = 10 * time.Minute // of one statement, instead of StatementTimeout
	migrateRetryPause   = 500 * time.Millisecond
	migrateLogEvery     = 5 * time.Second
	migrateLockPeriod   = 1   // seconds between two tries
	migrateLockAttempts = 600 // another replica may be migrating for ten minutes
)

const (
	sqlSchemaExists = `SELECT to_regnamespace($1) IS NOT NULL`
	sqlCreateSchema = `CREATE SCHEMA IF NOT EXISTS %s`
)

// Migrate brings cfg.Schema to the newest version of the goose files at the root
// of fsys, creating the schema where it is missing. Replicas may call it
// together: a session lock per schema lets one work and the others wait. It
// waits for PostgreSQL until ctx ends, saying so in log every few seconds.
func Migrate(ctx context.Context, cfg Config, fsys fs.FS, log *slog.Logger) error {
	var lastLog time.Time
	for {
		err := migrate(ctx, cfg, fsys, log)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil || !IsUnavailable(err) {
			// An end while PostgreSQL was being asked is an end, not a failure.
			return fmt.Errorf("migrate schema %s: %w", cfg.Schema, errors.Join(ctx.Err(), err))
		}
		if now := time.Now(); now.Sub(lastLog) >= migrateLogEvery {
			lastLog = now
			log.LogAttrs(ctx, slog.LevelWarn, "waiting for PostgreSQL", slog.String("schema", cfg.Schema), slog.Any("error", err))
		}
		if !run.Pause(ctx, migrateRetryPause) {
			return fmt.Errorf("migrate schema %s: %w", cfg.Schema, errors.Join(ctx.Err(), err))
		}
	}
}

func migrate(ctx context.Context, cfg Config, fsys fs.FS, log *slog.Logger) error {
	config, err := cfg.pool()
	if err != nil {
		return err
	}
	cfg.StatementTimeout = migrationTimeout
	cfg.apply(config.ConnConfig)
	db := stdlib.OpenDB(*config.ConnConfig)
	defer func() { _ = db.Close() }()

	if err := createSchema(ctx, db, cfg.Schema); err != nil {
		return err
	}
	locker, err := lock.NewPostgresSessionLocker(
		lock.WithLockID(lockID(cfg.Schema)),
		lock.WithLockTimeout(migrateLockPeriod, migrateLockAttempts),
	)
	if err != nil {
		return fmt.Errorf("make lock: %w", err)
	}
	// The version table lies in the schema: search_path holds nothing else.
	provider, err := goose.NewProvider(goose.DialectPostgres, db, fsys,
		goose.WithSessionLocker(locker), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	results, err := provider.Up(ctx)
	if err != nil {
		return err
	}
	for _, r := range results {
		log.LogAttrs(ctx, slog.LevelInfo, "migration applied", slog.String("schema", cfg.Schema),
			slog.String("file", r.Source.Path), slog.Duration("took", r.Duration))
	}
	return nil
}

// createSchema creates nothing that exists, since the service's role may lack the right to create.
func createSchema(ctx context.Context, db *sql.DB, schema string) error {
	if schema == "" {
		return nil
	}
	name := pgx.Identifier{schema}.Sanitize()
	var exists bool
	if err := db.QueryRowContext(ctx, sqlSchemaExists, name).Scan(&exists); err != nil {
		return fmt.Errorf("look for the schema: %w", err)
	}
	if exists {
		return nil
	}
	// IF NOT EXISTS does not help against a replica that creates it right now.
	if _, err := db.ExecContext(ctx, fmt.Sprintf(sqlCreateSchema, name)); err != nil && !IsUnique(err, "") {
		return fmt.Errorf("create the schema: %w", err)
	}
	return nil
}

// lockID is the schema's advisory lock, so that services migrate independently.
func lockID(schema string) int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte("starling migrate " + schema))
	return int64(h.Sum64() >> 1)
}
