package presenceservice

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/starling-chat/starling/platform/rpc"
	"github.com/starling-chat/starling/presence-service/internal/presence"
)

const readinessEvery = 250 * time.Millisecond

// readiness tells whether calls are welcome: the picture is complete and kept up to date. PostgreSQL has to be there only
// once, for the migration: who is online is known without it.
type readiness struct {
	conn     *nats.Conn
	registry *presence.Registry
	server   *rpc.Server
	migrated chan struct{}
}

// Run keeps the gRPC health up to date until ctx ends.
func (r *readiness) Run(ctx context.Context) error {
	tick := time.NewTicker(readinessEvery)
	defer tick.Stop()
	for {
		r.server.SetReady(r.check() == nil)
		select {
		case <-ctx.Done():
			r.server.SetReady(false)
			return nil
		case <-tick.C:
		}
	}
}

func (r *readiness) check() error {
	select {
	case <-r.migrated:
	default:
		return errors.New("waiting for PostgreSQL")
	}
	switch {
	case !r.conn.IsConnected():
		return errors.New("NATS is away")
	case !r.registry.IsWarm():
		return presence.ErrWarming
	}
	return nil
}

func registerGauges(metrics prometheus.Registerer, registry *presence.Registry, leadership *presence.Leadership) {
	gauge := func(name, help string, value func(presence.Stats) int) {
		metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help},
			func() float64 { return float64(value(registry.Stats())) }))
	}
	gauge("starling_presence_users", "Users online.", func(s presence.Stats) int { return s.Users })
	gauge("starling_presence_sessions", "Living sockets of all gateways.", func(s presence.Stats) int { return s.Sessions })
	gauge("starling_presence_gateways", "Gateways with a lease.", func(s presence.Stats) int { return s.Gateways })
	gauge("starling_presence_gateways_awaiting", "Gateways whose snapshot is awaited.", func(s presence.Stats) int { return s.Awaiting })
	metrics.MustRegister(
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "starling_presence_departures_dropped_total", Help: "Departures whose time was not kept because too many wait for PostgreSQL.",
		}, func() float64 { return float64(registry.Stats().Dropped) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "starling_presence_leading", Help: "1 while this replica leads."},
			func() float64 {
				if leads, _ := leadership.Leads(time.Now()); leads {
					return 1
				}
				return 0
			}),
	)
}
