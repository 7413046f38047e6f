package sessionstore

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/platform/bus/bustest"
	"github.com/starling-chat/starling/platform/bus/embedded"
	enginev1 "github.com/starling-chat/starling/proto/gen/starling/engine/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// gateway is a store on a connection of its own.
type gateway struct {
	*Store
	nc *nats.Conn
	kv jetstream.KeyValue // to write and to wait by hand, on the same connection

	mu        sync.Mutex // guards takenOver
	takenOver []string
}

// start starts the store of a gateway in its incarnation; it has its bucket.
func start(t *testing.T, broker *embedded.Server, id string, incarnation int64) *gateway {
	t.Helper()
	g := &gateway{nc: bustest.Connect(t, broker)}
	g.Store = New(Config{
		GatewayID: id, Incarnation: incarnation, Window: time.Minute, Replicas: 1, Bytes: 16 << 20,
	}, g.nc, sessiontest.Stats(), slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = g.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	select {
	case g.kv = <-g.Store.kv:
		g.Store.kv <- g.kv
	case <-time.After(30 * time.Second):
		t.Fatal("no bucket")
	}
	return g
}

func (g *gateway) takeover(pid string, done func()) {
	g.mu.Lock()
	g.takenOver = append(g.takenOver, pid)
	g.mu.Unlock()
	done()
}

// answers has the gateway answer takeovers that come by the bus.
func (g *gateway) answers(t *testing.T, id string) {
	t.Helper()
	if _, err := g.nc.Subscribe(subject.Engine(id), func(msg *nats.Msg) {
		var m enginev1.EngineMessage
		if err := proto.Unmarshal(msg.Data, &m); err != nil {
			t.Error(err)
		}
		g.takeover(m.GetTakeover().GetPid(), func() { _ = msg.Respond(nil) })
	}); err != nil {
		t.Fatal(err)
	}
	if err := g.nc.Flush(); err != nil {
		t.Fatal(err)
	}
}

// stored waits until everything that the gateway has written is in the bucket.
func (g *gateway) stored(t *testing.T) {
	t.Helper()
	if _, err := g.kv.Put(t.Context(), "stored", nil); err != nil {
		t.Fatal(err)
	}
}

func own(*enginev1.SessionState) bool { return true }

func state() *enginev1.SessionState {
	return &enginev1.SessionState{
		SocketId: "s", UserId: "u", Namespace: "/", Nonce: "n", Generation: 2,
		Rooms: []*enginev1.SessionRoom{{Index: 1, RoomId: "r", Seq: 7}},
	}
}

// TestEnded: the state of a socket whose gateway wrote its end comes back as it was saved.
func TestEnded(t *testing.T) {
	broker := bustest.Server(t)
	g1, g2 := start(t, broker, "g1", 1), start(t, broker, "g2", 1)
	g1.Save("p", state())
	g1.End("p", &enginev1.SessionEnd{Nonce: "n", Generation: 2})
	g1.stored(t)
	loaded, err := g2.Load(t.Context(), "p", own, g2.takeover)
	if err != nil {
		t.Fatalf("Load = %v", err)
	}
	want := state()
	want.GatewayId, want.Incarnation = "g1", 1
	if !proto.Equal(loaded.State, want) || time.Since(loaded.EndedAt) > 30*time.Second || len(g1.takenOver) != 0 {
		t.Errorf("Load = %v ended at %v, takeovers %q, want %v, just now, and nobody asked", loaded.State, loaded.EndedAt, g1.takenOver, want)
	}
}

func TestNotLoaded(t *testing.T) {
	broker := bustest.Server(t)
	g1, g2 := start(t, broker, "g1", 1), start(t, broker, "g2", 1)
	for name, tc := range map[string]struct {
		prepare func()
		own     func(*enginev1.SessionState) bool
		want    error
	}{
		"unknown":       {func() {}, own, jetstream.ErrKeyNotFound},
		"left for good": {func() { g1.End("p", &enginev1.SessionEnd{Nonce: "n", Generation: 2, Final: true}) }, own, ErrNoState},
		"later state":   {func() { g1.End("p", &enginev1.SessionEnd{Nonce: "n", Generation: 3}) }, own, ErrOldState},
		"foreign":       {func() {}, func(*enginev1.SessionState) bool { return false }, ErrForeign},
		"client gone meanwhile": {func() {}, func() func(*enginev1.SessionState) bool {
			asked := 0
			return func(*enginev1.SessionState) bool { asked++; return asked == 1 }
		}(), ErrForeign},
		"gateway of whom nobody has heard for long": {func() {
			if err := g1.kv.Purge(t.Context(), subject.GatewayAlive("g1", 1)); err != nil {
				t.Fatal(err)
			}
		}, own, ErrNoState},
	} {
		t.Run(name, func(t *testing.T) {
			if err := g1.kv.Purge(t.Context(), subject.SessionEnd("p")); err != nil {
				t.Fatal(err)
			}
			pid := "p"
			if errors.Is(tc.want, jetstream.ErrKeyNotFound) {
				pid = "unknown"
			}
			g1.Save("p", state())
			tc.prepare()
			g1.stored(t)
			if loaded, err := g2.Load(t.Context(), pid, tc.own, g2.takeover); !errors.Is(err, tc.want) {
				t.Errorf("Load = %v, %v, want %v", loaded, err, tc.want)
			}
		})
	}
}

// TestWindow: a socket whose connection ended long ago is not recovered.
func TestWindow(t *testing.T) {
	g := start(t, bustest.Server(t), "g1", 1)
	g.Save("p", state())
	g.End("p", &enginev1.SessionEnd{Nonce: "n", Generation: 2})
	g.stored(t)
	g.cfg.Window = time.Nanosecond
	if _, err := g.Load(t.Context(), "p", own, g.takeover); !errors.Is(err, ErrNoState) {
		t.Errorf("Load = %v, want %v", err, ErrNoState)
	}
}

// TestTakeover: whoever has the old connection is asked to end it, unless it is of an earlier process or says nothing any more.
func TestTakeover(t *testing.T) {
	broker := bustest.Server(t)
	g1 := start(t, broker, "g1", 2)
	g2 := start(t, broker, "g2", 1)
	g2.answers(t, "g2")
	dead := start(t, broker, "dead", 1)
	earlier := start(t, broker, "g1", 1)
	for _, from := range []struct {
		name    string
		gateway *gateway
		asked   *gateway // nil: nobody
	}{
		{"itself", g1, g1}, {"another", g2, g2}, {"a dead one", dead, nil}, {"its earlier process", earlier, nil},
	} {
		from.gateway.Save(from.name, state())
		from.gateway.End(from.name, &enginev1.SessionEnd{Nonce: "of an earlier connection"})
		from.gateway.stored(t)
		loaded, err := g1.Load(t.Context(), from.name, own, g1.takeover)
		if err != nil || time.Since(loaded.EndedAt) > 30*time.Second {
			t.Errorf("Load of a socket of %s = ended at %v, %v, want just now", from.name, loaded.EndedAt, err)
		}
		for _, g := range []*gateway{g1, g2, dead, earlier} {
			g.mu.Lock()
			if got := slices.Contains(g.takenOver, from.name); got != (g == from.asked) {
				t.Errorf("socket of %s: gateway %s/%d was asked: %v", from.name, g.cfg.GatewayID, g.cfg.Incarnation, got)
			}
			g.mu.Unlock()
		}
	}
}

// TestAdopt: of two gateways that loaded the same state, one gets the socket.
func TestAdopt(t *testing.T) {
	broker := bustest.Server(t)
	g1, g2 := start(t, broker, "g1", 1), start(t, broker, "g2", 1)
	g1.Save("p", state())
	g1.End("p", &enginev1.SessionEnd{Nonce: "n", Generation: 2})
	g1.stored(t)
	a, errA := g1.Load(t.Context(), "p", own, g1.takeover)
	b, errB := g2.Load(t.Context(), "p", own, g2.takeover)
	if errA != nil || errB != nil {
		t.Fatalf("Load = %v, %v", errA, errB)
	}
	next := state()
	next.Nonce = "next"
	if err := g2.Adopt(t.Context(), "p", next, b.Revision); err != nil {
		t.Errorf("first Adopt = %v", err)
	}
	if err := g1.Adopt(t.Context(), "p", state(), a.Revision); err == nil {
		t.Error("second Adopt = nil, want an error")
	}
	entry, err := g1.kv.Get(t.Context(), subject.SessionState("p"))
	if err != nil {
		t.Fatal(err)
	}
	var got enginev1.SessionState
	if err := proto.Unmarshal(entry.Value(), &got); err != nil || got.GetGatewayId() != "g2" || got.GetNonce() != "next" {
		t.Errorf("the state is %v, %v, want g2's", &got, err)
	}
}

// TestNoBucket: while there is no bucket, nothing is recovered, and nothing blocks.
func TestNoBucket(t *testing.T) {
	s := New(Config{GatewayID: "g1", Window: time.Minute}, bustest.Connect(t, bustest.Server(t)), sessiontest.Stats(), slog.New(slog.DiscardHandler))
	s.Save("p", state())
	if _, err := s.Load(t.Context(), "p", own, nil); !errors.Is(err, ErrNoState) {
		t.Errorf("Load = %v, want %v", err, ErrNoState)
	}
	if err := s.Adopt(t.Context(), "p", state(), 1); !errors.Is(err, ErrNoState) {
		t.Errorf("Adopt = %v, want %v", err, ErrNoState)
	}
}
