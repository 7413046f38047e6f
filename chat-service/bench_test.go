package chatservice_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	chatservice "github.com/starling-chat/starling/chat-service"
	"github.com/starling-chat/starling/platform/bus/bustest"
	"github.com/starling-chat/starling/platform/pg/pgserver"
	"github.com/starling-chat/starling/platform/settings"
	chatv1 "github.com/starling-chat/starling/proto/gen/starling/chat/v1"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// BenchmarkJourney is message:send as a gateway sees it: a request on NATS, answered after a commit that is flushed to
// disk, and published to the stream. NATS, PostgreSQL, the service and the senders share the machine.
func BenchmarkJourney(b *testing.B) {
	for _, rooms := range []int{50, 1} {
		b.Run(fmt.Sprintf("rooms=%d", rooms), func(b *testing.B) { benchmarkJourney(b, rooms) })
	}
}

func benchmarkJourney(b *testing.B, rooms int) {
	const senders = 400
	server := bustest.Server(b)
	database, err := pgserver.Start(b.Context(), pgserver.Config{DataDir: b.TempDir(), Durable: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = database.Stop(context.Background()) })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var cfg chatservice.Config
	if err := settings.Parse("chat-service", "", &cfg, []string{"--admin-listen="}); err != nil {
		b.Fatal(err)
	}
	cfg.Database.URL, cfg.NATS.URL, cfg.RPC.Listener = settings.URL(database.URL()), settings.URL(server.URL()), listener
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- chatservice.Run(ctx, cfg, slog.New(slog.DiscardHandler)) }()
	b.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.Errorf("Run = %v, want nil", err)
		}
	})
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	client := chatv1.NewChatServiceClient(conn)
	for {
		if _, err := client.GetHeads(b.Context(), &chatv1.GetHeadsRequest{RoomIds: []string{"x"}}); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	time.Sleep(1500 * time.Millisecond) // until the stream is there
	var wg sync.WaitGroup
	start := time.Now()
	for i := range senders {
		wg.Go(func() {
			e := event(fmt.Sprint("user", i), "/", "room:join", quote(fmt.Sprint("room", i%rooms)))
			if _, err := client.JoinRoom(b.Context(), &chatv1.JoinRoomRequest{Event: e}); err != nil {
				b.Errorf("JoinRoom: %v", err)
			}
		})
	}
	wg.Wait()
	b.ReportMetric(senders/time.Since(start).Seconds(), "joins/s")
	nc := bustest.Connect(b, server)
	to, _ := subject.ClientEvent("/", "message:send")
	var left, failed atomic.Int64
	left.Store(int64(b.N))
	latencies := make([][]time.Duration, senders)
	b.ResetTimer()
	for i := range senders {
		wg.Go(func() {
			for {
				n := left.Add(-1)
				if n < 0 {
					return
				}
				args, _ := json.Marshal([]any{map[string]any{
					"roomId": fmt.Sprint("room", i%rooms), "content": "The quick brown fox jumps over the lazy dog.",
					"clientMsgId": fmt.Sprint(i, "-", n),
				}})
				raw, _ := proto.Marshal(event(fmt.Sprint("user", i), "/", "message:send", string(args)))
				sent := time.Now()
				msg, err := nc.Request(to, raw, 30*time.Second)
				reply := &eventv1.ClientReply{}
				if err != nil || proto.Unmarshal(msg.Data, reply) != nil || reply.GetFault() != nil {
					failed.Add(1)
				}
				latencies[i] = append(latencies[i], time.Since(sent))
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "sends/s")
	all := slices.Concat(latencies...)
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "p99-ms")
	if failed.Load() > 0 {
		b.Errorf("%d sends failed", failed.Load())
	}
}
