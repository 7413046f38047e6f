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

	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

const (
	migrationTimeout    = 10 * time.Minute // of one statement, instead of StatementTimeout
	migrateLockPeriod   = 1                // seconds between two tries
	migrateLockAttempts = 600              // another replica may be migrating for ten minutes
)

const (
	sqlSchemaExists  = `SELECT to_regnamespace($1) IS NOT NULL`
	sqlCreateSchema  = `CREATE SCHEMA IF NOT EXISTS %s`
	sqlCurrentSchema = `SELECT coalesce(current_schema(), '')`
)

// sqlSealVersions takes all but reading of the version table from everybody but its owner. The schema's default privileges, by which a
// running service writes rows of whatever the migrations make, cover that table too; who writes it decides which migrations run.
const sqlSealVersions = `DO $$
DECLARE r record;
BEGIN
	FOR r IN SELECT DISTINCT c.relname, c.relkind, a.grantee
		FROM pg_class c CROSS JOIN aclexplode(c.relacl) a
		WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema()) AND c.relname IN ('goose_db_version', 'goose_db_version_id_seq')
			AND a.grantee <> c.relowner AND a.privilege_type <> 'SELECT' AND pg_has_role(c.relowner, 'USAGE')
	LOOP
		EXECUTE format('REVOKE %s ON %s %I FROM %s',
			CASE r.relkind WHEN 'S' THEN 'USAGE, UPDATE' ELSE 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER' END,
			CASE r.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, r.relname,
			CASE r.grantee WHEN 0 THEN 'PUBLIC' ELSE r.grantee::regrole::text END);
	END LOOP;
END $$`

// Migrate brings cfg.Schema to the newest version of the goose files at the root
// of fsys, creating the schema where it is missing. Replicas may call it
// together: a session lock per schema lets one work and the others wait. It
// waits for PostgreSQL until ctx ends, saying so in log at a growing distance.
func Migrate(ctx context.Context, cfg Config, fsys fs.FS, log *slog.Logger) error {
	err := await(ctx, log.With(slog.String("schema", cfg.Schema)), func(ctx context.Context) error { return migrate(ctx, cfg, fsys, log) })
	if err != nil {
		return fmt.Errorf("migrate schema %s: %w", cfg.Schema, err)
	}
	return nil
}

func migrate(ctx context.Context, cfg Config, fsys fs.FS, log *slog.Logger) error {
	config, err := cfg.pool()
	if err != nil {
		return err
	}
	cfg.StatementTimeout = migrationTimeout
	cfg.apply(config.ConnConfig)
	if err := assertSession(ctx, config.ConnConfig); err != nil {
		return err
	}
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
	// Under the lock again, so that replicas do not change the same row of the catalogue at once.
	conn, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("get a connection: %w", err)
	}
	defer func() { _ = conn.Close() }()
	if err := locker.SessionLock(ctx, conn); err != nil {
		return fmt.Errorf("lock the version table: %w", err)
	}
	_, err = conn.ExecContext(ctx, sqlSealVersions)
	if err = errors.Join(err, locker.SessionUnlock(ctx, conn)); err != nil {
		return fmt.Errorf("guard the version table: %w", err)
	}
	return nil
}

// createSchema creates nothing that exists, since the service's role may lack the right to create.
func createSchema(ctx context.Context, db *sql.DB, schema string) error {
	if schema == "" {
		return nil
	}
	name := schemaName(schema)
	var exists bool
	if err := db.QueryRowContext(ctx, sqlSchemaExists, name).Scan(&exists); err != nil {
		return fmt.Errorf("look for the schema: %w", err)
	}
	if !exists {
		// IF NOT EXISTS does not help against a replica that creates it right now.
		if _, err := db.ExecContext(ctx, fmt.Sprintf(sqlCreateSchema, name)); err != nil && !IsUnique(err, "") {
			return fmt.Errorf("create the schema: %w", err)
		}
	}
	// A connection that was made before its schema could not be judged by it.
	var current string
	if err := db.QueryRowContext(ctx, sqlCurrentSchema).Scan(&current); err != nil {
		return fmt.Errorf("ask for the current schema: %w", err)
	}
	if current != schema {
		return wrongSchema(schema, current)
	}
	return nil
}

// lockID is the schema's advisory lock, so that services migrate independently.
func lockID(schema string) int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte("starling migrate " + schema))
	return int64(h.Sum64() >> 1)
}
