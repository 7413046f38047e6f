package gateway_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/starling-chat/starling/gateway"
	"github.com/starling-chat/starling/platform/bus/bustest"
	"github.com/starling-chat/starling/platform/settings"
	authv1 "github.com/starling-chat/starling/proto/gen/starling/auth/v1"
	chatv1 "github.com/starling-chat/starling/proto/gen/starling/chat/v1"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// known lets everybody in whose token is a user id, with what auth-service usually says of a user.
type known struct {
	authv1.UnimplementedAuthServiceServer
}

func (known) Authenticate(_ context.Context, r *authv1.AuthenticateRequest) (*authv1.AuthenticateResponse, error) {
	return &authv1.AuthenticateResponse{Identity: &eventv1.Identity{
		UserId: r.GetToken(), Name: "User " + r.GetToken(), Role: "user", LoginId: "0198c1a2-7b64-7d0a-9f3e-2a51c0de1f00",
		IssuedAt: timestamppb.Now(), ExpiresAt: timestamppb.New(time.Now().Add(time.Hour)),
	}}, nil
}

func (known) ListRevocations(context.Context, *authv1.ListRevocationsRequest) (*authv1.ListRevocationsResponse, error) {
	return &authv1.ListRevocationsResponse{}, nil
}

// open lets everybody into every room, in which one thing was said.
type open struct {
	chatv1.UnimplementedChatServiceServer
}

func (open) JoinRoom(_ context.Context, r *chatv1.JoinRoomRequest) (*chatv1.JoinRoomResponse, error) {
	return &chatv1.JoinRoomResponse{
		Seq: 1, AckArgs: []byte(`[{"ok":true,"seq":1}]`),
		Emits: []*eventv1.Emit{{Event: "room:history", Args: r.GetEvent().GetArgs()}},
	}, nil
}

func (open) GetHeads(_ context.Context, r *chatv1.GetHeadsRequest) (*chatv1.GetHeadsResponse, error) {
	heads := make(map[string]uint64)
	for _, id := range r.GetRoomIds() {
		heads[id] = 1
	}
	return &chatv1.GetHeadsResponse{Heads: heads}, nil
}

// idleGateway runs a gateway with the settings of a fresh installation, and auth-service and what it needs of chat-service as the only
// services. It gives its address.
func idleGateway(t testing.TB, transport string) netip.AddrPort {
	t.Helper()
	listen := func() net.Listener {
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	front, services := listen(), listen()
	auth := grpc.NewServer()
	authv1.RegisterAuthServiceServer(auth, known{})
	chatv1.RegisterChatServiceServer(auth, open{})
	go func() { _ = auth.Serve(services) }()
	t.Cleanup(auth.Stop)
	var cfg gateway.Config
	if err := settings.Parse("gateway", "", &cfg, []string{
		"--grpc-listen=127.0.0.1:0", "--admin-listen=", "--drain-window=0s", "--nats-url=" + bustest.Server(t).URL(),
		"--auth-service-addr=" + services.Addr().String(), "--chat-service-addr=" + services.Addr().String(), "--transport=" + transport,
		"--ping-interval=1h",                     // a visitor does not answer
		"--event-timeout=1m", "--stall-limit=1h", // nor does it try again when the machine is busy
	}); err != nil {
		t.Fatal(err)
	}
	cfg.Listener = front
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- gateway.Run(ctx, cfg, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
	return netip.MustParseAddrPort(front.Addr().String())
}

// visitor is a client that holds nothing in this process but its descriptor.
type visitor struct {
	t  testing.TB
	fd int
}

// visit connects a user to the main namespace, and gives the descriptor.
func visit(t testing.TB, address netip.AddrPort, user string) (fd int) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	v := visitor{t, fd}
	patience := unix.Timeval{Sec: 120}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience); err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(address.Port()), Addr: address.Addr().As4()}); err != nil {
		t.Fatal(err)
	}
	v.write([]byte("GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36\r\n" +
		"Accept-Encoding: gzip, deflate, br\r\nAccept-Language: en-GB,en;q=0.9\r\nCache-Control: no-cache\r\nPragma: no-cache\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"))
	v.await(`"maxPayload"`)
	v.say(`40{"token":"` + user + `"}`)
	v.await(`40{"sid":`)
	return fd
}

// join has a visitor enter a room.
func join(t testing.TB, fd int, roomID string) {
	v := visitor{t, fd}
	v.say(`420["room:join",{"roomId":"` + roomID + `"}]`)
	v.await(`430[{"ok":true`)
}

// say writes a packet of up to 125 bytes, masked with zeros.
func (v visitor) say(packet string) {
	v.write(append([]byte{0x81, 0x80 | byte(len(packet)), 0, 0, 0, 0}, packet...))
}

func (v visitor) write(b []byte) {
	v.t.Helper()
	if n, err := unix.Write(v.fd, b); n != len(b) {
		v.t.Fatalf("write = %d, %v", n, err)
	}
}

