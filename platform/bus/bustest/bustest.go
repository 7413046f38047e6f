package bustest

import (
	"context"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/starling-chat/starling/platform/bus"
	"github.com/starling-chat/starling/platform/bus/embedded"
	"github.com/starling-chat/starling/platform/settings"
)

// New returns a connection to a new server; both are closed when t ends.
func New(t testing.TB) *nats.Conn {
	t.Helper()
	return Connect(t, Server(t))
}

// Server returns a new server that listens on a free port of 127.0.0.1 and is
// closed when t ends.
func Server(t testing.TB) *embedded.Server {
	t.Helper()
	server, err := embedded.Start(embedded.Config{StoreDir: t.TempDir()})
	if err != nil {
		t.Fatalf("start NATS: %v", err)
	}
	t.Cleanup(server.Close)
	return server
}

// Connect returns another connection to server, closed when t ends.
func Connect(t testing.TB, server *embedded.Server) *nats.Conn {
	t.Helper()
	nc, err := bus.Connect(t.Context(), bus.Config{URL: settings.URL(server.URL()), Name: "test"})
	if err != nil {
		t.Fatalf("connect to NATS: %v", err)
	}
	t.Cleanup(nc.Close)
	if err := WaitConnected(t.Context(), nc); err != nil {
		t.Fatal(err)
	}
	return nc
}

// WaitConnected blocks until nc is connected. It fails when nc is closed or ctx ends.
func WaitConnected(ctx context.Context, nc *nats.Conn) error {
	changes := nc.StatusChanged(nats.CONNECTED, nats.CLOSED)
	defer nc.RemoveStatusListener(changes)
	for {
		switch {
		case nc.IsConnected():
			return nil
		case nc.IsClosed():
			return fmt.Errorf("wait for NATS: %w", nats.ErrConnectionClosed)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for NATS: %w", ctx.Err())
		case <-changes:
		}
	}
}
