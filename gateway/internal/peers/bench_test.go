package peers

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/transport"
)

// The cost of a WebSocket that another gateway carries, beside one at the session's own gateway (docs/adr/0013):
//
//	go test -run '^$' -bench . -benchtime 2s ./gateway/internal/peers/
//
// Everything is in one process, so cpu-ns/op has both gateways, the NATS server between them and the client.

// routes are the two ways to a client.
var routes = []struct {
	name    string
	carried bool
}{{"direct", false}, {"carried", true}}

// benched gives a client on WebSocket, and its socket.
func benched(b *testing.B, carried bool) (client net.Conn, in *bufio.Reader, s *session.Socket) {
	b.Helper()
	f := newFleet(b)
	owner, carrier := f.start("g1"), f.start("g2")
	p := pollThrough(b, owner, carrier)
	p.enter("a")
	bind := func(c transport.Conn) transport.Receiver { return owner.sessions.Upgrade(p.SID, c) }
	at := owner
	if carried {
		remote, refusal, err := carrier.peers.OpenTunnel(b.Context(), owner.id, p.SID)
		if err != nil || refusal != nil {
			b.Fatalf("OpenTunnel = %v, %v", refusal, err)
		}
		bind, at = remote, carrier
	}
	client = connected(b, at, bind)
	in = bufio.NewReaderSize(client, 1<<20)
	write(b, client, "2probe")
	read(b, in)
	write(b, client, "5")
	for owner.sessions.Transport(p.SID) != "websocket" {
		time.Sleep(time.Millisecond)
	}
	return client, in, owner.app.user("a")[0]
}

func write(b *testing.B, client net.Conn, packet string) {
	if err := ws.WriteFrame(client, ws.MaskFrame(ws.NewTextFrame([]byte(packet)))); err != nil {
		b.Fatal(err)
	}
}

func read(b *testing.B, in *bufio.Reader) {
	header, err := ws.ReadHeader(in)
	if err == nil {
		_, err = in.Discard(int(header.Length))
	}
	if err != nil {
		b.Fatal(err)
	}
}

// cpu is the processor time of this process so far.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // cannot fail
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkDelivery sends events of about 180 bytes to one client, up to 16 in a flush.
func BenchmarkDelivery(b *testing.B) {
	for _, route := range routes {
		for _, burst := range []int{1, 16} {
			b.Run(fmt.Sprintf("%s/%d", route.name, burst), func(b *testing.B) {
				_, in, s := benched(b, route.carried)
				m, err := session.Emit{Namespace: "/", Event: "message:new", Args: []byte(`["` + strings.Repeat("x", 150) + `"]`)}.Encode()
				if err != nil {
					b.Fatal(err)
				}
				before := cpu()
				b.ResetTimer()
				for i := 0; i < b.N; i += burst {
					for range burst {
						s.Queue(m)
					}
					s.Flush()
					for range burst {
						read(b, in)
					}
				}
				b.ReportMetric(float64(cpu()-before)/float64(b.N), "cpu-ns/op")
			})
		}
	}
}

// BenchmarkRoundTrip has one client send an event and wait for its ack.
func BenchmarkRoundTrip(b *testing.B) {
	for _, route := range routes {
		b.Run(route.name, func(b *testing.B) {
			client, in, _ := benched(b, route.carried)
			before := cpu()
			b.ResetTimer()
			for range b.N {
				write(b, client, `421["echo","`+"hello"+`"]`)
				read(b, in)
			}
			b.ReportMetric(float64(cpu()-before)/float64(b.N), "cpu-ns/op")
		})
	}
}
