package pg

import (
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
)

// Collector returns the metrics of a pool: starling_pg_conns{state},
// starling_pg_max_conns, starling_pg_acquires_total,
// starling_pg_acquire_seconds_total and starling_pg_acquire_waits_total.
func Collector(pool *pgxpool.Pool) prometheus.Collector {
	return &collector{
		pool:     pool,
		conns:    prometheus.NewDesc("starling_pg_conns", "Connections of the pool by state.", []string{"state"}, nil),
		max:      prometheus.NewDesc("starling_pg_max_conns", "Largest size of the pool.", nil, nil),
		acquires: prometheus.NewDesc("starling_pg_acquires_total", "Connections taken from the pool.", nil, nil),
		seconds:  prometheus.NewDesc("starling_pg_acquire_seconds_total", "Time spent taking connections.", nil, nil),
		waits:    prometheus.NewDesc("starling_pg_acquire_waits_total", "Acquisitions that waited because the pool was empty.", nil, nil),
	}
}

type collector struct {
	pool                                 *pgxpool.Pool
	conns, max, acquires, seconds, waits *prometheus.Desc
}

func (c *collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s := c.pool.Stat()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v)
	}
	gauge(c.conns, float64(s.AcquiredConns()), "acquired")
	gauge(c.conns, float64(s.IdleConns()), "idle")
	gauge(c.conns, float64(s.ConstructingConns()), "constructing")
	gauge(c.max, float64(s.MaxConns()))
	counter(c.acquires, float64(s.AcquireCount()))
	counter(c.seconds, s.AcquireDuration().Seconds())
	counter(c.waits, float64(s.EmptyAcquireCount()))
}
