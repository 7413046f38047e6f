package publisher

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/postgres"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/wire"
	"github.com/starling-chat/starling/platform/bus/bustest"
	"github.com/starling-chat/starling/platform/pg"
	"github.com/starling-chat/starling/platform/pg/pgtest"
	"github.com/starling-chat/starling/proto/limits"
	"github.com/starling-chat/starling/proto/subject"
)

type rig struct {
	t     *testing.T
	nc    *nats.Conn
	js    jetstream.JetStream
	store *postgres.Store
	live  *nats.Subscription
	seq   int
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, nc: bustest.New(t)}
	pool, err := pg.Open(t.Context(), pgtest.New(t, postgres.Migrations(), "chat"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	r.store = postgres.New(pool, wire.Codec{}, rules.Quotas{})
	r.store.Open()
	if r.js, err = jetstream.New(r.nc); err != nil {
		t.Fatal(err)
	}
	if r.live, err = r.nc.SubscribeSync(subject.Room("r")); err != nil {
		t.Fatal(err)
	}
	return r
}

// run starts a Publisher; stop ends it.
func (r *rig) run(skipFastPath bool) (p *Publisher, stop func()) {
	r.t.Helper()
	p, err := New(r.nc, r.store, Config{
		Stream:     StreamConfig{Replicas: 1, MaxAge: time.Hour, MaxBytes: 1 << 24, Duplicates: 20 * time.Second},
		RelayPause: 50 * time.Millisecond, SkipFastPath: skipFastPath,
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("Run = %v, want nil", err)
		}
	})
	r.t.Cleanup(stop)
	return p, stop
}

// commit writes n messages in one transaction and hands them to the publisher.
func (r *rig) commit(p *Publisher, n int) {
	r.t.Helper()
	ann := rules.Origin{Room: "r", User: "ann"}
	commands := []rules.Command{}
	if r.seq == 0 {
		commands = append(commands, rules.Join{Origin: ann, Create: access.Public})
	}
	for range n {
		commands = append(commands, rules.Send{Origin: ann, Content: "x", Type: "text"})
	}
	_, out, err := r.store.Prepare(commands).Commit(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	r.seq += len(commands)
	p.Committed(out)
}

// wantLive reads events of the room, each once: those that come through the stream, or those that go live without it. Where the
// stream is to have them, a slow one may be taken for one that is away: then they go live as well.
func (r *rig) wantLive(from, to int, streamed bool) {
	r.t.Helper()
	for seq := from; seq <= to; {
		msg, err := r.live.NextMsg(30 * time.Second)
		if err != nil {
			r.t.Fatalf("event %d: %v", seq, err)
		}
		position := msg.Header.Get("Nats-Sequence")
		if streamed && position == "" {
			continue
		}
		events, err := wire.SplitBatch(msg.Data)
		if err != nil || len(events) == 0 {
			r.t.Fatalf("message of %d events, %v, want some", len(events), err)
		}
		for _, e := range events {
			if e.Seq != uint64(seq) {
				r.t.Fatalf("event = %d, want %d", e.Seq, seq)
			}
			seq++
		}
		if !streamed && position != "" {
			r.t.Errorf("event %d came through the stream, want it live", seq)
		}
	}
}

func (r *rig) wantLag(want int) {
	r.t.Helper()
	eventually(r.t, fmt.Sprint("outbox rows ", want), func() bool {
		rows, _, err := r.store.Lag(r.t.Context())
		return err == nil && rows == want
	})
}

func (r *rig) wantStream(p *Publisher) {
	r.t.Helper()
	eventually(r.t, "stream in use", func() bool { return !p.Degraded() })
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for until := time.Now().Add(30 * time.Second); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("%s: not within 30 s", what)
		}
	}
}

func TestFastPath(t *testing.T) {
	r := newRig(t)
	p, stop := r.run(false)
	r.wantStream(p)
	for range 20 {
		r.commit(p, 10)
	}
	r.wantLive(1, 201, true)
	stop() // deletes what is acknowledged
	r.wantLag(0)
}

func TestRelayAfterCrash(t *testing.T) {
	r := newRig(t)
	p, stop := r.run(true)
	r.wantStream(p)
	r.commit(p, 3)
	r.commit(p, 3)
	stop()
	r.wantLag(2)
	second, _ := r.run(false)
	r.wantStream(second)
	r.wantLive(1, 7, true)
	r.wantLag(0)
}

func TestStreamWiped(t *testing.T) {
	r := newRig(t)
	p, _ := r.run(false)
	r.wantStream(p)
	r.commit(p, 1)
	r.wantLive(1, 2, true)
	if err := r.js.DeleteStream(t.Context(), subject.RoomsStream); err != nil {
		t.Fatal(err)
	}
	// It cannot be made again while another stream has one of its subjects.
	_, err := r.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "OTHER", Subjects: []string{subject.RoomLog("other")}})
	if err != nil {
		t.Fatal(err)
	}
	r.commit(p, 2) // refused by nobody there: goes live
	r.wantLive(3, 4, false)
	r.commit(p, 1)
	r.wantLive(5, 5, false)
	// The stream comes back and gets what it missed; gateways drop the repeats.
	if err := r.js.DeleteStream(t.Context(), "OTHER"); err != nil {
		t.Fatal(err)
	}
	r.wantStream(p)
	r.wantLive(3, 5, true)
	r.wantLag(0)
	r.commit(p, 1)
	r.wantLive(6, 6, true)
}

// TestNoJetStream sends before any stream could be made.
func TestNoJetStream(t *testing.T) {
	r := newRig(t)
	_, err := r.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"roomlog.v1.>"}})
	if err != nil { // it takes the subjects, so that ROOMS cannot be made
		t.Fatal(err)
	}
	p, _ := r.run(false)
	r.commit(p, 2)
	r.wantLive(1, 3, false)
	time.Sleep(1500 * time.Millisecond)
	if !p.Degraded() {
		t.Error("Degraded = false without the stream, want true")
	}
	r.wantLag(1)
	if err := r.js.DeleteStream(t.Context(), "OTHER"); err != nil {
		t.Fatal(err)
	}
	r.wantStream(p)
	r.wantLive(1, 3, true)
	r.wantLag(0)
}

func TestMessageIDs(t *testing.T) {
	id := func(room string, first, last uint64) string {
		return messageID(subject.RoomLog(room), wire.Chunk{Room: chat.RoomID(room), First: first, Last: last})
	}
	logs := []string{limits.UserLog("ann"), limits.UserLog("user 37")} // of one shard
	if subject.RoomLog(logs[0]) != subject.RoomLog(logs[1]) {
		t.Fatalf("the logs have the subjects %s and %s, want one", subject.RoomLog(logs[0]), subject.RoomLog(logs[1]))
	}
	ids := []string{
		id(logs[0], 1, 1), id(logs[1], 1, 1),
		id("general", 1, 1), id("general", 1, 2), id("general", 2, 2), id("a.b *", 1, 1), id(uuid.NewString()+uuid.NewString(), 1, 1),
	}
	if slices.Sort(ids); len(slices.Compact(ids)) != 7 {
		t.Errorf("message ids %v are not distinct", ids)
	}
}
