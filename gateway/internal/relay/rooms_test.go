package relay

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/proto/fault"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
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
	w.wantRefs(t, "r", -1) // after the linger
	sessiontest.Eventually(t, func() bool { return w.relay.hub.Forget("r") }, func() string { return "the hub keeps the room" })
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
	w.wantRefs(t, "secret", -1)
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

func TestGapIsRepaired(t *testing.T) {
	w := newWorld(t, nil)
	a := w.connect(t, "a")
	w.join(t, a, "r")
	w.publish(t, w.chat.commit("r"))
	sees(t, a, `42["e",1]`)
	for range 3 {
		w.chat.commit("r") // never published
	}
	w.publish(t, w.chat.commit("r"))
	sees(t, a, `42["e",1]`, `42["e",2]`, `42["e",3]`, `42["e",4]`, `42["e",5]`)
	w.chat.mu.Lock()
	reads := w.chat.reads
	w.chat.mu.Unlock()
	if reads != 1 {
		t.Errorf("the events were read %d times, want once", reads)
	}
	var late []*eventv1.RoomEvent // and again and again, also while repairs run
	for i := range 100 {
		e := w.chat.commit("r")
		switch i % 4 {
		case 0:
			late = append(late, e)
		case 1, 2:
			w.publish(t, e)
		case 3:
			w.publish(t, e)
			time.Sleep(2 * time.Millisecond)
		}
	}
	w.publish(t, w.chat.commit("r"))
	for _, e := range late {
		w.publish(t, e)
	}
	sessiontest.Eventually(t, func() bool { return len(a.Packets()) == 106 }, func() string { return fmt.Sprintf("%d events, want 106", len(a.Packets())) })
	for i, p := range a.Packets() {
		if p != fmt.Sprintf(`42["e",%d]`, i+1) {
			t.Fatalf("event %d is %s", i+1, p)
		}
	}
}

// TestGapIsRepairedFromTheStream: what the stream has is not asked of chat-service, nor is more than what is missing delivered.
func TestGapIsRepairedFromTheStream(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.HeadInterval = 50 * time.Millisecond })
	js, err := jetstream.New(w.service)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: subject.RoomsStream, Subjects: []string{subject.RoomsStreamSubjects}, AllowDirect: true, // without republishing: all is lost
	}); err != nil {
		t.Fatal(err)
	}
	live := func(e *eventv1.RoomEvent, position uint64) {
		raw, _ := proto.Marshal(&eventv1.RoomEventBatch{Events: []*eventv1.RoomEvent{e}})
		msg := &nats.Msg{Subject: subject.Room("r"), Data: raw, Header: nats.Header{positionHeader: {strconv.FormatUint(position, 10)}}}
		if err := w.service.PublishMsg(msg); err != nil {
			t.Fatal(err)
		}
	}
	stream := func(room string) (*eventv1.RoomEvent, uint64) {
		e := w.chat.commit(room)
		raw, _ := proto.Marshal(&eventv1.RoomEventBatch{Events: []*eventv1.RoomEvent{e}})
		ack, err := js.Publish(t.Context(), subject.RoomLog(room), raw)
		if err != nil {
			t.Fatal(err)
		}
		return e, ack.Sequence
	}
	reads := func() int {
		w.chat.mu.Lock()
		defer w.chat.mu.Unlock()
		return w.chat.reads
	}
	a := w.connect(t, "a")
	w.join(t, a, "r")
	live(stream("r"))
	sees(t, a, `42["e",1]`)
	for range 3 {
		stream("r") // never came here
		stream("other")
	}
	live(stream("r"))
	sees(t, a, `42["e",1]`, `42["e",2]`, `42["e",3]`, `42["e",4]`, `42["e",5]`)
	stream("r") // a lost last one
	sees(t, a, `42["e",1]`, `42["e",2]`, `42["e",3]`, `42["e",4]`, `42["e",5]`, `42["e",6]`)
	if n := reads(); n != 0 {
		t.Errorf("chat-service was asked %d times, want the stream to have done", n)
	}
	w.chat.commit("r") // the stream never had it
	live(stream("r"))
	sees(t, a, `42["e",1]`, `42["e",2]`, `42["e",3]`, `42["e",4]`, `42["e",5]`, `42["e",6]`, `42["e",7]`, `42["e",8]`)
	if n := reads(); n == 0 {
		t.Error("chat-service was never asked for what the stream does not have")
	}
}

func TestLostLastEventIsFound(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.HeadInterval = 50 * time.Millisecond })
	a := w.connect(t, "a")
	w.join(t, a, "r")
	w.join(t, a, "quiet")
	w.chat.commit("r")
	w.chat.commit("r")
	sees(t, a, `42["e",1]`, `42["e",2]`)
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

// TestClaimsOnARoom: whatever happens to one socket while it joins, the subscription of the others stays.
func TestClaimsOnARoom(t *testing.T) {
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
			time.Sleep(3 * testConfig().Linger)
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
	if w.refs("r") != -1 {
		t.Errorf("%d claims on the room, want no entry", w.refs("r"))
	}
	if last, started := w.relay.hub.Last("r"); started || !w.relay.hub.Forget("r") {
		t.Errorf("the hub keeps the room at %d", last)
	}
}

// TestJoinsWhileEventsCome joins and leaves from many clients while events come; each sees a history and all after it.
func TestJoinsWhileEventsCome(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.GapWait = time.Millisecond })
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
