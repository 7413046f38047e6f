package postgres_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/postgres"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
	"github.com/starling-chat/starling/chat-service/internal/wire"
	"github.com/starling-chat/starling/platform/pg"
	"github.com/starling-chat/starling/platform/pg/pgtest"
	"github.com/starling-chat/starling/platform/settings"
)

func settingsURL(s string) settings.URL { return settings.URL(s) }

// nowhere is a Publisher that publishes nothing, as after a crash between commit and publication.
type nowhere struct{}

func (nowhere) Committed(chat.Outgoing)                                         {}
func (nowhere) Erase()                                                          {}
func (nowhere) Ephemeral(chat.RoomEvent) error                                  { return nil }
func (nowhere) Broadcast(string, chat.Emit, string) error                       { return nil }
func (nowhere) Notified(usecases.Notification) error                            { return nil }
func (nowhere) NotificationsRead(usecases.NotificationsRead, int, string) error { return nil }

func (nowhere) Batch(int, time.Duration) {}

// recorder keeps what was published, in order.
type recorder struct {
	nowhere

	mu     sync.Mutex
	events []chat.EncodedEvent
}

func (r *recorder) Committed(out chat.Outgoing) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, out.Events...)
}

func database(t testing.TB) pg.Config {
	cfg := pgtest.New(t, postgres.Migrations(), "chat")
	cfg.GenericPlans = postgres.GenericPlans
	return cfg
}

// open gives another replica's Store.
func open(t testing.TB, cfg pg.Config) *postgres.Store {
	t.Helper()
	pool, err := pg.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	store := postgres.New(pool, wire.Codec{}, rules.Quotas{})
	store.Open()
	return store
}

func runWriter(t testing.TB, store usecases.Store, p usecases.Publisher, o usecases.Observer, cfg usecases.WriterConfig) *usecases.Writer {
	t.Helper()
	w := usecases.NewWriter(store, p, o, cfg, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { _ = w.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return w
}

func writer(t testing.TB, store usecases.Store, p usecases.Publisher) *usecases.Writer {
	return runWriter(t, store, p, nowhere{}, writerConfig(30*time.Second))
}

// writerConfig has a Writer give up after timeout.
func writerConfig(timeout time.Duration) usecases.WriterConfig {
	return usecases.WriterConfig{Lanes: 4, BatchMax: 200, Queue: 4096, Timeout: timeout}
}
