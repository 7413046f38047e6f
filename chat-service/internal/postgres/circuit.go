package postgres

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/starling-chat/starling/proto/fault"
)

// circuit answers at once while PostgreSQL is away, instead of letting every request wait for its deadline.
//
//	             a request failed                          circuitPause passed
//	closed ───────────────────────────▶ open (refuse all) ─────────────────────▶ half open (let one through)
//	  ▲                                  ▲                                          │    │
//	  │                                  └──────────────── it failed ───────────────┘    │
//	  └───────────────────────────────────── it succeeded ───────────────────────────────┘
type circuit struct {
	mu      sync.Mutex
	usable  bool // the schema is there
	broken  bool
	retryAt time.Time // while broken: when the next one may try
}

// circuitPause is how long nothing is tried after a failure.
const circuitPause = 500 * time.Millisecond

// probePatience is how long the one that tries keeps the others out.
const probePatience = 2 * time.Second

var errNotReady = errors.New("the schema is not migrated yet")

func newCircuit() *circuit { return &circuit{} }

func (c *circuit) ready() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.usable = true
}

func (c *circuit) isReady() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.usable
}

func (c *circuit) state() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.usable:
		return errNotReady
	case c.broken:
		return errors.New("PostgreSQL is away")
	}
	return nil
}

// allow returns fault Unavailable while the circuit is open.
func (c *circuit) allow() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.usable {
		return fault.Retry(fault.Unavailable, "Service is starting", time.Second)
	}
	if !c.broken {
		return nil
	}
	now := time.Now()
	if now.Before(c.retryAt) {
		return fault.Retry(fault.Unavailable, "Service unavailable", circuitPause)
	}
	c.retryAt = now.Add(probePatience)
	return nil
}

// isAway tells whether an error means that PostgreSQL cannot be used, rather than that a statement lost a race or that
// one connection broke: another one may work.
func isAway(err error) bool {
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch pgErr.Code {
		case "40001", "40P01", "55P03", "57014": // serialization, deadlock, lock wait, statement timeout
			return false
		}
	}
	return unavailable(err) && !isLost(err)
}

// isLost tells whether an established connection broke. The others in the pool probably did, too.
func isLost(err error) bool {
	var connect *pgconn.ConnectError
	if err == nil || errors.As(err, &connect) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return false
	}
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch pgErr.Code {
		case "57P01", "57P02", "25P03": // the backend was told to end; we rested too long in a transaction
			return true
		}
		return false
	}
	return unavailable(err)
}

// report learns from the outcome of a request. A caller that gave up says nothing about PostgreSQL.
func (c *circuit) report(ctx context.Context, err error) {
	if err != nil && errors.Is(ctx.Err(), context.Canceled) {
		return
	}
	away := err != nil && isAway(err)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !away {
		c.broken = false
		return
	}
	c.broken = true
	c.retryAt = time.Now().Add(circuitPause)
}
