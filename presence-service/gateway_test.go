package presenceservice_test

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/presence-service/internal/presence"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

const (
	heartbeat = 300 * time.Millisecond // for a lease expiry of testExpiry
	pageSize  = 2                      // sockets, so that snapshots have pages
)

// fakeGateway tells what a gateway tells.
type fakeGateway struct {
	t           testing.TB
	conn        *nats.Conn
	id          string
	incarnation int64

	mu      sync.Mutex // guards all below
	version uint64
	sockets map[string]string // socket id → user id
	deaf    bool              // deltas are lost

	stop  chan struct{}
	stops sync.Once
	done  sync.WaitGroup
}

func startGateway(t testing.TB, conn *nats.Conn, id string) *fakeGateway {
	g := &fakeGateway{t: t, conn: conn, id: id, incarnation: time.Now().UnixNano(), sockets: map[string]string{}, stop: make(chan struct{})}
	sub, err := conn.Subscribe(subject.PresenceSnapshot(id), g.snapshot)
	if err != nil {
		t.Fatal(err)
	}
	g.done.Go(func() {
		defer func() { _ = sub.Unsubscribe() }()
		tick := time.NewTicker(heartbeat)
		defer tick.Stop()
		for {
			g.lease(false)
			select {
			case <-g.stop:
				return
			case <-tick.C:
			}
		}
	})
	t.Cleanup(g.kill)
	return g
}

// kill ends it as kill -9 does: it just says nothing any more.
func (g *fakeGateway) kill() {
	g.stops.Do(func() { close(g.stop) })
	g.done.Wait()
}

// end ends it with a goodbye.
func (g *fakeGateway) end() {
	g.kill()
	g.lease(true)
}

// change tells of sockets by user that came and went.
func (g *fakeGateway) change(up map[string]string, down ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.version++
	d := &eventv1.PresenceDelta{GatewayId: g.id, Incarnation: g.incarnation, Version: g.version, Down: down}
	for socket, user := range up {
		g.sockets[socket] = user
		d.Up = append(d.Up, &eventv1.SocketRef{SocketId: socket, UserId: user})
	}
	for _, socket := range down {
		delete(g.sockets, socket)
	}
	if !g.deaf {
		g.publish(subject.PresenceDelta, d)
	}
}

func (g *fakeGateway) lease(ending bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	l := &eventv1.PresenceLease{
		GatewayId: g.id, Incarnation: g.incarnation, Version: g.version, Sockets: uint32(len(g.sockets)), Ending: ending,
	}
	for socket := range g.sockets {
		l.Digest ^= presence.HashSocket(presence.SocketID(socket))
	}
	g.publish(subject.PresenceLease, l)
}

func (g *fakeGateway) snapshot(m *nats.Msg) {
	g.mu.Lock()
	defer g.mu.Unlock()
	ids := slices.Sorted(maps.Keys(g.sockets))
	pages := max(1, (len(ids)+pageSize-1)/pageSize)
	for page := range pages {
		p := &eventv1.PresenceSnapshot{
			GatewayId: g.id, Incarnation: g.incarnation, Version: g.version, Page: uint32(page), Pages: uint32(pages),
		}
		for _, socket := range ids[page*pageSize : min(len(ids), (page+1)*pageSize)] {
			p.Sockets = append(p.Sockets, &eventv1.SocketRef{SocketId: socket, UserId: g.sockets[socket]})
		}
		g.publish(m.Reply, p)
	}
}

// publish may fail while NATS is away: that is a loss like any other.
func (g *fakeGateway) publish(subject string, m proto.Message) {
	raw, err := proto.Marshal(m)
	if err != nil {
		g.t.Error(err)
		return
	}
	_ = g.conn.Publish(subject, raw)
}

// watch collects what is published about who is online.
type watch struct {
	t   testing.TB
	mu  sync.Mutex // guards all below
	all []published
}

type published struct {
	at      time.Time
	replica string
	users   []string
	count   uint32
}

func watchOnline(t testing.TB, conn *nats.Conn) *watch {
	w := &watch{t: t}
	sub, err := conn.Subscribe(subject.PresenceOnline, func(m *nats.Msg) {
		var o eventv1.OnlineUsers
		if err := proto.Unmarshal(m.Data, &o); err != nil {
			t.Error(err)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.all = append(w.all, published{time.Now(), m.Header.Get("Starling-Replica"), o.GetUserIds(), o.GetCount()})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sub.Unsubscribe() })
	return w
}

// await blocks until a message that came after since names exactly users, and returns it.
func (w *watch) await(since time.Time, within time.Duration, users ...string) published {
	w.t.Helper()
	var found published
	eventually(w.t, within, fmt.Sprintf("online = %v", users), func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, p := range w.all {
			if p.at.After(since) && slices.Equal(p.users, users) {
				found = p
				return true
			}
		}
		return false
	})
	return found
}

func (w *watch) since(t time.Time) []published {
	w.mu.Lock()
	defer w.mu.Unlock()
	var found []published
	for _, p := range w.all {
		if p.at.After(t) {
			found = append(found, p)
		}
	}
	return found
}

// replicas lists who published after t.
func (w *watch) replicas(t time.Time) []string {
	var ids []string
	for _, p := range w.since(t) {
		if !slices.Contains(ids, p.replica) {
			ids = append(ids, p.replica)
		}
	}
	return ids
}

func eventually(t testing.TB, within time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", within, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
