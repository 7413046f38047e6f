package relay

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/gateway/internal/transport"
	enginev1 "github.com/starling-chat/starling/proto/gen/starling/engine/v1"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// TestKilledLongAgo: the last sign of life of the gateway is older than the window, or gone.
func TestKilledLongAgo(t *testing.T) {
	f := newFleet(t, func(c *settings) { c.store.Window = 300 * time.Millisecond })
	g1, g2 := f.start("g1"), f.start("g2")
	a, b := f.guest("a", g1), f.guest("b", g1)
	g1.stored()
	g1.kill()
	time.Sleep(f.cfg.store.Window + 50*time.Millisecond)
	a.comes(g2).wantRecovered(a, false)
	if err := f.bucket().Purge(t.Context(), subject.GatewayAlive("g1", g1.cfg.incarnation)); err != nil {
		t.Fatal(err)
	}
	b.comes(g2).wantRecovered(b, false)
}

func TestNotRecovered(t *testing.T) {
	f := newFleet(t, func(c *settings) { c.Recovery.MaxEvents = 5 })
	g1, g2 := f.start("g1"), f.start("g2")
	forge := func(change func(auth map[string]any)) func(a *guest) *guest {
		return func(a *guest) *guest {
			auth := map[string]any{"token": "a", "pid": a.pid, "offset": a.offset}
			change(auth)
			return a.says(g2, auth)
		}
	}
	put := func(_ *guest, key string, m proto.Message) {
		raw, _ := proto.Marshal(m)
		if _, err := f.bucket().Put(t.Context(), key, raw); err != nil {
			t.Fatal(err)
		}
	}
	for name, back := range map[string]func(a *guest) *guest{
		"foreign user":      forge(func(auth map[string]any) { auth["token"] = "b" }),
		"unknown pid":       forge(func(auth map[string]any) { auth["pid"] = "unknown" }),
		"empty pid":         forge(func(auth map[string]any) { auth["pid"] = "" }),
		"long pid":          forge(func(auth map[string]any) { auth["pid"] = strings.Repeat("x", 50_000) }),
		"pid of subjects":   forge(func(auth map[string]any) { auth["pid"] = "*.>" }),
		"pid of wrong type": forge(func(auth map[string]any) { auth["pid"] = 7 }),
		"garbage offset":    forge(func(auth map[string]any) { auth["offset"] = "garbage" }),
		"cut offset":        forge(func(auth map[string]any) { auth["offset"] = "o1.A" }),
		"offset above head": forge(func(auth map[string]any) { auth["offset"] = offsetOf(auth["pid"].(string), 1, math.MaxUint64) }),
		"offset one above":  forge(func(auth map[string]any) { auth["offset"] = offsetOf(auth["pid"].(string), 1, 2) }),
		"recovery is off":   forge(func(auth map[string]any) { auth["recovery"] = false }),
		"too much missed": func(a *guest) *guest {
			for range 6 {
				f.commit("too much missed")
			}
			return a.comes(g2)
		},
		"window over": func(a *guest) *guest {
			st := state(f, a)
			put(a, subject.SessionEnd(a.pid), &enginev1.SessionEnd{Nonce: st.GetNonce(), At: timestamppb.New(time.Now().Add(-2 * time.Minute))})
			return a.comes(g2)
		},
		"no state": func(a *guest) *guest {
			if err := f.bucket().Purge(t.Context(), subject.SessionState(a.pid)); err != nil {
				t.Fatal(err)
			}
			return a.comes(g2)
		},
		"state that cannot be read": func(a *guest) *guest {
			if _, err := f.bucket().Put(t.Context(), subject.SessionState(a.pid), []byte{0xff}); err != nil {
				t.Fatal(err)
			}
			return a.comes(g2)
		},
		"other namespace": func(a *guest) *guest {
			next := &guest{t: t, gateway: g2}
			next.Conn, _ = sessiontest.Open(g2.sessions, session.Headers{})
			next.Say(fmt.Sprintf(`40/chat,{"token":"a","pid":"%s","offset":"%s"}`, a.pid, a.offset))
			reply := next.WaitFor(t, "40/chat,")
			if strings.Contains(reply, a.pid) || strings.Contains(reply, a.sid) {
				t.Errorf("CONNECT to another namespace is answered by %s, want a fresh socket", reply)
			}
			next.before = []string{}
			return next
		},
	} {
		room := name
		a := f.guest("a", g1)
		a.joins(room)
		f.publish(room)
		a.wantEvents(room, 1)
		a.drops()
		b := back(a)
		if b.sid == a.sid || b.pid == a.pid || len(b.before) > 0 {
			t.Errorf("%s: recovered as %s, %s with %q, want a fresh socket", name, b.sid, b.pid, b.before)
		}
		f.publish(room) // the fresh socket is in no room
		b.got()
		if name == "other namespace" || name == "recovery is off" || name == "foreign user" {
			continue
		}
		// It is honest and whole: it can be recovered itself.
		b.joins("next")
		f.publish("next")
		sessiontest.Eventually(t, func() bool { return len(b.got()) == 1 }, func() string { return fmt.Sprintf("%s: %q after the join, want one event", name, b.got()) })
		b.drops()
		if c := b.comes(g1); c.pid != b.pid {
			t.Errorf("%s: the fresh socket cannot be recovered", name)
		}
	}
}

// TestForeignUserHurtsNobody: a refused recovery does not end the connection of whom the pid belongs to.
func TestForeignUserHurtsNobody(t *testing.T) {
	f := newFleet(t, nil)
	g1, g2 := f.start("g1"), f.start("g2")
	a := f.guest("a", g1)
	a.joins("r")
	g1.stored()
	thief := (&guest{t: t, token: "thief", pid: a.pid}).comes(g2)
	thief.wantRecovered(a, false)
	f.publish("r")
	a.wantEvents("r", 1)
	if _, reason, ended := a.Ended(); ended {
		t.Errorf("the connection was ended with %s by a foreign user", reason)
	}
}

