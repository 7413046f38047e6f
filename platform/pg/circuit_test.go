package pg_test

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/starling-chat/starling/platform/pg"
)

// TestCircuit: after a request that PostgreSQL did not answer the next ones are refused at once, one tries now and then and not
// for long, and an answer lets all in again.
func TestCircuit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c pg.Circuit
		asked := 0
		hang := func(ctx context.Context) error { asked++; <-ctx.Done(); return ctx.Err() }
		answer := func(context.Context) error { asked++; return nil }
		ask := func(f func(context.Context) error) (took time.Duration, err error) {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			began := time.Now()
			err = c.Do(ctx, f)
			return time.Since(began), err
		}
		for i, step := range []struct {
			wait  time.Duration
			f     func(context.Context) error
			took  time.Duration
			asked int
			away  bool
		}{
			{0, answer, 0, 1, false},
			{0, hang, 3 * time.Second, 2, true},
			{0, answer, 0, 2, true},
			{600 * time.Millisecond, hang, time.Second, 3, true},
			{0, answer, 0, 3, true},
			{600 * time.Millisecond, answer, 0, 4, false},
			{0, answer, 0, 5, false},
			{0, func(context.Context) error { return errors.New("no such user") }, 0, 5, false},
			{0, answer, 0, 6, false},
		} {
			time.Sleep(step.wait)
			took, err := ask(step.f)
			if took != step.took || asked != step.asked || pg.IsUnavailable(err) != step.away {
				t.Errorf("step %d took %v with %d asked and gave %v, want %v, %d, unavailable %v", i, took, asked, err, step.took, step.asked, step.away)
			}
		}
	})
}

// TestCircuitOpens: PostgreSQL that cannot be used opens the circuit; one connection that broke, a lost race, a caller that gave
// up and one that left no time do not.
func TestCircuitOpens(t *testing.T) {
	_, refused := pgconn.Connect(t.Context(), closedPort(t).Reveal())
	coded := func(code string) error { return &pgconn.PgError{Code: code} }
	synctest.Test(t, func(t *testing.T) {
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		for name, tc := range map[string]struct {
			ctx  context.Context
			took time.Duration
			err  error
			open bool
		}{
			"refused":              {t.Context(), 0, refused, true},
			"no answer":            {t.Context(), time.Second, context.DeadlineExceeded, true},
			"too many connections": {t.Context(), 0, coded("53300"), true},
			"starting up":          {t.Context(), 0, coded("57P03"), true},
			"former primary":       {t.Context(), 0, coded("25006"), false}, // its connections end; another server may be the primary
			"no time left":         {t.Context(), 100 * time.Millisecond, context.DeadlineExceeded, false},
			"gave up":              {gone, time.Second, context.Canceled, false},
			"gave up late":         {gone, time.Second, context.DeadlineExceeded, false},
			"backend ended":        {t.Context(), 0, coded("57P01"), false},
			"backend crashed":      {t.Context(), 0, coded("57P02"), false},
			"rested too long":      {t.Context(), 0, coded("25P03"), false},
			"cut off":              {t.Context(), 0, io.ErrUnexpectedEOF, false},
			"host vanished":        {t.Context(), time.Second, &net.OpError{Op: "read", Err: syscall.ETIMEDOUT}, false},
			"serialization":        {t.Context(), 0, coded("40001"), false},
			"deadlock":             {t.Context(), 0, coded("40P01"), false},
			"locked":               {t.Context(), 0, coded("55P03"), false},
			"statement timeout":    {t.Context(), time.Second, coded("57014"), false},
			"duplicate":            {t.Context(), 0, coded("23505"), false},
		} {
			var c pg.Circuit
			_ = c.Do(tc.ctx, func(context.Context) error { time.Sleep(tc.took); return tc.err })
			if open := c.Err() != nil; open != tc.open {
				t.Errorf("%s: circuit open after %v = %v, want %v", name, tc.err, open, tc.open)
			}
		}
	})
}

// TestCircuitProbes: of those that come while the circuit is open one tries, until it ends or 2 s have passed; a caller that gives
// up hands the trial on; a health check is never refused.
func TestCircuitProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c pg.Circuit
		away := func(context.Context) error { return &pgconn.PgError{Code: "57P03"} }
		answer := func(context.Context) error { return nil }
		refused := func(f func(context.Context) error) bool { return errors.Is(c.Do(t.Context(), f), pg.ErrCircuitOpen) }
		_ = c.Do(t.Context(), away)
		time.Sleep(600 * time.Millisecond)
		gone, cancel := context.WithCancel(t.Context())
		_ = c.Do(gone, func(ctx context.Context) error { cancel(); return ctx.Err() })
		if refused(away) {
			t.Error("after a trial that its caller gave up the next one was refused")
		}

		time.Sleep(600 * time.Millisecond)
		end := make(chan struct{})
		defer close(end)
		go func() { _ = c.Do(t.Context(), func(context.Context) error { <-end; return nil }) }()
		synctest.Wait()
		time.Sleep(1900 * time.Millisecond)
		if !refused(away) {
			t.Error("beside one that tries another one was let through")
		}
		time.Sleep(200 * time.Millisecond)
		if refused(away) {
			t.Error("a trial that never ended kept others out after 2 s")
		}

		if err := c.Probe(t.Context(), away); errors.Is(err, pg.ErrCircuitOpen) || c.Err() == nil {
			t.Errorf("failing health check = %v, circuit then %v, want its own error and the circuit open", err, c.Err())
		}
		if err := c.Probe(t.Context(), answer); err != nil || c.Err() != nil || refused(answer) {
			t.Errorf("health check that is answered = %v, circuit then %v, want nil and closed", err, c.Err())
		}
	})
}
