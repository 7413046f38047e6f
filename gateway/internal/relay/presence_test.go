package relay

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/gateway/internal/transport"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// observer is presence-service's model of one gateway.
type observer struct {
	t *testing.T

	mu      sync.Mutex
	version uint64
	sockets map[string]string
	leases  int
	ended   bool
}

func observe(t *testing.T, w *world) *observer {
	o := &observer{t: t, sockets: map[string]string{}}
	msgs := make(chan *nats.Msg, 10000)
	for _, subj := range []string{subject.PresenceDelta, subject.PresenceLease} {
		if _, err := w.service.ChanSubscribe(subj, msgs); err != nil {
			t.Fatal(err)
		}
	}
	_ = w.service.Flush()
	done := make(chan struct{})
	quit := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case m := <-msgs:
				o.take(m)
			case <-quit:
				return
			}
		}
	}()
	t.Cleanup(func() { close(quit); <-done })
	return o
}

func (o *observer) take(m *nats.Msg) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if m.Subject == subject.PresenceDelta {
		var d eventv1.PresenceDelta
		_ = proto.Unmarshal(m.Data, &d)
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
		return
	}
	var l eventv1.PresenceLease
	_ = proto.Unmarshal(m.Data, &l)
	o.leases++
	o.ended = l.GetEnding()
	var digest uint64
	for id := range o.sockets {
		digest ^= socketHash(id)
	}
	if l.GetVersion() != o.version || int(l.GetSockets()) != len(o.sockets) || l.GetDigest() != digest {
		o.t.Errorf("lease of version %d with %d sockets (%x), want %d with %d (%x)", l.GetVersion(), l.GetSockets(), l.GetDigest(), o.version, len(o.sockets), digest)
	}
}

func (o *observer) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.sockets)
}

// TestPresenceIsConsistent: at every moment deltas, leases and snapshots tell the same.
func TestPresenceIsConsistent(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.LeaseInterval, c.MaxHandshakes = 5*time.Millisecond, 1000 })
	o := observe(t, w)
	var wg sync.WaitGroup
	stay := make(chan *sessiontest.Conn, 100)
	for i := range 10 {
		wg.Go(func() {
			for n := range 10 {
				c := w.connect(t, fmt.Sprint("u", i))
				if n%2 == 0 {
					stay <- c
					continue
				}
				c.Say("1")
				c.WaitEnded(t)
			}
		})
	}
	snapshots := make(chan struct{})
	go func() {
		defer close(snapshots)
		for range 30 {
			msg, err := w.service.Request(subject.PresenceSnapshot("g1"), nil, sessiontest.Patience)
			if err != nil {
				t.Errorf("snapshot: %v", err)
				return
			}
			var s eventv1.PresenceSnapshot
			if err := proto.Unmarshal(msg.Data, &s); err != nil || s.GetPages() != 1 {
				t.Errorf("snapshot has %d pages, %v, want 1", s.GetPages(), err)
			}
			// The delta of its version came before it, on the same connection, and is taken in by now or soon.
			sessiontest.Eventually(t, func() bool { o.mu.Lock(); defer o.mu.Unlock(); return o.version >= s.GetVersion() }, func() string { return "deltas do not come" })
			o.mu.Lock()
			if o.version == s.GetVersion() && len(o.sockets) != len(s.GetSockets()) {
				t.Errorf("snapshot of version %d has %d sockets, want %d", s.GetVersion(), len(s.GetSockets()), len(o.sockets))
			}
			o.mu.Unlock()
			time.Sleep(time.Millisecond)
		}
	}()
	wg.Wait()
	<-snapshots
	sessiontest.Eventually(t, func() bool { return o.count() == 50 }, func() string { return fmt.Sprintf("%d sockets, want 50", o.count()) })
	for range 50 {
		(<-stay).Say("1")
	}
	sessiontest.Eventually(t, func() bool { return o.count() == 0 }, func() string { return fmt.Sprintf("%d sockets, want 0", o.count()) })
	w.stop()
	sessiontest.Eventually(t, func() bool { o.mu.Lock(); defer o.mu.Unlock(); return o.ended && o.leases > 5 }, func() string { return "the lease is not ended" })
}

