package edge

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"
)

// served is a server with bounds of its connections, and its dialer.
func served(t *testing.T, conns *openConns, handler http.Handler) (front *httptest.Server, connect func() net.Conn) {
	t.Helper()
	front = httptest.NewUnstartedServer(handler)
	front.Config.ConnContext, front.Config.ConnState = conns.context, conns.state
	front.Start()
	t.Cleanup(front.Close)
	return front, func() net.Conn {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", front.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
		return conn
	}
}

// say sends a request and tells whether an answer comes.
func say(conn net.Conn, request string) bool {
	_, _ = io.WriteString(conn, request) // it may be closed already
	n, err := conn.Read(make([]byte, 1))
	return n == 1 && err == nil
}

const (
	getRequest  = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
	postRequest = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n"
)

// everybody has limits, loopback too: the addresses of tests.
func everybody(perAddress, most int) *openConns {
	o := newOpenConns(most, perAddress, func() int { return 0 }, &addresses{log: slog.New(slog.DiscardHandler)}, func(string) {})
	o.keyOf = func(netip.Addr) (netip.Addr, bool) { return netip.MustParseAddr("192.0.2.1"), true }
	return o
}

// TestTooManyConnections: at a bound a new connection takes the place of one that the gateway waits for: that sent no request yet,
// sends none any more, or has not sent its body. Those whose clients wait for an answer stay, and then new ones are closed.
func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	const most = spareSockets + 3
	for name, conns := range map[string]*openConns{"descriptors": everybody(0, 3), "an address": everybody(most, 0)} {
		for waiting, first := range map[string]func(net.Conn){
			"silent": func(net.Conn) {},
			"idle":   func(c net.Conn) { _ = say(c, getRequest) },
			"a body": func(c net.Conn) { _, _ = io.WriteString(c, postRequest) },
		} {
			t.Run(name+", "+waiting, func(t *testing.T) {
				conns := newOpenConns(conns.most, conns.perAddress, conns.others, conns.addresses, conns.refused)
				conns.keyOf = everybody(0, 0).keyOf
				release := make(chan struct{})
				defer close(release)
				busy := make(chan struct{}, most)
				_, connect := served(t, conns, exchanges(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					switch {
					case r.Method == http.MethodPost:
						busy <- struct{}{}
						_, _ = io.Copy(io.Discard, r.Body)
					case r.URL.Path == "/wait":
						busy <- struct{}{}
						<-release
					}
				})))
				held := make([]net.Conn, most)
				for i := range held {
					held[i] = connect()
					first(held[i])
					if waiting == "a body" {
						<-busy
					}
				}
				for i := range held {
					conn := connect()
					if !say(conn, getRequest) {
						t.Fatalf("new connection %d is not served, want it to take the place of an old one", i)
					}
					_ = held[i]
					_, _ = io.WriteString(conn, "GET /wait HTTP/1.1\r\nHost: h\r\n\r\n")
					<-busy
				}
				if say(connect(), getRequest) {
					t.Error("a connection is served while all others are waited on, want it closed")
				}
			})
		}
	}
}

// TestStrangersGiveUpDescriptors: where all connections are those of clients that wait, and none can go, a session of a stranger does.
func TestStrangersGiveUpDescriptors(t *testing.T) {
	t.Parallel()
	conns := everybody(0, 1)
	strangers := 2
	conns.displace = func() bool { strangers--; return strangers >= 0 }
	release, busy := make(chan struct{}), make(chan struct{}, 2*spareSockets)
	defer close(release)
	_, connect := served(t, conns, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { busy <- struct{}{}; <-release }))
	for range conns.most + spareSockets + strangers {
		_, _ = io.WriteString(connect(), getRequest)
		<-busy
	}
	if say(connect(), getRequest) {
		t.Error("a connection is served although nobody makes room, want it closed")
	}
}

// TestIdleConnection: a connection without a request ends after the time that is set, and not before a balancer may use it again.
func TestIdleConnection(t *testing.T) {
	t.Parallel()
	front, _ := newEdge(t, func(c *Config) { c.IdleTimeout = time.Hour })
	if got := front.Config.IdleTimeout; got != time.Hour {
		t.Errorf("idle time = %v, want the one that is set", got)
	}
	short, _ := newEdge(t, func(c *Config) { c.IdleTimeout = time.Millisecond })
	res, conn, r := raw(t, short, "GET /healthz HTTP/1.1", "Host: h")
	_, _ = io.Copy(io.Discard, res.Body)
	defer func() { _ = conn.Close() }()
	if _, err := r.ReadByte(); err != io.EOF {
		t.Errorf("after the idle time: %v, want the end of the connection", err)
	}
}
