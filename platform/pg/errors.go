package pg

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/puddle/v2"
)

// SQLSTATE codes, https://www.postgresql.org/docs/current/errcodes-appendix.html
const (
	codeUniqueViolation      = "23505"
	codeReadOnlyTransaction  = "25006" // the former primary, after a failover
	codeIdleInTransaction    = "25P03" // we rested too long; the connection is ended
	codeSerializationFailure = "40001"
	codeDeadlockDetected     = "40P01"
	codeLockNotAvailable     = "55P03"
	codeQueryCanceled        = "57014" // statement_timeout
	codeAdminShutdown        = "57P01"
	codeCrashShutdown        = "57P02"
	codeInvalidSchema        = "3F000"
	codeUndefinedTable       = "42P01"
	classConnection          = "08"
	classResources           = "53"  // too many connections, disk full, out of memory
	classShutdown            = "57P" // shutting down, crashed, starting up, database dropped
)

// IsUnique reports whether err is a violation of the named unique constraint; ""
// stands for any.
func IsUnique(err error, constraint string) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && pgErr.Code == codeUniqueViolation &&
		(constraint == "" || pgErr.ConstraintName == constraint)
}

// IsUnavailable reports whether the same request may succeed later: the server is
// unreachable, restarting, full, too slow or the pool is closed. A lost
// connection leaves it unknown whether a COMMIT took place. A cancelled context
// is not unavailability, an exceeded deadline is.
func IsUnavailable(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, ErrUnfit) {
		return false
	}
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok { // also inside a ConnectError
		switch pgErr.Code {
		case codeReadOnlyTransaction, codeIdleInTransaction, codeSerializationFailure, codeDeadlockDetected, codeLockNotAvailable, codeQueryCanceled:
			return true
		}
		return strings.HasPrefix(pgErr.Code, classConnection) || strings.HasPrefix(pgErr.Code, classResources) ||
			strings.HasPrefix(pgErr.Code, classShutdown)
	}
	var connectErr *pgconn.ConnectError
	var netErr net.Error
	return errors.As(err, &connectErr) || errors.As(err, &netErr) || pgconn.Timeout(err) || pgconn.SafeToRetry(err) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrCircuitOpen) || errors.Is(err, ErrReadOnly) || errors.Is(err, pgconn.ErrConnClosed) ||
		errors.Is(err, puddle.ErrClosedPool) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) // of migrations, which database/sql carries
}

// IsLost reports whether an established connection broke, or leads to a server that takes no writes any more. Another one may
// work, although those that are as old are probably no better. A statement that was under way may have taken effect.
func IsLost(err error) bool {
	if !IsUnavailable(err) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrCircuitOpen) || errors.Is(err, puddle.ErrClosedPool) {
		return false
	}
	if _, connecting := errors.AsType[*pgconn.ConnectError](err); connecting {
		return false
	}
	switch code(err) {
	case "", codeReadOnlyTransaction, codeAdminShutdown, codeCrashShutdown, codeIdleInTransaction: // all end one connection
		return true
	}
	return false
}

// code is the SQLSTATE that the server gave; "" when it gave none.
func code(err error) string {
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pgErr.Code
	}
	return ""
}

// IsConflict reports whether a transaction lost against another one and may be repeated at once.
func IsConflict(err error) bool {
	c := code(err)
	return c == codeSerializationFailure || c == codeDeadlockDetected
}

// IsUnmigrated reports whether a schema or table is missing: its migration is still to come.
func IsUnmigrated(err error) bool {
	c := code(err)
	return c == codeUndefinedTable || c == codeInvalidSchema
}
