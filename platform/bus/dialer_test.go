package bus

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/starling-chat/starling/platform/bus/embedded"
	"github.com/starling-chat/starling/platform/settings"
)

// guard is a limit against hanging.
const guard = 30 * time.Second

// nameServer says of every name that it is 127.0.0.1, or, while it is silent, nothing.
type nameServer struct {
	net.PacketConn

	asked  chan struct{} // one for each question while it is silent
	silent atomic.Pointer[chan struct{}]
}

func newNameServer(t *testing.T) (*nameServer, *net.Resolver) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	s := &nameServer{PacketConn: conn, asked: make(chan struct{}, 1000)}
	go s.serve()
	return s, &net.Resolver{PreferGo: true, Dial: func(_ context.Context, network, _ string) (net.Conn, error) {
		if silent := s.silent.Load(); silent != nil {
			s.asked <- struct{}{}
			<-*silent // whatever limits there are
		}
		return net.Dial(network, conn.LocalAddr().String())
	}}
}

// fallSilent has it answer nothing until speak is called.
func (s *nameServer) fallSilent() (speak func()) {
	silent := make(chan struct{})
	s.silent.Store(&silent)
	return sync.OnceFunc(func() {
		s.silent.Store(nil)
		close(silent)
	})
}

func (s *nameServer) serve() {
	question := make([]byte, 512)
	for {
		n, from, err := s.ReadFrom(question)
		if err != nil {
			return
		}
		// The question comes back with an answer for A, and with none for AAAA: it ends with the type and the class.
		name := question[12:n]
		for i := 12; i < n; i += int(question[i]) + 1 {
			if question[i] == 0 {
				name = question[12 : i+5]
				break
			}
		}
		answer := append([]byte{question[0], question[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, name...)
		if name[len(name)-3] == 1 {
			answer[7] = 1
			answer = append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1)
		}
		_, _ = s.WriteTo(answer, from)
	}
}

// await fails unless c is served in time.
func await[T any](t *testing.T, c <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(guard):
		t.Fatalf("%s: not within %v", what, guard)
	}
	return v
}

// TestNameServerIsAway: while nobody says where NATS is, everything else goes on, and NATS is found when somebody does.
func TestNameServerIsAway(t *testing.T) {
	names, resolver := newNameServer(t)
	dir := t.TempDir()
	server, err := embedded.Start(embedded.Config{StoreDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	port := portOf(t, server)
	nc, err := Connect(t.Context(), Config{
		URL: settings.URL("nats://nats.test.:" + strconv.Itoa(port)), Name: "lost", resolver: resolver, lookUp: 10 * guard,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	waitStatus(t, nc, nats.CONNECTED)
	back := make(chan struct{}, 1)
	OnReconnect(nc, func() { back <- struct{}{} })
	metrics := Collector(nc)

	speak := names.fallSilent()
	defer speak() // or Close waits, too
	server.Close()
	await(t, names.asked, "a look-up of the name")
	done := make(chan error, 1)
	go func() { // all of this happens during that look-up
		done <- nc.Publish("x", nil)
		sub, err := nc.SubscribeSync("x")
		done <- errors.Join(err, sub.Unsubscribe())
		if nc.IsConnected() {
			err = errors.New("it is connected")
		}
		done <- err
		done <- testutil.CollectAndCompare(metrics, strings.NewReader(`
# HELP starling_nats_connected 1 while connected to NATS.
# TYPE starling_nats_connected gauge
starling_nats_connected 0
`), "starling_nats_connected")
	}()
	if err := await(t, done, "Publish"); !errors.Is(err, nats.ErrReconnectBufExceeded) {
		t.Errorf("Publish during the look-up = %v, want the error of a connection that is away", err)
	}
	for _, what := range []string{"Subscribe", "IsConnected", "metrics"} {
		if err := await(t, done, what); err != nil {
			t.Errorf("%s during the look-up: %v", what, err)
		}
	}

	speak()
	server, err = embedded.Start(embedded.Config{StoreDir: dir, Port: port})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	await(t, back, "the reconnection")
}

func portOf(t *testing.T, server *embedded.Server) int {
	t.Helper()
	u, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func waitStatus(t *testing.T, nc *nats.Conn, status nats.Status) {
	t.Helper()
	changes := nc.StatusChanged(status)
	defer nc.RemoveStatusListener(changes)
	if nc.Status() != status {
		await(t, changes, status.String())
	}
}

// TestServerThatSaysNothing: a server that is stopped accepts connections, and holds nobody up either; where there is another one it is
// taken.
func TestServerThatSaysNothing(t *testing.T) {
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = mute.Close() }()
	accepted := make(chan net.Conn, 1000)
	go func() {
		for {
			conn, err := mute.Accept()
			if err != nil {
				return
			}
			accepted <- conn
		}
	}()
	d := newDialer(t.Context(), Config{URL: "nats://127.0.0.1"})
	defer d.close()
	d.started()
	address := mute.Addr().String()
	if conn, err := d.Dial("tcp", address); !errors.Is(err, errNotYet) {
		t.Errorf("Dial before a round = %v, %v, want %v", conn, err, errNotYet)
	}
	d.pause(1)
	await(t, accepted, "a connection")
	if conn, err := d.Dial("tcp", address); err == nil || errors.Is(err, errNotYet) {
		t.Errorf("Dial of a server that says nothing = %v, %v, want the reason", conn, err)
	}

	server, err := embedded.Start(embedded.Config{StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	other := net.JoinHostPort("127.0.0.1", strconv.Itoa(portOf(t, server)))
	_, _ = d.Dial("tcp", other)
	d.pause(2)
	conn, err := d.Dial("tcp", other)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	said := make([]byte, 5)
	if n, err := conn.Read(said); err != nil || string(said[:n]) != "INFO " {
		t.Errorf("the conn begins with %q, %v, want INFO", said[:n], err)
	}
	if _, err := d.Dial("tcp", other); err == nil {
		t.Error("the same conn was handed out twice")
	}
}
