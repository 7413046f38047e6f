// Package stats holds the gateway's Prometheus metrics. Label values come from closed lists; never from users or rooms.
package stats

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/starling-chat/starling/gateway/internal/transport"
	"github.com/starling-chat/starling/proto/fault"
)

// Stats are the metrics of one gateway.
type Stats struct {
	Connections  prometheus.Gauge       // open sessions
	Sockets      prometheus.Gauge       // namespaces entered
	Rooms        prometheus.Gauge       // rooms with a member here
	Handshakes   *prometheus.CounterVec // result: ok, refused, overload, unavailable
	HeldConnects prometheus.Gauge       // CONNECTs that wait for auth-service to come back
	Refusals     *prometheus.CounterVec // reason: fault.Reason
	HTTPRefusals *prometheus.CounterVec // bound: address, descriptors, handshake_rate, max_connections, bodies, auth_service
	Disconnects  *prometheus.CounterVec // reason: transport.Reason
	UserRefusals *prometheus.CounterVec // limit of a user over its sockets: sockets, events
	Packets      *prometheus.CounterVec // direction: in, out; type: socketio.Type
	SlowCloses   prometheus.Counter
	Recoveries   *prometheus.CounterVec // result: ok, or why not
	// The bucket of recoverable sockets: its level and bound in bytes, and writes that were refused.
	RecoveryBytes, RecoveryLimit prometheus.Gauge
	RecoveryRefused              prometheus.Counter
	GapRepairs                   *prometheus.CounterVec // result: ok, failed
	ClientEvents                 *prometheus.CounterVec // service, result: ok or a fault code
	EventRepeats                 prometheus.Counter     // requests sent again
	ClusterCalls                 *prometheus.CounterVec // operation; result: ok, partial or a fault code
	PresenceWatches              prometheus.Gauge       // who watches whom
	PresenceChanges              prometheus.Counter     // presence:changed that were sent
	Inboxes, InboxRooms          prometheus.Gauge       // sockets with an inbox, and the rooms in all of them
	Activities                   prometheus.Counter     // room:activity that were sent
	Draining                     prometheus.Gauge
	Delivery                     prometheus.Histogram // seconds from reading a client event to queueing what it caused

	// The hot ones, looked up once.
	EventsIn, EventsOut, AcksOut prometheus.Counter
}

