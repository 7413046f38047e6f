package bus_test

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/starling-chat/starling/platform/bus"
	"github.com/starling-chat/starling/platform/bus/bustest"
	"github.com/starling-chat/starling/platform/bus/embedded"
	"github.com/starling-chat/starling/platform/porttest"
	"github.com/starling-chat/starling/platform/settings"
)

// TestOutage starts before the server, loses it and gets it back with its streams.
func TestOutage(t *testing.T) {
	address := netip.MustParseAddrPort(porttest.Reserve(t))
	back := make(chan string, 2)
	nc, err := bus.Connect(t.Context(), bus.Config{
		URL: settings.URL("nats://" + address.String()), Name: "outage",
	})
	if err != nil || nc.IsConnected() {
		t.Fatalf("Connect without a server = %v, want nil, before there is one", err)
	}
	defer nc.Close()
	bus.OnReconnect(nc, func() { back <- "first" })
	bus.OnReconnect(nc, func() { back <- "second" })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := bustest.WaitConnected(ctx, nc); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("WaitConnected without a server = %v, want the deadline", err)
	}
	if err := nc.Publish("x", nil); err == nil {
		t.Error("Publish without a server = nil, want an error at once")
	}

	cfg := embedded.Config{StoreDir: t.TempDir(), Port: int(address.Port())}
	server, err := embedded.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := bustest.WaitConnected(t.Context(), nc); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(nc.NewInbox(), "_INBOX_outage.") {
		t.Errorf("NewInbox = %q, want the service's prefix", nc.NewInbox())
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}}); err != nil {
		t.Fatal(err)
	}
	server.Close()
	if server, err = embedded.Start(cfg); err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if first, second := <-back, <-back; first != "first" || second != "second" {
		t.Errorf("at the reconnection %s and %s were called, want first and second: the first connection is none", first, second)
	}
	if _, err := js.Stream(t.Context(), "S"); err != nil {
		t.Errorf("Stream(S) after a restart = %v, want it kept", err)
	}
	if n := testutil.CollectAndCount(bus.Collector(nc)); n != 6 {
		t.Errorf("Collector gives %d metrics, want 6", n)
	}
	nc.Close()
	if err := bustest.WaitConnected(t.Context(), nc); !errors.Is(err, nats.ErrConnectionClosed) {
		t.Errorf("WaitConnected after Close = %v, want closed", err)
	}
}

func TestInProcessOnly(t *testing.T) {
	server, err := embedded.Start(embedded.Config{StoreDir: t.TempDir(), Port: embedded.InProcessOnly})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if server.URL() != "" {
		t.Errorf("URL = %q, want none", server.URL())
	}
	nc, err := bus.Connect(t.Context(), bus.Config{Name: "in", InProcess: server.InProcess()})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := nc.RTT(); err != nil {
		t.Errorf("RTT = %v, want a connection", err)
	}
}

func TestServersAreSeparate(t *testing.T) {
	a, b := bustest.New(t), bustest.New(t)
	if _, err := url.Parse(a.ConnectedUrl()); err != nil || a.ConnectedUrl() == b.ConnectedUrl() {
		t.Errorf("servers = %q and %q, want two", a.ConnectedUrl(), b.ConnectedUrl())
	}
}

func TestBadName(t *testing.T) {
	if _, err := bus.Connect(t.Context(), bus.Config{Name: "a.b"}); err == nil {
		t.Error("Connect with a dot in the name = nil, want an error")
	}
}

// TestConnectHidesThePassword: what NATS says of an address that it cannot read would contain the password.
func TestConnectHidesThePassword(t *testing.T) {
	for _, url := range []settings.URL{
		"nats://u:hunter2/x@h:4222", "nats://u:hunter2#x@h:4222", "nats://u:%hunter2@h:4222", "nats://hunter2%@h:4222", "nats://u:hunter2@h:port",
		"nats://u:hunter2@h:4222,nats://u:x/hunter2@h2:4222",
	} {
		_, err := bus.Connect(t.Context(), bus.Config{Name: "x", URL: url})
		s := bus.Settings{URL: url}
		if invalid := s.Validate(); err == nil || invalid == nil || strings.Contains(err.Error()+invalid.Error(), "hunter2") {
			t.Errorf("Connect(%s) = %v, Validate = %v, want errors without the password", url, err, invalid)
		}
	}
}

// TestUnreachedIsTold: who waits for NATS is told why, however early it is away, and not with every try.
func TestUnreachedIsTold(t *testing.T) {
	lines := make(chan string, 100)
	log := slog.New(slog.NewTextHandler(lineWriter(lines), nil))
	nc, err := bus.Connect(t.Context(), bus.Config{Name: "lonely", URL: "nats://user:hunter2@127.0.0.1:1", Log: log})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	select {
	case line := <-lines:
		if !strings.Contains(line, "level=WARN") || !strings.Contains(line, "NATS is not reached") || strings.Contains(line, "hunter2") {
			t.Errorf("the log says %q, want that NATS is not reached", line)
		}
	case <-time.After(30 * time.Second):
		t.Error("the log says nothing while NATS is away")
	}
}

type lineWriter chan string

func (w lineWriter) Write(p []byte) (int, error) {
	w <- string(p)
	return len(p), nil
}