// TestLeftForGood: who leaves, or is disconnected by the server, is not recovered.
func TestLeftForGood(t *testing.T) {
	f := newFleet(t, nil)
	g1, g2 := f.start("g1"), f.start("g2")
	for _, g := range []*fleetGateway{g1, g2} {
		a := f.guest("a", g1)
		a.Say("41")
		sessiontest.Eventually(t, func() bool { return len(g1.relay.registry.User("a")) == 0 }, func() string { return "the socket does not leave" })
		g1.stored()
		b := a.comes(g)
		b.wantRecovered(a, false)
		sessiontest.Eventually(t, func() bool { return len(g.relay.registry.User("a")) == 1 }, func() string { return "not registered" })
		g.relay.registry.User("a")[0].Disconnect(transport.ReasonServer)
		b.WaitEnded(t)
		g.stored()
		c := b.comes(g1)
		c.wantRecovered(b, false)
		c.drops()
	}
}

// TestEvictedWhileAway: the events up to the eviction are the member's, and nothing after it.
func TestEvictedWhileAway(t *testing.T) {
	f := newFleet(t, nil)
	g1, g2 := f.start("g1"), f.start("g2")
	a := f.guest("a", g1)
	a.joins("r")
	a.joins("s")
	a.drops()
	f.commit("r")
	f.commit("r", func(e *eventv1.RoomEvent) { e.EvictUserId = "a" })
	f.commit("r")
	f.commit("s")
	b := a.comes(g2)
	b.wantRecovered(a, true)
	slices.Sort(b.before)
	if want := []string{`42["e","r",1]`, `42["e","r",2]`, `42["e","s",1]`}; !slices.Equal(b.before, want) {
		t.Errorf("missed events are %q, want %q", b.before, want)
	}
	f.publish("r")
	f.publish("s")
	sessiontest.Eventually(t, func() bool { return slices.Contains(b.got(), `42["e","s",2]`) }, func() string { return "no live event" })
	if got := b.got(); slices.Contains(got, `42["e","r",4]`) || len(got) != 4 {
		t.Errorf("an evicted member got %q", got)
	}
	b.drops()
	c := b.comes(g1) // it stays out
	c.wantRecovered(a, true)
	if len(c.before) > 0 || len(state(f, c).GetRooms()) != 1 {
		t.Errorf("recovered again with %q and the rooms %v, want only s", c.before, state(f, c).GetRooms())
	}
}

// TestOldStateIsNotUsed: when the state that told of the last change of rooms was not stored, the socket is a fresh one, rather
// than in rooms that it left, or out of rooms that it is in. The client's offset tells, and so does the end of the connection.
func TestOldStateIsNotUsed(t *testing.T) {
	for _, known := range []string{"offset", "end"} {
		f := newFleet(t, nil)
		g1, g2 := f.start("g1"), f.start("g2")
		a := f.guest("a", g1)
		a.joins("r1")
		g1.stored()
		old, err := f.bucket().Get(t.Context(), subject.SessionState(a.pid))
		if err != nil {
			t.Fatal(err)
		}
		a.joins("r2")
		if known == "offset" {
			f.publish("r2")
			a.wantEvents("r2", 1)
		}
		g1.stored()
		if _, err := f.bucket().Put(t.Context(), subject.SessionState(a.pid), old.Value()); err != nil {
			t.Fatal(err)
		}
		if known == "offset" {
			g1.kill()
		} else {
			a.drops()
		}
		a.comes(g2).wantRecovered(a, false)
	}
}

// TestRevokedWhileItComesBack: a token that is revoked while its socket is recovered lets nobody in, however long that takes, and what was
// missed goes no further. asked is at which question to chat-service it happens: before anything is replayed, and behind it.
func TestRevokedWhileItComesBack(t *testing.T) {
	for asked := range 2 {
		f := newFleet(t, nil)
		g := f.start("g")
		a := f.guest("a", g)
		a.joins("r")
		a.drops()
		f.commit("r")
		revoke := func() {
			f.chat.headsAsked.Store(nil)
			raw, err := proto.Marshal(&eventv1.Revocation{Id: 1, UserId: "a", RevokedAt: timestamppb.New(time.Now().Add(time.Minute))})
			if err == nil {
				_, err = f.service.Request(subject.Revoked, raw, sessiontest.Patience)
			}
			if err != nil {
				t.Errorf("revoke: %v", err)
			}
		}
		hook := revoke
		if asked > 0 {
			hook = func() { f.chat.headsAsked.Store(&revoke) }
		}
		f.chat.headsAsked.Store(&hook)
		c, _ := sessiontest.Open(g.sessions, session.Headers{})
		c.Say(`40{"token":"a","pid":"` + a.pid + `","offset":"` + a.offset + `"}`)
		if got := c.WaitFor(t, "44"); !strings.Contains(got, "Invalid token") {
			t.Errorf("CONNECT is answered by %s, want a refusal of the token", got)
		}
		if got := c.Queued(); slices.ContainsFunc(got, func(p string) bool { return strings.HasPrefix(p, "40") || asked == 0 && strings.HasPrefix(p, "42") }) {
			t.Errorf("revoked at question %d the client gets %q", asked, got)
		}
		if got := g.relay.hub.Members("r"); len(got) > 0 {
			t.Errorf("%d members are left", len(got))
		}
		wantRefs(t, g.relay, "r", 0)
	}
}
