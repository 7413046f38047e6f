package relay

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/proto/fault"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// sees waits until a client has got exactly these packets.
func sees(t *testing.T, c *sessiontest.Conn, want ...string) {
	t.Helper()
	sessiontest.Eventually(t, func() bool { return slices.Equal(c.Packets(), want) }, func() string {
		return fmt.Sprintf("client got %q, want %q", c.Packets(), want)
	})
}

func TestJoinAndLiveEvents(t *testing.T) {
	w := newWorld(t, nil)
	w.chat.commit("r")
	a, b := w.connect(t, "a"), w.connect(t, "b")
	a.Say(`421["room:join","r"]`)
	sees(t, a, `42["room:history",1]`, `431[{"ok":true,"seq":1}]`)
	a.Forget()
	b.Say(`42["room:join","r"]`) // without an ack
	sees(t, b, `42["room:history",1]`)
	b.Forget()
	w.wantRefs(t, "r", 2)
	e2 := w.chat.commit("r")
	w.publish(t, e2)
	w.publish(t, e2) // again
	w.publish(t, &eventv1.RoomEvent{RoomId: "r", Emit: &eventv1.Emit{Event: "typing"}, ExceptSocketId: w.socket(t, "a", a).ID})
	w.publish(t, w.chat.commit("r"))
	sees(t, a, `42["e",2]`, `42["e",3]`)
	sees(t, b, `42["e",2]`, `42["typing"]`, `42["e",3]`)

	a.Forget()
	a.Say(`421["room:join","r"]`) // again: history and no event twice
	sees(t, a, `42["room:history",3]`, `431[{"ok":true,"seq":3}]`)
	w.wantRefs(t, "r", 2)
	w.respond(t, "room:leave", ok)
	a.Forget()
	a.Say(`422["room:leave","r"]`)
	a.WaitFor(t, "432")
	w.wantRefs(t, "r", 1)
	b.Forget()
	w.publish(t, w.chat.commit("r"))
	sees(t, b, `42["e",4]`)
	sees(t, a, `432[{"ok":true}]`)
	b.Say("1")
	b.WaitEnded(t)
	w.wantRefs(t, "r", 0)
	sessiontest.Eventually(t, func() bool {
		w.relay.hub.Forget("r")
		_, started := w.relay.hub.Last("r")
		return !started
	}, func() string { return "the hub keeps the room" })
}

func TestJoinRefused(t *testing.T) {
	w := newWorld(t, nil)
	a := w.connect(t, "a")
	for say, want := range map[string]string{
		`421["room:join","secret"]`:            `"forbidden"`,
		`422["room:join"]`:                     `"invalid"`,
		`423["room:join",7]`:                   `"invalid"`,
		`424["room:join",{"roomId":"secret"}]`: `"invalid"`, // by the service of this test
	} {
		a.Say(say)
		if got := a.WaitFor(t, "43"+say[2:3]); !strings.Contains(got, want) {
			t.Errorf("%s is answered by %s, want %s", say, got, want)
		}
	}
	w.publish(t, w.chat.commit("secret"))
	w.wantRefs(t, "secret", 0)
	for i := range testConfig().MaxRooms {
		w.join(t, a, fmt.Sprint("r", i))
	}
	a.Say(`425["room:join","one more"]`)
	if got := a.WaitFor(t, "435"); !strings.Contains(got, `"too_large"`) {
		t.Errorf("over MaxRooms: %s, want too_large", got)
	}
	a.Say(`426["room:join","r0"]`) // again is not one more
	if got := a.WaitFor(t, "436"); !strings.Contains(got, `"ok":true`) {
		t.Errorf("again at MaxRooms: %s, want ok", got)
	}
	for _, p := range a.Packets() {
		if strings.HasPrefix(p, `42["e"`) {
			t.Errorf("client got %s of a room that it may not enter", p)
		}
	}
}

// TestJoinFails has the gateway itself make the fault: what chat-service answered can't be passed on.
func TestJoinFails(t *testing.T) {
	w := newWorld(t, nil)
	a := w.connect(t, "a")
	a.Say(`421["room:join","broken"]`)
	w.log.WantID(t, a.WaitFor(t, "431"))
}

func TestLostEventIsFoundAtReconnect(t *testing.T) {
	w := newWorld(t, nil)
	a := w.connect(t, "a")
	w.join(t, a, "r")
	w.chat.commit("r")
	w.relay.Resync()
	sees(t, a, `42["e",1]`)
}

