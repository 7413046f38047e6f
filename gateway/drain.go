package gateway

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/stats"
	"github.com/starling-chat/starling/gateway/internal/transport"
	"github.com/starling-chat/starling/platform/run"
)

// drain ends the sessions when the gateway stops: it stands between the edge, which has stopped accepting by then, and the
// relay, which still finishes what was accepted. Sessions are closed spread over the window, so that their clients do not
// all come to the other gateways at once.
type drain struct {
	window   time.Duration
	sessions *session.Server
	sockets  *transport.Server
	stats    *stats.Stats
	log      *slog.Logger

	draining atomic.Bool
}

// ready is the gateway's readiness: accepting and not draining. It does not depend on NATS or the services, or a short loss
// of one would take all gateways out of the load balancer at once.
func (d *drain) ready() error {
	if d.draining.Load() {
		return errDraining
	}
	return nil
}

// run waits for the end and then drains.
func (d *drain) run(ctx context.Context) error {
	<-ctx.Done()
	d.draining.Store(true)
	d.stats.Draining.Set(1)
	living := d.sessions.Refuse()
	d.log.InfoContext(ctx, "draining", slog.Int("sessions", len(living)), slog.Duration("window", d.window))
	rand.Shuffle(len(living), func(i, j int) { living[i], living[j] = living[j], living[i] }) //nolint:gosec // no secret
	hurry := run.Hurry(ctx)
	start := time.Now()
	for i, s := range living {
		at := start.Add(d.window * time.Duration(i) / time.Duration(len(living)))
		if wait := time.Until(at); wait > 0 {
			select {
			case <-time.After(wait):
			case <-hurry:
				start = start.Add(-d.window)
			}
		}
		s.Close(transport.CodeRestart, transport.ReasonDrain)
	}
	d.sockets.Wait()
	return ctx.Err()
}