// TestDeltasComeSoonInAStorm: a steady stream of connects does not put the deltas off.
func TestDeltasComeSoonInAStorm(t *testing.T) {
	w := newWorld(t, nil)
	o := observe(t, w)
	for end := time.Now().Add(10 * deltaInterval); time.Now().Before(end); time.Sleep(deltaInterval / 8) {
		w.connect(t, "u")
	}
	if o.count() == 0 {
		t.Errorf("no delta in %v of connects, want one every %v", 10*deltaInterval, deltaInterval)
	}
}

func TestOnlineList(t *testing.T) {
	w := newWorld(t, nil)
	early := w.connect(t, "early")
	online := func(l *eventv1.OnlineUsers) { w.send(t, subject.PresenceOnline, l) }
	online(&eventv1.OnlineUsers{UserIds: []string{"a", "early"}, Count: 2, Complete: true})
	sees(t, early, `42["users:online",["a","early"]]`)
	online(&eventv1.OnlineUsers{UserIds: []string{"a", "early"}, Count: 2, Complete: true}) // repeated: for nobody
	a := w.connect(t, "a")
	a.Say(`40/chat,{"token":"a"}`)
	a.WaitFor(t, "40/chat")
	online(&eventv1.OnlineUsers{UserIds: []string{`q"`}, Count: 1, Complete: true})
	sees(t, early, `42["users:online",["a","early"]]`, `42["users:online",["q\""]]`)
	late, _ := w.enter(t, "late") // not in the list: it comes with the next one
	online(&eventv1.OnlineUsers{UserIds: []string{"late"}, Count: 1, Complete: true})
	late.WaitFor(t, `42["users:online",["late"]]`)
	listed, _ := w.enter(t, "late")
	listed.WaitFor(t, `42["users:online",["late"]]`)

	early.Forget()
	online(&eventv1.OnlineUsers{UserIds: []string{"a", "b"}, Count: 600, Online: []string{"b"}, Offline: []string{"x"}})
	sees(t, early, `42["presence:update",{"online":["b"],"offline":["x"],"count":600}]`)
	many, _ := w.enter(t, "many")
	many.WaitFor(t, `42["presence:update",{"online":["a","b"],"offline":[],"count":600}]`)
}

func TestRevocation(t *testing.T) {
	w := newWorld(t, nil)
	before, after := timestamppb.New(issued.Add(-time.Second)), timestamppb.New(issued.Add(time.Second))
	phone, laptop, other := w.connect(t, "u.phone"), w.connect(t, "u.laptop"), w.connect(t, "other.x")
	revoke := func(rev *eventv1.Revocation, want int32) {
		t.Helper()
		raw, _ := proto.Marshal(w.auth.revoke(rev))
		msg, err := w.service.Request(subject.Revoked, raw, sessiontest.Patience)
		if err != nil {
			t.Fatalf("revocation: %v", err)
		}
		var reply eventv1.RevocationReply
		if err := proto.Unmarshal(msg.Data, &reply); err != nil || reply.GetClosed() != want || reply.GetGatewayId() != "g1" {
			t.Errorf("reply = %v, %v, want %d closed", &reply, err, want)
		}
	}
	open := func(want bool, conns ...*sessiontest.Conn) {
		t.Helper()
		for _, c := range conns {
			if _, _, ended := c.Ended(); ended == want {
				t.Errorf("conn open = %v, want %v", !ended, want)
			}
		}
	}
	revoke(&eventv1.Revocation{UserId: "u", RevokedAt: before}, 0)                  // issued after it
	revoke(&eventv1.Revocation{UserId: "u", RevokedAt: timestamppb.New(issued)}, 0) // in the same millisecond: auth-service lets it in
	revoke(&eventv1.Revocation{UserId: "u", LoginId: "unknown", RevokedAt: after}, 0)
	open(true, phone, laptop, other)
	revoke(&eventv1.Revocation{UserId: "u", LoginId: "phone", RevokedAt: after}, 1)
	if code, reason := phone.WaitEnded(t); code != transport.CodeNormal || reason != transport.ReasonServer || phone.Packets()[0] != "41" {
		t.Errorf("closed with %d, %s after %q, want 1000, server after 41", code, reason, phone.Packets())
	}
	open(true, laptop, other)

	// A revocation that came while a token was on its way from the check to the registry.
	c, _ := w.enter(t, "u.phone")
	if _, reason := c.WaitEnded(t); reason != transport.ReasonServer {
		t.Errorf("closed for %s, want server", reason)
	}

	// One that the bus lost is caught up with.
	w.auth.revoke(&eventv1.Revocation{UserId: "u", RevokedAt: after})
	w.relay.Resync()
	laptop.WaitEnded(t)
	open(true, other)
}

