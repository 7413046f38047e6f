package presenceservice

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/starling-chat/starling/presence-service/internal/presence"
)

func registerGauges(metrics prometheus.Registerer, registry *presence.Registry, leadership *presence.Leadership) {
	gauge := func(name, help string, value func(presence.Stats) int) {
		metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help},
			func() float64 { return float64(value(registry.Stats())) }))
	}
	gauge("starling_presence_users", "Users online.", func(s presence.Stats) int { return s.Users })
	gauge("starling_presence_sessions", "Living sockets of all gateways.", func(s presence.Stats) int { return s.Sockets })
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
