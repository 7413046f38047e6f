package pg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/exaring/otelpgx"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/starling-chat/starling/platform/obs"
	"github.com/starling-chat/starling/platform/run"
	"github.com/starling-chat/starling/platform/settings"
)

// Config says which database to use and how.
type Config struct {
	URL              settings.URL
	MaxConns         int32         // 0 means 10; the sum over all replicas stays below 80 % of max_connections
	Schema           string        // the search_path, one schema per service; "" keeps the role's
	StatementTimeout time.Duration // the server cancels longer statements; 0 means 5 s
	IdleTxTimeout    time.Duration // the server ends a connection that rests so long in a transaction; 0 means 3 s
	AppName          string        // application_name
	// GenericPlans has the server plan a statement once for each connection, whatever its arguments. Left to itself it plans anew each time
	// where that promises a better plan, which for tables of many partitions takes longer than the statement.
	GenericPlans bool
	Trace        bool // spans for queries by OpenTelemetry
}

const (
	defaultMaxConns         = 10
	defaultStatementTimeout = 5 * time.Second
	defaultIdleTxTimeout    = 3 * time.Second
	connectTimeout          = 5 * time.Second
	maxConnLifetime         = 30 * time.Minute
)

// Open returns a pool that connects in the background and whenever a query needs
// it, so services start in any order. It fails only when the configuration does
// not parse; the error carries no password.
func Open(ctx context.Context, cfg Config) (*pgxpool.Pool, error) {
	config, err := cfg.pool()
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open pool: %w", err)
	}
	return pool, nil
}

func (cfg Config) pool() (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(cfg.URL.Reveal())
	if err != nil {
		return nil, fmt.Errorf("%s is not an address of PostgreSQL, or what it says of TLS does not fit", cfg.URL)
	}
	cfg.apply(config.ConnConfig)
	config.MaxConns = defaultMaxConns
	if cfg.MaxConns > 0 {
		config.MaxConns = cfg.MaxConns
	}
	config.MinIdleConns = 1
	config.MaxConnLifetime = maxConnLifetime
	config.MaxConnLifetimeJitter = maxConnLifetime / 10
	config.MaxConnIdleTime = 5 * time.Minute
	config.HealthCheckPeriod = 15 * time.Second
	config.AfterConnect = encodeArrays
	config.PrepareConn = borrow
	config.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return false }
	if cfg.Trace {
		config.ConnConfig.Tracer = otelpgx.NewTracer(otelpgx.WithDisableConnectionDetailsInAttributes())
	}
	return config, nil
}

// apply sets what every connection of the service has in common.
func (cfg Config) apply(conn *pgx.ConnConfig) {
	if conn.ConnectTimeout == 0 || conn.ConnectTimeout > connectTimeout {
		conn.ConnectTimeout = connectTimeout
	}
	conn.DialFunc = dial
	conn.ValidateConnect = cfg.judge
	conn.OnPgError = keepsConnection(conn.OnPgError)
	if cfg.AppName != "" {
		conn.RuntimeParams["application_name"] = cfg.AppName
	}
	// Not set later like the limits: behind a pooler that hands servers from client to client, a connection that says at once
	// where it is can be refused.
	if cfg.Schema != "" {
		conn.RuntimeParams["search_path"] = schemaName(cfg.Schema)
	}
}

// planMode is the last argument of sqlFit.
func (cfg Config) planMode() string {
	if cfg.GenericPlans {
		return "force_generic_plan"
	}
	return "auto"
}

// limits are the arguments of sqlFit after the schema, as PostgreSQL writes them: milliseconds, then seconds.
func (cfg Config) limits() []string {
	var args []string
	for _, limit := range []time.Duration{
		cmp.Or(max(cfg.StatementTimeout, 0), defaultStatementTimeout),
		// A process that hangs, or is cut off, between two statements must not keep rows locked from its replicas.
		cmp.Or(max(cfg.IdleTxTimeout, 0), defaultIdleTxTimeout),
		// The server notices a host that vanished as we do (dial.go).
		userTimeout,
	} {
		args = append(args, strconv.FormatInt(limit.Milliseconds(), 10))
	}
	for _, n := range []int64{int64(keepaliveIdle.Seconds()), int64(keepaliveInterval.Seconds()), keepaliveCount} {
		args = append(args, strconv.FormatInt(n, 10))
	}
	return args
}

// AwaitDurable is AssertDurable that waits for PostgreSQL as long as it takes, or until ctx ends, and says so in log.
func AwaitDurable(ctx context.Context, pool *pgxpool.Pool, log *slog.Logger) error {
	return await(ctx, log, func(ctx context.Context) error { return AssertDurable(ctx, pool) })
}

// Await waits for a connection that serves, as long as it takes, or until ctx ends, and says so in log. It is for services that
// do not migrate; the error is ErrUnfit where waiting does not help.
func Await(ctx context.Context, pool *pgxpool.Pool, log *slog.Logger) error {
	return await(ctx, log, func(ctx context.Context) error { return assertSession(ctx, pool.Config().ConnConfig) })
}

const awaitPause = 500 * time.Millisecond

// await tries until it succeeds, fails for another reason than an outage, or ctx ends.
func await(ctx context.Context, log *slog.Logger, try func(context.Context) error) error {
	waiting := obs.Repeats{Log: log, Message: "waiting for PostgreSQL"}
	for {
		err := try(ctx)
		switch {
		case err == nil:
			waiting.Over(ctx)
			return nil
		case ctx.Err() != nil:
			// An end while PostgreSQL was being asked is an end, not a failure.
			return errors.Join(ctx.Err(), err)
		case !IsUnavailable(err):
			return err
		}
		waiting.Failed(ctx, err)
		if !run.Pause(ctx, awaitPause) {
			return errors.Join(ctx.Err(), err)
		}
	}
}

// AssertDurable fails unless the server flushes commits to disk: kill -9 alone
// does not reveal a missing fsync, so the settings are asserted.
func AssertDurable(ctx context.Context, pool *pgxpool.Pool) error {
	for _, name := range []string{"fsync", "synchronous_commit", "full_page_writes"} {
		var value string
		if err := pool.QueryRow(ctx, "SELECT current_setting($1)", name).Scan(&value); err != nil {
			return fmt.Errorf("show %s: %w", name, err)
		}
		// synchronous_commit also knows local, remote_write and remote_apply: all flush locally.
		if value == "off" {
			return fmt.Errorf("PostgreSQL would lose acknowledged data in a crash: %s is off", name)
		}
	}
	return nil
}
