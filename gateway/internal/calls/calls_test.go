package calls

import (
	"bufio"
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/starling-chat/starling/gateway/internal/services"
	"github.com/starling-chat/starling/gateway/internal/stats"
	"github.com/starling-chat/starling/proto/fault"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// TestRepeatBudget: a service that is only slow does not get every request again.
func TestRepeatBudget(t *testing.T) {
	c := &Calls{budget: 2 * repeatPrice}
	for i, want := range []bool{true, true, false} {
		if got := c.mayRepeat(); got != want {
			t.Errorf("mayRepeat() #%d = %v, want %v", i, got, want)
		}
	}
	for range repeatPrice {
		c.earnRepeat()
	}
	if !c.mayRepeat() || c.mayRepeat() {
		t.Error("after as many answers as one costs, want one repeat")
	}
}

// TestNoReply: a request that gets no reply is given up within a Tick of its time, whenever between two ticks it was made.
func TestNoReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nc, err := nats.Connect("nats://bubble", nats.InProcessServer(deafServer{}), nats.NoReconnect())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		const left = 4300 * time.Millisecond
		log := slog.New(slog.DiscardHandler)
		st := stats.New(prometheus.NewRegistry(), func() int64 { return 0 })
		c := New(Config{MaxInFlight: 100, Timeout: left}, nc, services.NewCatalog(nil), st, log)
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = c.Run(ctx) })
		var requests []*unanswered
		for range 20 {
			time.Sleep(Tick / 7)
			r := &unanswered{began: time.Now()}
			requests = append(requests, r)
			c.Start(r, left)
		}
		time.Sleep(2 * left)
		synctest.Wait()
		for i, r := range requests {
			if r.kind != fault.Timeout || r.took < left || r.took > left+Tick {
				t.Errorf("request %d: %q after %v, want timeout after %v to %v", i, r.kind, r.took, left, left+Tick)
			}
		}
		stop()
		running.Wait()
	})
}

// unanswered is a request that notes when it was given up.
type unanswered struct {
	began time.Time
	kind  fault.Kind
	took  time.Duration
}

func (*unanswered) Subject() string                      { return "client.v1.root.silent" }
func (*unanswered) Len() int                             { return 1 }
func (*unanswered) Encode(int) []byte                    { return nil }
func (*unanswered) Gone() bool                           { return false }
func (*unanswered) Answered(*eventv1.ClientReply, Flush) {}
func (r *unanswered) Failed(_ string, f *fault.Error, _ Flush) {
	r.kind, r.took = f.Kind, time.Since(r.began)
}

// deafServer is a NATS server inside the bubble of a test: it takes everything and hands nothing on.
type deafServer struct{}

func (deafServer) InProcessConn() (net.Conn, error) {
	client, server := net.Pipe()
	go func() {
		defer server.Close() //nolint:errcheck // a test
		if _, err := server.Write([]byte("INFO {\"headers\":true,\"max_payload\":1048576}\r\n")); err != nil {
			return
		}
		for lines := bufio.NewScanner(server); lines.Scan(); {
			if strings.HasPrefix(lines.Text(), "PING") {
				if _, err := server.Write([]byte("PONG\r\n")); err != nil {
					return
				}
			}
		}
	}()
	return client, nil
}
