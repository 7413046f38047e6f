package pg

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// A connection may be alive and yet of no use: the server behind it has become a standby, or was never the right one. It is
// judged when it is made, and then whenever it is borrowed, at most once in askAgain:
//
//	made      writable, in UTF8, in the schema of the service     otherwise the next host of the URL, or an error
//	borrowed  writable                                            otherwise dropped, and another one is made
//	25006     an answer that it is not writable                   dropped at once, with all that are idle
//
// Reads alone would not notice: a former primary goes on answering them, from a past that it never leaves.

// ErrReadOnly tells that the server takes no writes, as a standby or a former primary; IsUnavailable knows it.
var ErrReadOnly = errors.New("PostgreSQL is read-only here (a standby, or a former primary)")

// ErrUnfit tells that the database cannot be the service's, now or later. It is no outage: waiting does not help.
var ErrUnfit = errors.New("the database does not fit")

// askAgain is how long a connection is taken for writable without asking.
const askAgain = time.Second

const (
	// The limits, and how statements are planned, are set here and not by start-up parameters: poolers refuse those.
	sqlFit = `
		SELECT current_setting('transaction_read_only'), current_setting('server_encoding'), coalesce(current_schema(), ''),
			to_regnamespace($1) IS NOT NULL, set_config('statement_timeout', $2, false),
			set_config('idle_in_transaction_session_timeout', $3, false), set_config('tcp_user_timeout', $4, false),
			set_config('tcp_keepalives_idle', $5, false), set_config('tcp_keepalives_interval', $6, false),
			set_config('tcp_keepalives_count', $7, false), set_config('plan_cache_mode', $8, false)`
	sqlReadOnly = `SELECT current_setting('transaction_read_only')`
	sqlBackend  = `SELECT pg_backend_pid()`
)

// judge refuses a new connection that cannot serve, and sets its limits.
func (cfg Config) judge(ctx context.Context, conn *pgconn.PgConn) error {
	args := make([][]byte, 0, 8)
	for _, arg := range slices.Concat([]string{schemaName(cfg.Schema)}, cfg.limits(), []string{cfg.planMode()}) {
		args = append(args, []byte(arg))
	}
	result := conn.ExecParams(ctx, sqlFit, args, nil, nil, nil).Read()
	if result.Err != nil {
		return fmt.Errorf("look at the connection: %w", result.Err)
	}
	row := result.Rows[0]
	readOnly, encoding, schema, exists := string(row[0]), string(row[1]), string(row[2]), string(row[3]) == "t"
	switch {
	case readOnly == "on":
		return ErrReadOnly
	case encoding != "UTF8":
		return fmt.Errorf("%w: its encoding is %s, not UTF8; texts would be damaged (CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0)", ErrUnfit, encoding)
	case cfg.Schema != "" && schema != cfg.Schema && (schema != "" || exists):
		return wrongSchema(cfg.Schema, schema)
	}
	note(conn)
	return nil
}

// wrongSchema names what to do where names would be looked up in another schema: services would share their tables.
func wrongSchema(want, got string) error {
	if got == "" {
		got = "none"
	}
	return fmt.Errorf("%w: its current schema is %s, not %s (DB_SCHEMA). Either the role lacks USAGE on it, or a pooler drops search_path: then ALTER ROLE … SET search_path = %s, and the pooler in session mode",
		ErrUnfit, got, want, want)
}

// assertSession refuses a pooler that lends its servers for a transaction only: locks, limits and prepared statements of one
// client would be another's. It tells by two clients that are connected at the same time and meet the same backend.
func assertSession(ctx context.Context, config *pgx.ConnConfig) error {
	var backends [2]string
	for i := range backends {
		conn, err := pgx.ConnectConfig(ctx, config)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
		result := conn.PgConn().ExecParams(ctx, sqlBackend, nil, nil, nil, nil).Read()
		if result.Err != nil {
			return fmt.Errorf("ask for the backend: %w", result.Err)
		}
		backends[i] = string(result.Rows[0][0])
		if backends[i] == strconv.FormatUint(uint64(conn.PgConn().PID()), 10) {
			return nil // there is no pooler
		}
	}
	if backends[0] == backends[1] {
		return fmt.Errorf("%w: a pooler hands its servers from client to client; it has to pool sessions (PgBouncer: pool_mode = session)", ErrUnfit)
	}
	return nil
}

// schemaName is what to_regnamespace takes; a service without a schema asks for nothing that exists.
func schemaName(schema string) string { return pgx.Identifier{schema}.Sanitize() }

// judgedKey is where a connection keeps the time when it was last found writable.
const judgedKey = "starling judged"

func note(conn *pgconn.PgConn) { conn.CustomData()[judgedKey] = time.Now() }

// borrow tells the pool whether it may lend a connection. It replaces the pool's own ping, which a standby answers.
func borrow(ctx context.Context, conn *pgx.Conn) (bool, error) {
	if at, ok := conn.PgConn().CustomData()[judgedKey].(time.Time); ok && time.Since(at) < askAgain {
		return true, nil
	}
	err := AssertWritable(ctx, conn.PgConn())
	if err != nil && ctx.Err() != nil {
		return false, ctx.Err() // the borrower gave up
	}
	return err == nil, nil
}

// AssertWritable asks whether the connection still takes writes; the error is ErrReadOnly where it does not. It is for
// connections that no pool owns.
func AssertWritable(ctx context.Context, conn *pgconn.PgConn) error {
	result := conn.ExecParams(ctx, sqlReadOnly, nil, nil, nil, nil).Read()
	switch {
	case result.Err != nil:
		return fmt.Errorf("ask whether PostgreSQL takes writes: %w", result.Err)
	case string(result.Rows[0][0]) == "on":
		return ErrReadOnly
	}
	note(conn)
	return nil
}

// keepsConnection tells pgconn whether a connection survives what the server answered.
func keepsConnection(before pgconn.PgErrorHandler) pgconn.PgErrorHandler {
	return func(conn *pgconn.PgConn, err *pgconn.PgError) bool {
		return err.Code != codeReadOnlyTransaction && (before == nil || before(conn, err))
	}
}