func TestEviction(t *testing.T) {
	w := newWorld(t, nil)
	a, b := w.connect(t, "a"), w.connect(t, "b")
	w.join(t, a, "r")
	w.join(t, b, "r")
	evict := func(e *eventv1.RoomEvent) { e.EvictUserId = "a" }
	w.publish(t, w.chat.commit("r", evict))
	w.publish(t, w.chat.commit("r"))
	sees(t, b, `42["e",1]`, `42["e",2]`)
	sees(t, a, `42["e",1]`)
	w.wantRefs(t, "r", 1)

	// Evicted while joining again, and so refused.
	w.join(t, a, "r")
	w.wantRefs(t, "r", 2)
	w.chat.mu.Lock()
	w.chat.joining = func(context.Context, *eventv1.ClientEvent) error {
		w.publish(t, w.chat.commit("r", evict))
		sees(t, b, `42["e",1]`, `42["e",2]`, `42["e",3]`)
		return fault.New(fault.Forbidden, "you are out")
	}
	w.chat.mu.Unlock()
	a.Say(`427["room:join","r"]`)
	if got := a.WaitFor(t, "437"); !strings.Contains(got, `"forbidden"`) {
		t.Errorf("ack = %s, want forbidden", got)
	}
	w.wantRefs(t, "r", 1)
	w.publish(t, w.chat.commit("r"))
	sees(t, b, `42["e",1]`, `42["e",2]`, `42["e",3]`, `42["e",4]`)
	for _, p := range a.Packets() {
		if p == `42["e",4]` {
			t.Error("an evicted user gets events, want none")
		}
	}
}

// TestReferencesToARoom: whatever happens to one socket while it joins, the subscription of the others stays.
func TestReferencesToARoom(t *testing.T) {
	for name, during := range map[string]struct {
		inside bool
		fail   error
	}{
		"new socket goes":                 {false, nil},
		"new socket goes, refused":        {false, fault.New(fault.Forbidden, "no")},
		"socket inside goes":              {true, nil},
		"socket inside goes, and refused": {true, fault.New(fault.Forbidden, "no")},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			stays, goes := w.connect(t, "stays"), w.connect(t, "goes")
			w.join(t, stays, "r")
			if during.inside {
				w.join(t, goes, "r")
			}
			joining := make(chan struct{})
			w.chat.mu.Lock()
			w.chat.joining = func(context.Context, *eventv1.ClientEvent) error {
				goes.Say("1")
				goes.WaitEnded(t)
				close(joining)
				return during.fail
			}
			w.chat.mu.Unlock()
			goes.Say(`421["room:join","r"]`)
			<-joining
			time.Sleep(50 * time.Millisecond)
			w.wantRefs(t, "r", 1)
			time.Sleep(3 * testConfig().feed.Linger)
			w.publish(t, w.chat.commit("r"))
			sees(t, stays, `42["e",1]`)
		})
	}
}

// TestJoinWithoutBus: a room that cannot be subscribed is refused, and nothing is kept of it.
func TestJoinWithoutBus(t *testing.T) {
	w := newWorld(t, nil)
	a := w.connect(t, "a")
	w.relay.nc.Close()
	a.Say(`421["room:join","r"]`)
	if got := a.WaitFor(t, "431"); !strings.Contains(got, `"unavailable"`) {
		t.Errorf("ack = %s, want unavailable", got)
	}
	w.wantRefs(t, "r", 0)
	if last, started := w.relay.hub.Last("r"); started {
		t.Errorf("the hub keeps the room at %d", last)
	}
}

// TestJoinsWhileEventsCome joins and leaves from many clients while events come; each sees a history and all after it.
func TestJoinsWhileEventsCome(t *testing.T) {
	w := newWorld(t, func(c *settings) { c.feed.GapWait = time.Millisecond })
	const clients, events = 8, 400
	var wg sync.WaitGroup
	conns := make([]*sessiontest.Conn, clients)
	for i := range conns {
		conns[i] = w.connect(t, fmt.Sprint("u", i))
	}
	wg.Go(func() {
		for i := range events {
			e := w.chat.commit("r")
			if i%10 != 7 { // lost
				w.publish(t, e)
			}
			if i%5 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
	})
	for i, c := range conns {
		wg.Go(func() {
			time.Sleep(time.Duration(i*5) * time.Millisecond)
			for n := range 3 {
				c.Say(fmt.Sprintf(`42%d["room:join","r"]`, 100+n))
				if got := c.WaitFor(t, fmt.Sprintf("43%d", 100+n)); !strings.Contains(got, `"ok":true`) {
					t.Errorf("join: %s", got)
				}
			}
		})
	}
	wg.Wait()
	w.publish(t, w.chat.commit("r"))
	for i, c := range conns {
		sessiontest.Eventually(t, func() bool { return slices.Contains(c.Packets(), fmt.Sprintf(`42["e",%d]`, events+1)) }, func() string {
			return fmt.Sprintf("client %d does not get the last event: %q", i, c.Packets()[max(0, len(c.Packets())-5):])
		})
		at := 0
		for _, p := range c.Packets() {
			var n int
			switch {
			case strings.HasPrefix(p, `42["room:history"`):
				_, _ = fmt.Sscanf(p, `42["room:history",%d]`, &n)
				if n < at {
					t.Fatalf("client %d: history to %d after event %d", i, n, at)
				}
				at = n
			case strings.HasPrefix(p, `42["e"`):
				_, _ = fmt.Sscanf(p, `42["e",%d]`, &n)
				if n != at+1 {
					t.Fatalf("client %d: event %d after %d", i, n, at)
				}
				at = n
			}
		}
	}
}
