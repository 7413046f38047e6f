package busapi

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/starling-chat/starling/proto/fault"
)

// Metrics counts client events by their result: "ok" or a kind of fault.
type Metrics struct {
	events map[string]map[string]prometheus.Counter // event → result
}

const resultOK = "ok"

// NewMetrics registers starling_client_events_total{event,result}.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "starling_client_events_total", Help: "Client events answered, by event and result.",
	}, []string{"event", "result"})
	registry.MustRegister(vec)
	m := &Metrics{events: map[string]map[string]prometheus.Counter{}}
	for _, r := range routes() {
		results := map[string]prometheus.Counter{resultOK: vec.WithLabelValues(r.event, resultOK)}
		for _, kind := range fault.Kinds() {
			results[string(kind)] = vec.WithLabelValues(r.event, string(kind))
		}
		m.events[r.event] = results
	}
	return m
}

func (m *Metrics) count(event, result string) {
	if counter, ok := m.events[event][result]; ok {
		counter.Inc()
	}
}
