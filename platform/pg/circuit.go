package pg

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Circuit refuses requests at once while PostgreSQL hangs or is away, instead of letting each wait for its deadline and for a
// connection of the pool. One request that finds PostgreSQL away opens it; isAway says which errors tell that. The zero value is
// ready.
//
//	             a request failed                       CircuitPause passed
//	closed ──────────────────────────▶ open (refuse) ─────────────────────▶ half open (let one through, briefly)
//	  ▲                                  ▲                                      │    │
//	  │                                  └────────────── it failed ─────────────┘    │
//	  └───────────────────────────────── it succeeded ───────────────────────────────┘
type Circuit struct {
	mu       sync.Mutex
	broken   bool
	retryAt  time.Time // while broken: when the next one may try
	answered time.Time // when PostgreSQL answered last
}

// CircuitPause is how long nobody may try after a failure.
const CircuitPause = 500 * time.Millisecond

const (
	// probeTimeout is how long the one that tries keeps the others out.
	probeTimeout = time.Second
	// shortest is the time that PostgreSQL must have had before a deadline speaks against it.
	shortest = 500 * time.Millisecond
)

// ErrCircuitOpen is why a request was refused; IsUnavailable knows it.
var ErrCircuitOpen = errors.New("PostgreSQL does not answer")

// Do runs one request, or refuses it. The context that f is given ends early where f is the one that tries. If that must not
// cut f short, f uses its caller's: another one tries meanwhile.
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
	if probe && asked.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", ErrCircuitOpen, err)
	}
	return err
}

// Probe is Do that is never refused: a health check finds PostgreSQL again where nobody else asks.
func (c *Circuit) Probe(ctx context.Context, f func(context.Context) error) error {
	began := time.Now()
	err := f(ctx)
	c.leave(ctx, false, began, err)
	return err
}

// Err is ErrCircuitOpen until PostgreSQL has answered again; nil = closed.
func (c *Circuit) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken {
		return ErrCircuitOpen
	}
	return nil
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
		c.broken, c.retryAt = true, now.Add(CircuitPause)
	default:
		c.broken = false
		if !IsLost(err) {
			c.answered = now
		}
	}
}

// heard tells whether PostgreSQL has answered after t and has not gone away since.
func (c *Circuit) heard(t time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.broken && c.answered.After(t)
}

// isAway tells whether PostgreSQL cannot be used, rather than that a statement lost a race or took too long, or one connection
// broke: another one may work.
func isAway(err error) bool {
	switch code(err) {
	case codeSerializationFailure, codeDeadlockDetected, codeLockNotAvailable, codeQueryCanceled:
		return false
	}
	return IsUnavailable(err) && !IsLost(err)
}
