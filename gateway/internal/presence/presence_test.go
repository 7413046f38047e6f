package presence

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/gateway/internal/transport"
	"github.com/starling-chat/starling/platform/bus/bustest"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// world is the presence of gateway g1 in its incarnation 7, and presence-service's end of the bus.
type world struct {
	presence *Presence
	sockets  *sessiontest.Sockets
	service  *nats.Conn
	stop     func()
}

// newWorld prepares a presence; run starts it.
func newWorld(t *testing.T, lease time.Duration) *world {
	t.Helper()
	broker := bustest.Server(t)
	nc := bustest.Connect(t, broker)
	w := &world{sockets: sessiontest.NewSockets(t), service: bustest.Connect(t, broker)}
	w.presence = New(Config{
		GatewayID: "g1", Incarnation: 7, LeaseInterval: lease,
	}, nc, slog.New(slog.DiscardHandler))
	if _, err := nc.Subscribe(subject.PresenceSnapshot("g1"), w.presence.Snapshot); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = w.presence.Run(ctx) }()
	w.stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(w.stop)
}

func (w *world) snapshot(t *testing.T) *eventv1.PresenceSnapshot {
	t.Helper()
	msg, err := w.service.Request(subject.PresenceSnapshot("g1"), nil, sessiontest.Patience)
	if err != nil {
		t.Fatalf("snapshot: %v", err)
	}
	var s eventv1.PresenceSnapshot
	if err := proto.Unmarshal(msg.Data, &s); err != nil {
		t.Fatalf("snapshot: %v", err)
	}
	return &s
}

// observer is presence-service's model of one gateway.
type observer struct {
	t *testing.T

	mu      sync.Mutex // guards what follows
	version uint64
	sockets map[string]string
	leases  int
	ended   bool
}

func observe(t *testing.T, w *world) *observer {
	t.Helper()
	o := &observer{t: t, sockets: map[string]string{}}
	msgs := make(chan *nats.Msg, 10000)
	for _, subj := range []string{subject.PresenceDelta, subject.PresenceLease} {
		if _, err := w.service.ChanSubscribe(subj, msgs); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.service.Flush(); err != nil {
		t.Fatal(err)
	}
	done, quit := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case m := <-msgs:
				o.received(m)
			case <-quit:
				return
			}
		}
	}()
	t.Cleanup(func() { close(quit); <-done })
	return o
}

func (o *observer) received(m *nats.Msg) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if m.Subject == subject.PresenceDelta {
		var d eventv1.PresenceDelta
		_ = proto.Unmarshal(m.Data, &d)
		o.delta(&d)
		return
	}
	var l eventv1.PresenceLease
	_ = proto.Unmarshal(m.Data, &l)
	o.leases++
	o.ended = l.GetEnding()
	var digest uint64
	for id := range o.sockets {
		digest ^= digestOf(id)
	}
	if l.GetVersion() != o.version || int(l.GetSockets()) != len(o.sockets) || l.GetDigest() != digest {
		o.t.Errorf("lease of version %d with %d sockets (%x), want %d with %d (%x)", l.GetVersion(), l.GetSockets(), l.GetDigest(), o.version, len(o.sockets), digest)
	}
}

func (o *observer) delta(d *eventv1.PresenceDelta) {
	if d.GetVersion() != o.version+1 || d.GetGatewayId() != "g1" || d.GetIncarnation() != 7 {
		o.t.Errorf("delta %d of %s/%d after %d, want no hole", d.GetVersion(), d.GetGatewayId(), d.GetIncarnation(), o.version)
	}
	o.version = d.GetVersion()
	for _, up := range d.GetUp() {
		o.sockets[up.GetSocketId()] = up.GetUserId()
	}
	for _, down := range d.GetDown() {
		if _, known := o.sockets[down]; !known {
			o.t.Errorf("socket %s went without having come", down)
		}
		delete(o.sockets, down)
	}
}

func (o *observer) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.sockets)
}

