package bustest

import (
	"context"
	"fmt"
	"testing"
	"time"

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

// flushTimeout guards against a server that hangs.
const flushTimeout = 30 * time.Second

// HasSubscriber tells whether anybody has subscribed to a subject, without a limit of time: the server says that there is nobody before it
// answers the flush. Who has subscribed gets an empty message.
func HasSubscriber(t testing.TB, nc *nats.Conn, subject string) bool {
	t.Helper()
	inbox := nats.NewInbox()
	answers := make(chan *nats.Msg, 1)
	sub, err := nc.ChanSubscribe(inbox, answers)
	if err == nil {
		err = nc.PublishRequest(subject, inbox, nil)
	}
	if err == nil {
		err = nc.FlushTimeout(flushTimeout)
	}
	if err != nil {
		t.Fatalf("ask who has subscribed to %s: %v", subject, err)
	}
	defer sub.Unsubscribe() //nolint:errcheck // the connection ends with the test
	select {
	case msg := <-answers:
		return len(msg.Data) > 0 || msg.Header.Get("Status") != "503"
	default:
		return true
	}
}
