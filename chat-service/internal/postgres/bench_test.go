package postgres_test

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/postgres"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
	"github.com/starling-chat/starling/chat-service/internal/wire"
	"github.com/starling-chat/starling/platform/pg"
	"github.com/starling-chat/starling/platform/pg/pgserver"
)

// BenchmarkSend is 200 senders that each wait for the ack of one message before the next, against a PostgreSQL that
// flushes every commit. Nothing is published.
func BenchmarkSend(b *testing.B) {
	for _, rooms := range []int{50, 1} {
		for _, repeats := range []bool{false, true} {
			b.Run(fmt.Sprintf("rooms=%d/clientMsgId=%v", rooms, repeats), func(b *testing.B) { benchmarkSend(b, rooms, repeats) })
		}
	}
}

func benchmarkSend(b *testing.B, rooms int, ids bool) {
	const senders = 200
	cfg := durable(b)
	pool, err := pg.Open(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(pool.Close)
	if err := pg.AssertDurable(b.Context(), pool); err != nil {
		b.Fatal(err)
	}
	store := postgres.New(pool, wire.Codec{}, rules.Quotas{})
	store.Open()
	observer := &sizes{}
	w := runWriter(b, store, nowhere{}, observer, usecases.WriterConfig{Lanes: 2, BatchMax: 200, Queue: 4096, Timeout: 4 * time.Second})
	for i := range senders {
		room, user := benchRoom(i%rooms), chat.UserID(fmt.Sprintf("user-%d", i))
		if _, err := w.Do(b.Context(), rules.Join{Origin: rules.Origin{Room: room, User: user, Name: chat.Name{Text: "User"}}, Create: access.Public}); err != nil {
			b.Fatal(err)
		}
	}
	var left, failed atomic.Int64
	left.Store(int64(b.N))
	observer.reset()
	b.ResetTimer()
	var wg sync.WaitGroup
	for i := range senders {
		wg.Go(func() {
			for {
				n := left.Add(-1)
				if n < 0 {
					return
				}
				c := rules.Send{
					Origin: rules.Origin{
						Room: benchRoom(i % rooms), User: chat.UserID(fmt.Sprintf("user-%d", i)), Name: chat.Name{Text: "User"}, CausedAt: time.Now(),
					},
					Content: "The quick brown fox jumps over the lazy dog, again and again.", Type: "text",
				}
				if ids {
					c.ClientMsgID = fmt.Sprintf("0190-4d3f-%d-%d", i, n)
				}
				if _, err := w.Do(b.Context(), c); err != nil {
					failed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "sends/s")
	b.ReportMetric(observer.mean(), "batch")
	if failed.Load() > 0 {
		b.Errorf("%d sends failed", failed.Load())
	}
}

func benchRoom(i int) chat.RoomID { return chat.RoomID(fmt.Sprintf("room-%d", i)) }

// durable starts a PostgreSQL of its own with the settings of production.
func durable(b *testing.B) pg.Config {
	b.Helper()
	server, err := pgserver.Start(b.Context(), pgserver.Config{DataDir: b.TempDir(), Durable: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = server.Stop(b.Context()) })
	cfg := pg.Config{URL: settingsURL(server.URL()), Schema: "chat", MaxConns: 16}
	if err := pg.Migrate(b.Context(), cfg, postgres.Migrations(), slog.New(slog.DiscardHandler)); err != nil {
		b.Fatal(err)
	}
	return cfg
}

type sizes struct{ batches, commands atomic.Int64 }

func (s *sizes) Batch(size int, _ time.Duration) { s.batches.Add(1); s.commands.Add(int64(size)) }
func (s *sizes) reset()                          { s.batches.Store(0); s.commands.Store(0) }
func (s *sizes) mean() float64                   { return float64(s.commands.Load()) / float64(max(s.batches.Load(), 1)) }