// await reads until something has come.
func (v visitor) await(what string) {
	v.t.Helper()
	var got []byte
	var buf [2048]byte
	for !bytes.Contains(got, []byte(what)) {
		n, err := unix.Read(v.fd, buf[:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if n <= 0 {
			v.t.Fatalf("the gateway says %q and then %v, want %s", got, err, what)
		}
		got = append(got, buf[:n]...)
	}
}

// memory is what this process holds, save its NATS server.
type memory struct {
	heap, stacks int64
	goroutines   int
	sites        map[string]int64 // bytes of the heap by where they were allocated
}

func measure() (m memory) {
	for range 4 { // a collection halves a stack that grew, and closes the profile of the one before
		debug.FreeOSMemory()
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	records := make([]runtime.MemProfileRecord, 100_000)
	n, _ := runtime.MemProfile(records, false)
	m = memory{stacks: int64(stats.StackInuse), goroutines: runtime.NumGoroutine(), sites: make(map[string]int64)}
	for i := range records[:n] {
		if name := site(records[i].Stack()); name != "" {
			m.sites[name] += records[i].InUseBytes()
			m.heap += records[i].InUseBytes()
		}
	}
	return m
}

// site is the function that allocated, outside of the runtime; "" where it was in the NATS server, or this test.
func site(stack []uintptr) (name string) {
	frames := runtime.CallersFrames(stack)
	for more := true; more; {
		var f runtime.Frame
		f, more = frames.Next()
		if strings.Contains(f.Function, "/nats-server/") || strings.Contains(f.Function, "gateway_test.") {
			return ""
		}
		if name == "" && !strings.HasPrefix(f.Function, "runtime.") && !strings.HasPrefix(f.Function, "internal/runtime/") {
			name = f.Function
		}
	}
	return cmp.Or(name, "runtime")
}

// idleBounds are how much an idle connection may take in a gateway. docs/performance.md says where it goes; whoever adds some on purpose
// changes it there, too.
type idleBounds struct {
	heap       int64 // bytes a connection
	roomsHeap  int64 // the same, in two rooms of ten
	goroutines int   // of all connections
}

const (
	idleWarm    = 100
	idleClients = 1000
	idleRoom    = 10 // members of a room
)

// TestIdleConnection prints what a connected client that says nothing takes in a gateway, by where it was allocated, and what is added
// when it is in two rooms of ten. It holds both to their bounds.
func TestIdleConnection(t *testing.T) {
	runtime.MemProfileRate = 1
	t.Cleanup(func() { runtime.MemProfileRate = 512 << 10 })
	for transport, most := range map[string]idleBounds{
		"goroutine": {heap: 2_200, roomsHeap: 2_800, goroutines: idleClients * 11 / 10},
		"epoll":     {heap: 1_250, roomsHeap: 1_800, goroutines: idleClients / 10},
	} {
		t.Run(transport, func(t *testing.T) { idle(t, transport, most) })
	}
}

func idle(t *testing.T, transport string, most idleBounds) {
	address := idleGateway(t, transport)
	var open [idleWarm + idleClients]int
	t.Cleanup(func() {
		for _, fd := range open {
			_ = unix.Close(fd)
		}
	})
	for i := range idleWarm {
		open[i] = visit(t, address, fmt.Sprintf("warm-%06d", i))
		joinTwo(t, open[i], "warm", i, idleWarm)
	}
	before := measure()
	for i := range idleClients {
		open[idleWarm+i] = visit(t, address, fmt.Sprintf("user-%06d", i))
	}
	connected := measure()
	connected.print(t, before)
	if heap := (connected.heap - before.heap) / idleClients; heap > most.heap {
		t.Errorf("an idle connection takes %d bytes of heap, want %d at most", heap, most.heap)
	}
	if more := connected.goroutines - before.goroutines; more > most.goroutines {
		t.Errorf("%d idle connections take %d goroutines, want %d at most", idleClients, more, most.goroutines)
	}
	for i := range idleClients {
		joinTwo(t, open[idleWarm+i], "room", i, idleClients)
	}
	t.Log("in two rooms of ten, more:")
	joined := measure()
	joined.print(t, connected)
	if heap := (joined.heap - before.heap) / idleClients; heap > most.roomsHeap {
		t.Errorf("an idle connection in two rooms of ten takes %d bytes of heap, want %d at most", heap, most.roomsHeap)
	}
	if more := joined.goroutines - connected.goroutines; more > idleClients/10 {
		t.Errorf("%d idle connections in two rooms of ten take %d goroutines more, want none", idleClients, more)
	}
}

// joinTwo has one of n clients enter two rooms of ten, each with other members.
func joinTwo(t *testing.T, fd int, name string, i, n int) {
	rooms := n / idleRoom
	join(t, fd, fmt.Sprintf("00000000-0000-4000-8000-%s%08d", name, i/idleRoom))
	join(t, fd, fmt.Sprintf("00000000-0000-4000-8000-%s%08d", name, rooms+i%rooms))
}

// print logs what a connection has added to what was there before.
func (m memory) print(t *testing.T, before memory) {
	grown := make(map[string]int64)
	for name, n := range m.sites {
		grown[name] = n - before.sites[name]
	}
	names := slices.Collect(maps.Keys(grown))
	slices.SortFunc(names, func(a, b string) int { return cmp.Compare(grown[b], grown[a]) })
	for _, name := range names {
		if grown[name] >= idleClients {
			t.Logf("%6d  %s", grown[name]/idleClients, name)
		}
	}
	t.Logf("%6d  heap", (m.heap-before.heap)/idleClients)
	t.Logf("%6d  stacks", (m.stacks-before.stacks)/idleClients)
}

// BenchmarkConnect is what a client costs that connects to the main namespace and goes: the gateway, its NATS server, an auth-service
// that knows everybody, and the few system calls of the client.
func BenchmarkConnect(b *testing.B) {
	for _, transport := range []string{"goroutine", "epoll"} {
		b.Run(transport, func(b *testing.B) {
			address := idleGateway(b, transport)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				_ = unix.Close(visit(b, address, fmt.Sprintf("user-%06d", i)))
			}
		})
	}
}