func (o *observer) wantCount(want int) {
	o.t.Helper()
	sessiontest.Eventually(o.t, func() bool { return o.count() == want }, func() string {
		return fmt.Sprintf("%d sockets are announced, want %d", o.count(), want)
	})
}

// TestConsistent: at every moment deltas, leases and snapshots tell the same.
func TestConsistent(t *testing.T) {
	w := newWorld(t, 5*time.Millisecond)
	o := observe(t, w)
	w.run(t)
	var coming sync.WaitGroup
	stay := make(chan *Claim, 100)
	for i := range 10 {
		coming.Go(func() {
			for n := range 10 {
				s, _ := w.sockets.New(t, "/", fmt.Sprint("u", i))
				c := new(Claim)
				w.presence.Up(s, c)
				if n%2 == 0 {
					stay <- c
				} else {
					w.presence.Down(c)
				}
			}
		})
	}
	for range 30 {
		s := w.snapshot(t)
		if s.GetPages() != 1 {
			t.Errorf("snapshot has %d pages, want 1", s.GetPages())
		}
		// The delta of its version came before it, on the same connection, and is taken in by now or soon.
		sessiontest.Eventually(t, func() bool { o.mu.Lock(); defer o.mu.Unlock(); return o.version >= s.GetVersion() }, func() string { return "deltas do not come" })
		o.mu.Lock()
		if o.version == s.GetVersion() && len(o.sockets) != len(s.GetSockets()) {
			t.Errorf("snapshot of version %d has %d sockets, want %d", s.GetVersion(), len(s.GetSockets()), len(o.sockets))
		}
		o.mu.Unlock()
	}
	coming.Wait()
	o.wantCount(50)
	for range 50 {
		w.presence.Down(<-stay)
	}
	o.wantCount(0)
	sessiontest.Eventually(t, func() bool { o.mu.Lock(); defer o.mu.Unlock(); return o.leases > 5 }, func() string { return "the lease is not renewed" })
	w.stop()
	sessiontest.Eventually(t, func() bool { o.mu.Lock(); defer o.mu.Unlock(); return o.ended }, func() string { return "the lease is not ended" })
}

// TestClaim: a socket is announced once and withdrawn once, and one that is gone already is never announced.
func TestClaim(t *testing.T) {
	w := newWorld(t, time.Hour)
	s, _ := w.sockets.New(t, "/", "u")
	other, _ := w.sockets.New(t, "/", "other")
	var c, gone, stays Claim
	steps := []struct {
		name string
		do   func()
		want []string
	}{
		{"up", func() { w.presence.Up(s, &c) }, []string{s.ID}},
		{"up again", func() { w.presence.Up(s, &c) }, []string{s.ID}},
		{"another", func() { w.presence.Up(other, &stays) }, []string{s.ID, other.ID}},
		{"down", func() { w.presence.Down(&c) }, []string{other.ID}},
		{"down again", func() { w.presence.Down(&c) }, []string{other.ID}},
		{"up after down", func() { w.presence.Up(s, &c) }, []string{other.ID}},
		{"down before up", func() { w.presence.Down(&gone); w.presence.Up(s, &gone) }, []string{other.ID}},
	}
	for _, step := range steps {
		step.do()
		var got []string
		for _, ref := range w.snapshot(t).GetSockets() {
			got = append(got, ref.GetSocketId())
		}
		if !slices.Equal(got, step.want) {
			t.Errorf("after %s the snapshot is %q, want %q", step.name, got, step.want)
		}
	}
}

// TestPages: a snapshot of many sockets comes in several messages.
// TestRecoveredAtOnce: a socket that is recovered here right after its end has the id of the one before it, and stays announced.
func TestRecoveredAtOnce(t *testing.T) {
	w := newWorld(t, 5*time.Millisecond)
	o := observe(t, w)
	w.run(t)
	s, _ := w.sockets.New(t, "/", "ann")
	before := new(Claim)
	w.presence.Up(s, before)
	for range 20 {
		now := new(Claim)
		w.presence.Down(before)
		w.presence.Up(s, now)
		before = now
	}
	last, _ := w.sockets.New(t, "/", "bob") // announced behind all of it
	w.presence.Up(last, new(Claim))
	o.wantCount(2)
}