func TestTokenExpires(t *testing.T) {
	w := newWorld(t, nil)
	w.auth.expires = time.Now().Add(-time.Second)
	c, _ := w.enter(t, "u")
	if code, reason := c.WaitEnded(t); code != transport.CodePolicy || reason != transport.ReasonExpired {
		t.Errorf("closed with %d, %s, want 1008, expired", code, reason)
	}
	if strings.Contains(strings.Join(c.Queued(), " "), "41") {
		t.Error("the socket was disconnected for good, want the transport closed: the client comes back")
	}
}

func TestRefresh(t *testing.T) {
	w := newWorld(t, nil)
	c := w.connect(t, "u.first")
	for say, want := range map[string]string{
		`421["auth:refresh",{"token":"other.x"}]`: `431[{"ok":false,"error":{"code":"forbidden"`,
		`422["auth:refresh",{"token":7}]`:         `432[{"ok":false,"error":{"code":"invalid"`,
		`423["auth:refresh"]`:                     `433[{"ok":false,"error":{"code":"invalid"`,
		`424["auth:refresh",{"token":"bad"}]`:     `434[{"ok":false,"error":{"code":"unauthenticated","message":"Invalid token"`,
	} {
		c.Say(say)
		if got := c.WaitFor(t, want[:3]); !strings.HasPrefix(got, want) {
			t.Errorf("%s is answered by %s, want %s", say, got, want)
		}
	}
	c.Say(`425["auth:refresh",{"token":"u.second"}]`)
	c.WaitFor(t, `435[{"ok":true}]`)
	got := make(chan string, 1)
	w.respond(t, "who", func(e *eventv1.ClientEvent) *eventv1.ClientReply { got <- e.GetIdentity().GetLoginId(); return ok(nil) })
	c.Say(`426["who"]`)
	if login := <-got; login != "second" {
		t.Errorf("events carry login %q after the refresh, want second", login)
	}
	w.send(t, subject.Revoked, &eventv1.Revocation{Id: 1, UserId: "u", LoginId: "second", RevokedAt: timestamppb.Now()})
	c.WaitEnded(t)
}

// TestEventsDuringRefresh: a client sends while its token is being refreshed. The refresh runs in a goroutine of its own, beside
// the reader's, so that -race sees what both touch.
func TestEventsDuringRefresh(t *testing.T) {
	w := newWorld(t, nil)
	c := w.connect(t, "u.first")
	tooLarge := `429["big","` + strings.Repeat("x", 2*testConfig().MaxEventBytes) + `"]`
	for round := range 20 {
		c.Say(fmt.Sprintf(`42%d["auth:refresh",{"token":"u.%d"}]`, 100+round, round))
		reply := fmt.Sprintf(`43%d`, 100+round)
		sessiontest.Eventually(t, func() bool {
			c.Say(tooLarge) // is refused by the reader, whatever is in flight
			return slices.ContainsFunc(c.Packets(), func(p string) bool { return strings.HasPrefix(p, reply) })
		}, func() string { return "the refresh is not answered" })
		if got := c.WaitFor(t, reply); got != reply+`[{"ok":true}]` {
			t.Fatalf("the refresh is answered by %s, want ok", got)
		}
		c.Forget()
	}
}
