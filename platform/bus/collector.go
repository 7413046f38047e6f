package bus

import (
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
)

// Collector returns the metrics of a connection: starling_nats_connected,
// starling_nats_messages_total{direction}, starling_nats_bytes_total{direction}
// and starling_nats_reconnects_total.
func Collector(nc *nats.Conn) prometheus.Collector {
	return &collector{
		nc:         nc,
		connected:  prometheus.NewDesc("starling_nats_connected", "1 while connected to NATS.", nil, nil),
		messages:   prometheus.NewDesc("starling_nats_messages_total", "NATS messages.", []string{"direction"}, nil),
		bytes:      prometheus.NewDesc("starling_nats_bytes_total", "Bytes of NATS messages.", []string{"direction"}, nil),
		reconnects: prometheus.NewDesc("starling_nats_reconnects_total", "Reconnections to NATS.", nil, nil),
	}
}

type collector struct {
	nc                                     *nats.Conn
	connected, messages, bytes, reconnects *prometheus.Desc
}

func (c *collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s := c.nc.Stats()
	connected := 0.0
	if c.nc.IsConnected() {
		connected = 1
	}
	ch <- prometheus.MustNewConstMetric(c.connected, prometheus.GaugeValue, connected)
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	counter(c.messages, s.InMsgs, "in")
	counter(c.messages, s.OutMsgs, "out")
	counter(c.bytes, s.InBytes, "in")
	counter(c.bytes, s.OutBytes, "out")
	counter(c.reconnects, s.Reconnects)
}