func TestPages(t *testing.T) {
	w := newWorld(t, time.Hour)
	s, _ := w.sockets.New(t, "/chat", "u")
	for range deltaSize + 1 {
		w.presence.Up(s, new(Claim))
	}
	inbox := w.service.NewInbox()
	sub, err := w.service.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.service.PublishRequest(subject.PresenceSnapshot("g1"), inbox, nil); err != nil {
		t.Fatal(err)
	}
	for page, want := range []int{deltaSize, 1} {
		msg, err := sub.NextMsg(sessiontest.Patience)
		if err != nil {
			t.Fatalf("page %d: %v", page, err)
		}
		var got eventv1.PresenceSnapshot
		if err := proto.Unmarshal(msg.Data, &got); err != nil || int(got.GetPage()) != page || got.GetPages() != 2 || len(got.GetSockets()) != want {
			t.Errorf("page %d of %d has %d sockets, %v, want page %d of 2 with %d", got.GetPage(), got.GetPages(), len(got.GetSockets()), err, page, want)
		}
	}
}

// TestDeltasComeSoonInAStorm: a steady stream of connects does not put the deltas off.
func TestDeltasComeSoonInAStorm(t *testing.T) {
	w := newWorld(t, time.Hour)
	o := observe(t, w)
	w.run(t)
	// The connects go on until a delta is heard.
	sessiontest.Eventually(t, func() bool {
		s, _ := w.sockets.New(t, "/chat", "u")
		w.presence.Up(s, new(Claim))
		return o.count() > 0
	}, func() string { return "no delta while sockets connect" })
}

// TestOnline: everyone gets what is new, and who comes gets the present list, unless the next one brings it. Where the list is not
// complete nobody gets anything, but that it has ended being complete.
func TestOnline(t *testing.T) {
	w := newWorld(t, time.Hour)
	change := func(l *eventv1.OnlineUsers, want string) {
		t.Helper()
		raw, err := proto.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		if got := text(w.presence.Online(raw)); got != want {
			t.Errorf("everyone gets %q after %v, want %q", got, l, want)
		}
	}
	comes := func(namespace, user string, want ...string) {
		t.Helper()
		s, client := w.sockets.New(t, namespace, user)
		w.presence.Up(s, new(Claim))
		if got := client.Packets(); !slices.Equal(got, want) {
			t.Errorf("%s on %s gets %q, want %q", user, namespace, got, want)
		}
	}
	comes("/", "early")
	complete := &eventv1.OnlineUsers{UserIds: []string{"a", `q"`}, Count: 2, Complete: true}
	change(complete, `42["users:online",["a","q\""]]`)
	change(complete, "")
	comes("/", "a", `42["users:online",["a","q\""]]`)
	comes("/", "late") // the next list brings it
	comes("/chat", "a")
	change(&eventv1.OnlineUsers{Count: 600}, `42["presence:update",{"online":[],"offline":[],"count":600}]`)
	change(&eventv1.OnlineUsers{Count: 601}, "")
	// A presence-service of the last release names the first users and who changed.
	change(&eventv1.OnlineUsers{UserIds: []string{"a", "b"}, Count: 602, Online: []string{"b"}, Offline: []string{"x"}}, "")
	comes("/", "a")
	comes("/", "many")
	change(complete, `42["users:online",["a","q\""]]`)
	change(&eventv1.OnlineUsers{}, "") // nobody is to know any more
	comes("/", "a")
	if w.presence.Online([]byte("no list")) != nil {
		t.Error("everyone gets what cannot be decoded, want nothing")
	}
}

func text(m *transport.Message) string {
	if m == nil {
		return ""
	}
	return string(m.Text())
}
