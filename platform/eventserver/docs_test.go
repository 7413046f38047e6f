package eventserver_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/starling-chat/starling/platform/bus"
	"github.com/starling-chat/starling/platform/bus/bustest"
	"github.com/starling-chat/starling/platform/eventserver"
	"github.com/starling-chat/starling/platform/settings"
	"github.com/starling-chat/starling/proto/fault/faulttest"
)

// TestDocsHaveTheSample keeps docs/extending.md and the sample service that is tested the same.
func TestDocsHaveTheSample(t *testing.T) {
	source, err := os.ReadFile("example_service_test.go")
	if err != nil {
		t.Fatal(err)
	}
	sample := between(t, string(source), "// ---- service begins\n", "// ---- service ends\n")
	if doc := extending(t); !strings.Contains(doc, strings.TrimSpace(sample)) {
		t.Error("docs/extending.md does not show the service of example_service_test.go as it is")
	}
	if lines := strings.Count(sample, "\n"); lines > 60 {
		t.Errorf("the sample has %d lines, want at most 60", lines)
	}
}

func extending(t *testing.T) string {
	t.Helper()
	doc, err := os.ReadFile("../../docs/extending.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(doc)
}

func between(t *testing.T, s, begin, end string) string {
	t.Helper()
	_, s, found := strings.Cut(s, begin)
	s, _, ended := strings.Cut(s, end)
	if !found || !ended {
		t.Fatalf("no text between %q and %q", begin, end)
	}
	return s
}

// TestPermissions runs the sample with the NATS user of docs/extending.md: it suffices, and allows nothing that others rely on.
func TestPermissions(t *testing.T) {
	t.Setenv("NATS_ORDERS_PASSWORD", "secret")
	user := "{\n" + between(t, extending(t), "```\n{\n", "```")
	var options server.Options
	if err := options.ProcessConfigString("port: -1\nauthorization { users: [ {user: gateway, password: gateway}\n" + user + "] }"); err != nil {
		t.Fatal(err)
	}
	options.NoSigs = true
	broker, err := server.NewServer(&options)
	if err != nil {
		t.Fatal(err)
	}
	broker.Start()
	t.Cleanup(broker.Shutdown)
	if !broker.ReadyForConnections(patience) {
		t.Fatal("NATS does not start")
	}
	w := &world{gateway: connect(t, broker, "gateway", "gateway"), ended: make(chan error, 1)}
	announced := w.catalogs(t)
	orders := connect(t, broker, "orders", "secret")
	s, err := eventserver.New(orders, eventserver.Service{Name: "orders", Routes: []eventserver.Route{{
		Event: "order:create", Handle: (&Orders{ids: map[string]int{}}).Create,
	}}}, eventserver.Limits{}, nil, w.log.Logger())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	w.stop = stop
	go func() { w.ended <- s.Run(ctx) }()
	if _, err := announced.NextMsg(patience); err != nil {
		t.Fatalf("no catalog: %v", err)
	}
	w.await(t, "order:create")
	if got := said(w.ask(t, event("order:create", `[{"key":"k","table":7}]`))); got != `[{"ok":true,"orderId":1}]` {
		t.Errorf("order:create = %s, want an id", got)
	}
	if err := orders.LastError(); err != nil {
		t.Errorf("the service was refused something: %v", err)
	}
	for _, forbidden := range []string{"_INBOX_gateway.x", "client.v1.root.message.send", "room.v1.root.pr", "presence.v1.online"} {
		_ = orders.Publish(forbidden, nil)
		if err := orders.Flush(); err != nil {
			t.Fatal(err)
		}
		if err := orders.LastError(); !errors.Is(err, nats.ErrPermissionViolation) || !strings.Contains(err.Error(), forbidden) {
			t.Errorf("publish %s: %v, want a violation of the permissions", forbidden, err)
		}
	}
	if err := end(t, w); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
}

func connect(t *testing.T, broker *server.Server, user, password string) *nats.Conn {
	t.Helper()
	var log faulttest.Log
	nc, err := bus.Connect(t.Context(), bus.Config{
		URL: settings.URL(broker.ClientURL()), Name: user, User: user, Password: settings.Secret(password), Log: log.Logger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if err := bustest.WaitConnected(t.Context(), nc); err != nil {
		t.Fatal(err)
	}
	return nc
}
