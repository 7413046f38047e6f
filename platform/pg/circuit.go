package pg

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Circuit refuses requests at once while PostgreSQL hangs or is away, instead of letting each wait for its deadline and for a
// connection of the pool. The zero value is ready.
//
//	             a request failed                       circuitPause passed
//	closed ──────────────────────────▶ open (refuse) ─────────────────────▶ half open (let one through, briefly)
//	  ▲                                  ▲                                      │    │
//	  │                                  └────────────── it failed ─────────────┘    │
//	  └───────────────────────────────── it succeeded ───────────────────────────────┘
type Circuit struct {
	mu      sync.Mutex
	broken  bool
	retryAt time.Time // while broken: when the next one may try
}

const (
	circuitPause = 500 * time.Millisecond
	// probeTimeout is how long the one that tries keeps the others out.
	probeTimeout = time.Second
	// shortest is the time that PostgreSQL must have had before a deadline speaks against it.
	shortest = 500 * time.Millisecond
)

// ErrCircuitOpen is why a request was refused; IsUnavailable knows it.
var ErrCircuitOpen = errors.New("PostgreSQL does not answer")

// Do runs one request, or refuses it. f uses the context that it is given.
func (c *Circuit) Do(ctx context.Context, f func(context.Context) error) error {
	began := time.Now()
	probe, allowed := c.enter(began)
	if !allowed {
		return ErrCircuitOpen
	}
	asked := ctx
	if probe {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, probeTimeout)
		defer cancel()
	}
	err := f(ctx)
	c.leave(asked, probe, began, err)
	if probe && err != nil && asked.Err() == nil && ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ErrCircuitOpen, err)
	}
	return err
}

func (c *Circuit) enter(now time.Time) (probe, allowed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.broken {
		return false, true
	}
	if now.Before(c.retryAt) {
		return false, false
	}
	c.retryAt = now.Add(2 * probeTimeout) // should the probe never come back
	return true, true
}

func (c *Circuit) leave(ctx context.Context, probe bool, began time.Time, err error) {
	now := time.Now()
	away := err != nil && isAway(err)
	// A caller that gave up, or had hardly any time left, says nothing about PostgreSQL.
	unsaid := err != nil && (errors.Is(ctx.Err(), context.Canceled) || errors.Is(err, context.DeadlineExceeded) && now.Sub(began) < shortest)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case unsaid:
		if probe {
			c.retryAt = now
		}
	case away:
		c.broken, c.retryAt = true, now.Add(circuitPause)
	default:
		c.broken = false
	}
}

// isAway tells whether PostgreSQL cannot be used, rather than that a statement lost a race or one connection broke: another
// one may work.
func isAway(err error) bool {
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch pgErr.Code {
		case codeSerializationFailure, codeDeadlockDetected, codeLockNotAvailable, codeQueryCanceled, codeIdleInTransaction,
			codeAdminShutdown, codeCrashShutdown: // the last two end one connection
			return false
		}
		return IsUnavailable(err)
	}
	var connect *pgconn.ConnectError
	return errors.As(err, &connect) || errors.Is(err, context.DeadlineExceeded) || pgconn.Timeout(err)
}
