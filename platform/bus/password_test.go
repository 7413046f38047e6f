package bus_test

import (
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/starling-chat/starling/platform/bus"
	"github.com/starling-chat/starling/platform/settings"
)

// TestPasswordIsReplaced: a service that knows both passwords stays connected when the server goes over to the new one, and starts with
// whichever the server has.
func TestPasswordIsReplaced(t *testing.T) {
	options := func(password string, port int) *server.Options {
		return &server.Options{Host: "127.0.0.1", Port: port, NoSigs: true, NoLog: true, Username: "chat", Password: password}
	}
	s, err := server.NewServer(options("before", server.RANDOM_PORT))
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	defer func() { s.Shutdown(); s.WaitForShutdown() }()
	if !s.ReadyForConnections(30 * time.Second) {
		t.Fatal("NATS is not ready")
	}
	port := s.Addr().(*net.TCPAddr).Port
	url := settings.URL("nats://127.0.0.1:" + strconv.Itoa(port))
	connect := func(password, other settings.Secret) *nats.Conn {
		t.Helper()
		cfg := bus.Settings{URL: url, User: "chat", Password: password, Other: other}
		nc, err := bus.Connect(t.Context(), cfg.Config("chat", nil))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		wait(t, nc)
		return nc
	}
	first, second := connect("before", "after"), connect("after", "before")
	back := make(chan struct{}, 2)
	bus.OnReconnect(first, func() { back <- struct{}{} })
	bus.OnReconnect(second, func() { back <- struct{}{} })
	if err := s.ReloadOptions(options("after", port)); err != nil { // cuts off who has shown the password of before
		t.Fatal(err)
	}
	for range 2 {
		select {
		case <-back:
		case <-time.After(30 * time.Second):
			t.Fatal("a service that knows the new password does not come back")
		}
	}
	connect("before", "after")
}

func wait(t *testing.T, nc *nats.Conn) {
	t.Helper()
	connected := nc.StatusChanged(nats.CONNECTED)
	defer nc.RemoveStatusListener(connected)
	for !nc.IsConnected() {
		select {
		case <-connected:
		case <-time.After(30 * time.Second):
			t.Fatal("not connected")
		}
	}
}
