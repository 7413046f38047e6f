package eventserver

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/starling-chat/starling/proto/fault"
)

// metrics counts client events by their result: "ok" or a kind of fault.
type metrics struct {
	events map[string]map[string]prometheus.Counter // event → result
}

const resultOK = "ok"

// newMetrics registers starling_client_events_total{event,result}. Servers of one process may share the registry.
func newMetrics(registry prometheus.Registerer, routes []Route) (*metrics, error) {
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "starling_client_events_total", Help: "Client events answered, by event and result (ok or the fault's code).",
	}, []string{"event", "result"})
	if registry != nil {
		err := registry.Register(vec)
		if before, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
			if same, ok := before.ExistingCollector.(*prometheus.CounterVec); ok {
				vec, err = same, nil
			}
		}
		if err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	m := &metrics{events: map[string]map[string]prometheus.Counter{}}
	for i := range routes {
		event := routes[i].Event
		results := map[string]prometheus.Counter{resultOK: vec.WithLabelValues(event, resultOK)}
		for _, kind := range fault.Kinds() {
			results[string(kind)] = vec.WithLabelValues(event, string(kind))
		}
		m.events[event] = results
	}
	return m, nil
}

func (m *metrics) count(event, result string) {
	if counter, ok := m.events[event][result]; ok {
		counter.Inc()
	}
}
