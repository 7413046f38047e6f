package relay

import (
	"context"
	"testing"
	"time"

	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/platform/eventserver"
)

// TestOwnService has a client call a service of which the gateway knows nothing but what that service announces.
func TestOwnService(t *testing.T) {
	w := newWorld(t, func(c *settings) { c.Services = nil })
	a := w.connect(t, "a")
	a.Say(`421["order:create",{"table":7}]`)
	sees(t, a, `431[{"ok":false,"error":{"code":"unknown_event","message":"Unknown event"}}]`)

	server, err := eventserver.New(w.service, eventserver.Service{Name: "orders", Routes: []eventserver.Route{{
		Event: "order:create", Namespaces: []string{"*"},
		Handle: func(_ context.Context, r *eventserver.Request) (*eventserver.Reply, error) {
			var order struct {
				Table int `json:"table"`
			}
			if err := r.Arg(0, &order); err != nil {
				return nil, err
			}
			reply, err := eventserver.Ack(map[string]any{"table": order.Table, "by": r.User.Name})
			reply.Emits = []eventserver.Emit{{Event: "order:created", Args: []byte(`["now"]`)}}
			return reply, err
		},
	}}}, eventserver.Limits{Stall: time.Hour}, nil, w.log.Logger())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	const subj = "client.v1.root.order.create"
	sessiontest.Eventually(t, func() bool { return w.relay.catalog.Owner(subj) == "orders" }, func() string { return "the service is not known" })

	a.Forget()
	a.Say(`422["order:create",{"table":7}]`)
	sees(t, a, `42["order:created","now"]`, `432[{"ok":true,"by":"Name of a","table":7}]`)
	a.Forget()
	a.Say(`423["order:create",{"table":"x"}]`, `424["order:create",{"table":1}]`)
	sees(t, a, `433[{"ok":false,"error":{"code":"invalid","message":"table has the wrong type"}}]`,
		`42["order:created","now"]`, `434[{"ok":true,"by":"Name of a","table":1}]`)

	stop()
	if err := <-ended; err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
	a.Forget()
	a.Say(`425["order:create",{"table":7}]`)
	sees(t, a, `435[{"ok":false,"error":{"code":"unavailable","message":"Service unavailable","retryAfterMs":1000}}]`)
}
