package bus

import (
	"sync"
	"sync/atomic"
	"time"

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

	last  atomic.Pointer[figures] // nil before the first answer
	mu    sync.Mutex              // guards asked
	asked chan struct{}           // closed when the connection has answered; nil: it is not being asked
}

// figures are what the connection said last.
type figures struct {
	stats     nats.Statistics
	connected bool
}

// askWithin is how long a scrape waits for the connection, whose lock is held by whoever writes to a link that does not move.
const askWithin = time.Second

// ask returns what the connection says, or what it said last where it does not answer. There is one question at a time.
func (c *collector) ask() figures {
	c.mu.Lock()
	asked := c.asked
	if asked == nil {
		asked = make(chan struct{})
		c.asked = asked
		go func() { // ends when whoever holds the lock has written, or given up
			c.last.Store(&figures{c.nc.Stats(), c.nc.IsConnected()})
			c.mu.Lock()
			c.asked = nil
			c.mu.Unlock()
			close(asked)
		}()
	}
	c.mu.Unlock()
	timer := time.NewTimer(askWithin)
	defer timer.Stop()
	select {
	case <-asked:
	case <-timer.C:
	}
	if last := c.last.Load(); last != nil {
		return *last
	}
	return figures{}
}

func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.connected, c.messages, c.bytes, c.reconnects} {
		ch <- d
	}
}

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	f := c.ask()
	connected := 0.0
	if f.connected {
		connected = 1
	}
	ch <- prometheus.MustNewConstMetric(c.connected, prometheus.GaugeValue, connected)
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	counter(c.messages, f.stats.InMsgs, "in")
	counter(c.messages, f.stats.OutMsgs, "out")
	counter(c.bytes, f.stats.InBytes, "in")
	counter(c.bytes, f.stats.OutBytes, "out")
	counter(c.reconnects, f.stats.Reconnects)
}
