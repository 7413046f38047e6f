package eventserver_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/starling-chat/starling/platform/bus"
	"github.com/starling-chat/starling/platform/bus/bustest"
	"github.com/starling-chat/starling/platform/eventserver"
	"github.com/starling-chat/starling/platform/settings"
	"github.com/starling-chat/starling/proto/fault"
)

// The service of docs/extending.md: it answers order:create. Everything between the two lines is all there is to it.
// ---- service begins

// Orders keeps what was ordered, by the id that the client gave, so that a repeat changes nothing.
type Orders struct {
	mu  sync.Mutex
	ids map[string]int
}

// Create answers order:create { key, table } with { ok: true, orderId }.
func (o *Orders) Create(_ context.Context, r *eventserver.Request) (*eventserver.Reply, error) {
	var order struct {
		Key   string `json:"key"`
		Table int    `json:"table"`
	}
	if err := r.Arg(0, &order); err != nil {
		return nil, err
	}
	if order.Key == "" || order.Table < 1 {
		return nil, fault.New(fault.Invalid, "key and table are required")
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	id, known := o.ids[r.User.ID+" "+order.Key]
	if !known {
		id = len(o.ids) + 1
		o.ids[r.User.ID+" "+order.Key] = id
	}
	return eventserver.Ack(map[string]any{"orderId": id})
}

// Run serves until ctx ends, then answers what it has taken.
func Run(ctx context.Context, url settings.URL, registry prometheus.Registerer, log *slog.Logger) error {
	nc, err := bus.Connect(ctx, bus.Config{URL: url, Name: "orders", Log: log}) // and User, Password
	if err != nil {
		return err
	}
	defer nc.Close()
	orders := &Orders{ids: map[string]int{}}
	server, err := eventserver.New(nc, eventserver.Service{
		Name:   "orders",
		Routes: []eventserver.Route{{Event: "order:create", Repeatable: true, Handle: orders.Create}},
	}, eventserver.Limits{}, registry, log)
	if err != nil {
		return err
	}
	return server.Run(ctx)
}

// ---- service ends

// TestExampleService runs the sample: it is announced, answers as a gateway expects it, and drains.
func TestExampleService(t *testing.T) {
	broker := bustest.Server(t)
	w := &world{gateway: bustest.Connect(t, broker), ended: make(chan error, 1)}
	announced := w.catalogs(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	w.stop = stop
	go func() { w.ended <- Run(ctx, settings.URL(broker.URL()), prometheus.NewRegistry(), w.log.Logger()) }()
	if _, err := announced.NextMsg(patience); err != nil {
		t.Fatalf("no catalog: %v", err)
	}
	w.await(t, "order:create")

	order := event("order:create", `[{"key":"k1","table":7}]`)
	repeated := event("order:create", `[{"key":"k1","table":7}]`)
	repeated.Attempt = 1
	for _, tc := range []struct{ args, want string }{
		{said(w.ask(t, order)), `[{"ok":true,"orderId":1}]`},
		{said(w.ask(t, repeated)), `[{"ok":true,"orderId":1}]`},
		{said(w.ask(t, event("order:create", `[{"key":"k2","table":7}]`))), `[{"ok":true,"orderId":2}]`},
		{said(w.ask(t, event("order:create", `[{"table":"seven"}]`))), "invalid table has the wrong type"},
	} {
		if tc.args != tc.want {
			t.Errorf("order:create = %s, want %s", tc.args, tc.want)
		}
	}
	last := w.send(t, event("order:create", `[{"key":"k3","table":7}]`))
	if err := w.gateway.Flush(); err != nil { // NATS has it before the end
		t.Fatal(err)
	}
	if err := end(t, w); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
	if got, want := said(reply(t, last)), `[{"ok":true,"orderId":3}]`; got != want {
		t.Errorf("an order just before the end = %s, want %s", got, want)
	}
}
