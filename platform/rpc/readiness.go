package rpc

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"
)

// Check tells why requests cannot be answered; nil = they can. It ends with its context.
type Check func(context.Context) error

const (
	readinessPause  = 250 * time.Millisecond // between two looks
	readinessWithin = 2 * time.Second        // of all checks together
)

// Readiness tells whether a service can answer: gRPC's health service and /readyz say the same, what the checks said last.
type Readiness struct {
	server *Server
	log    *slog.Logger
	checks []Check
	last   atomic.Pointer[verdict]
}

type verdict struct{ err error }

// NewReadiness returns a Readiness that asks the checks in their order; the first that fails gives the reason.
func NewReadiness(server *Server, log *slog.Logger, checks ...Check) *Readiness {
	r := &Readiness{server: server, log: log, checks: checks}
	r.last.Store(&verdict{errors.New("starting")})
	return r
}

// Err is the reason why requests cannot be answered, for obs.Admin; nil = they can.
func (r *Readiness) Err() error { return r.last.Load().err }

// Run asks the checks four times a second until ctx ends; then the service is not ready.
func (r *Readiness) Run(ctx context.Context) error {
	tick := time.NewTicker(readinessPause)
	defer tick.Stop()
	for {
		r.note(ctx, r.ask(ctx))
		select {
		case <-ctx.Done():
			r.note(ctx, ctx.Err())
			return nil
		case <-tick.C:
		}
	}
}

func (r *Readiness) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readinessWithin)
	defer cancel()
	for _, check := range r.checks {
		if err := check(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (r *Readiness) note(ctx context.Context, err error) {
	before := r.last.Swap(&verdict{err}).err
	r.server.SetReady(err == nil)
	if (before == nil) != (err == nil) && ctx.Err() == nil {
		r.log.LogAttrs(ctx, slog.LevelInfo, "readiness changed", slog.Bool("ready", err == nil), slog.Any("reason", err))
	}
}

// Done is a Check that gives reason until done is closed.
func Done(done <-chan struct{}, reason string) Check {
	return func(context.Context) error {
		select {
		case <-done:
			return nil
		default:
			return errors.New(reason)
		}
	}
}