// New registers the metrics; queuedBytes is asked at every scrape.
func New(reg prometheus.Registerer, queuedBytes func() int64) *Stats {
	const ns, sub = "starling", "gateway"
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help})
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help}, labels)
	}
	s := &Stats{
		Connections:  gauge("connections", "Open Engine.IO sessions."),
		Sockets:      gauge("sockets", "Sockets (sessions in a namespace)."),
		Rooms:        gauge("rooms", "Rooms with at least one member here."),
		Handshakes:   counter("handshakes_total", "Namespace CONNECTs by result.", "result"),
		HeldConnects: gauge("held_connects", "Namespace CONNECTs that wait for auth-service to come back."),
		Refusals:     counter("connect_refusals_total", "Namespace CONNECTs that were refused for good, by reason.", "reason"),
		HTTPRefusals: counter("http_refusals_total", "HTTP connections and requests refused at a bound.", "bound"),
		UserRefusals: counter("user_refusals_total", "What was refused at a limit of a user over all its sockets.", "limit"),
		Disconnects:  counter("disconnects_total", "Ended sessions by reason.", "reason"),
		Packets:      counter("packets_total", "Socket.IO packets.", "direction", "type"),
		SlowCloses: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: ns, Subsystem: sub, Name: "slow_consumer_closes_total", Help: "Sessions closed because their send queue overflowed.",
		}),
		Recoveries:    counter("recoveries_total", "Attempts to recover a socket, by result.", "result"),
		GapRepairs:    counter("gap_repairs_total", "Room event gaps fetched from chat-service.", "result"),
		ClientEvents:  counter("client_events_total", "Client events by owning service and result.", "service", "result"),
		RecoveryBytes: gauge("recovery_bucket_bytes", "Bytes in the bucket of recoverable sockets, which all gateways share."),
		RecoveryLimit: gauge("recovery_bucket_limit_bytes", "Bytes that fit into the bucket of recoverable sockets."),
		RecoveryRefused: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: ns, Subsystem: sub, Name: "recovery_writes_refused_total", Help: "Writes of recoverable sockets that were not stored.",
		}),
		EventRepeats: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: ns, Subsystem: sub, Name: "client_event_repeats_total", Help: "Requests with client events that were sent again for want of an answer.",
		}),
		ClusterCalls:    counter("cluster_calls_total", "Operations on the sockets of all gateways by result.", "operation", "result"),
		PresenceWatches: gauge("presence_watches", "Users and rooms that sockets watch, and members of those rooms."),
		PresenceChanges: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: ns, Subsystem: sub, Name: "presence_changes_sent_total", Help: "presence:changed that were sent to sockets.",
		}),
		Inboxes:    gauge("inboxes", "Sockets with an inbox."),
		InboxRooms: gauge("inbox_rooms", "Rooms in the inboxes of all sockets."),
		Activities: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: ns, Subsystem: sub, Name: "room_activities_sent_total", Help: "room:activity that were sent to sockets.",
		}),
		Draining: gauge("draining", "1 while the gateway drains."),
		Delivery: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: ns, Name: "delivery_seconds", Help: "From reading a client event to queueing the room event it caused.",
			Buckets: []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
	}
	queue := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: ns, Subsystem: sub, Name: "outbound_queue_bytes", Help: "Bytes in all send queues.",
	}, func() float64 { return float64(queuedBytes()) })
	reg.MustRegister(s.Connections, s.Sockets, s.Rooms, s.Handshakes, s.HeldConnects, s.Refusals, s.HTTPRefusals, s.Disconnects, s.Packets, s.SlowCloses, s.GapRepairs, s.Recoveries,
		s.RecoveryBytes, s.RecoveryLimit, s.RecoveryRefused,
		s.ClientEvents, s.EventRepeats, s.ClusterCalls, s.UserRefusals, s.PresenceWatches, s.PresenceChanges, s.Inboxes, s.InboxRooms, s.Activities, s.Draining, s.Delivery, queue)
	s.begin()
	s.EventsIn = s.Packets.WithLabelValues("in", "event")
	s.EventsOut = s.Packets.WithLabelValues("out", "event")
	s.AcksOut = s.Packets.WithLabelValues("out", "ack")
	return s
}

// begin has every series that is known beforehand start at 0: the first increment of one that appears with it is no increase for those
// who watch.
func (s *Stats) begin() {
	results := []string{"ok"}
	for _, kind := range fault.Kinds() {
		results = append(results, string(kind))
	}
	each(s.Handshakes, []string{"ok", "refused", "overload", "unavailable"})
	each(s.Refusals, texts(fault.Refusals()))
	each(s.HTTPRefusals, []string{"address", "descriptors", "handshake_rate", "max_connections", "bodies", "auth_service"})
	each(s.Disconnects, texts(transport.Reasons()))
	each(s.UserRefusals, []string{"sockets", "events"})
	each(s.Recoveries, []string{"ok", "broken", "conflict", "ended", "foreign", "internal", "missed", "offset", "state", "too_much"})
	each(s.GapRepairs, []string{"ok", "failed"})
	each(s.ClientEvents, []string{"auth-service", "chat-service", "presence-service", "gateway", "none"}, results)
	each(s.ClusterCalls, []string{"emit", "fetch", "disconnect", "join", "leave"}, append([]string{"partial"}, results...))
}

func texts[S ~string](all []S) []string {
	out := make([]string, len(all))
	for i, one := range all {
		out[i] = string(one)
	}
	return out
}

// each makes a series of every combination of values.
func each(vec *prometheus.CounterVec, values ...[]string) {
	rows := [][]string{nil}
	for _, column := range values {
		var longer [][]string
		for _, row := range rows {
			for _, value := range column {
				longer = append(longer, append(slices.Clip(row), value))
			}
		}
		rows = longer
	}
	for _, row := range rows {
		vec.WithLabelValues(row...)
	}
}
