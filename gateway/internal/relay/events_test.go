package relay

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/gateway/internal/quota"
	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/gateway/internal/transport"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

func TestConnect(t *testing.T) {
	w := newWorld(t, nil)
	for packet, want := range map[string]string{
		"40":                                `44{"message":"Authentication required","data":{"code":"authentication_required"}}`,
		`40{"token":"bad"}`:                 `44{"message":"Invalid token","data":{"code":"invalid_token"}}`,
		`40{"token":7}`:                     `44{"message":"Invalid token","data":{"code":"invalid_token"}}`,
		`40{"token":"nobody"}`:              `44{"message":"User not found","data":{"code":"user_not_found"}}`,
		`40{"token":"of an older service"}`: `44{"message":"User not found","data":{"code":"user_not_found"}}`,
		`40{"token":"of a newer service"}`:  `44{"message":"Too early","data":{"code":"too_early"}}`,
		`40/x,{"token":"u"}`:                `44/x,{"message":"Invalid namespace","data":{"code":"invalid_namespace"}}`,
		`40/chat,{"token":"u"}`:             "40/chat,{",
	} {
		c, _ := sessiontest.Open(w.sessions, session.Headers{})
		c.Say(packet)
		if got := c.WaitFor(t, want[:2]); !strings.HasPrefix(got, want) {
			t.Errorf("%s is answered by %s, want %s", packet, got, want)
		}
		if _, _, ended := c.Ended(); ended {
			t.Errorf("%s closes the transport, want it open", packet)
		}
	}
	c, _ := sessiontest.Open(w.sessions, session.Headers{Authorization: "Bearer u"})
	c.Say("40")
	c.WaitFor(t, "40{")
}

// TestConnectIsHeldInVain: where auth-service does not come back, that is not final: the client comes back by itself.
func TestConnectIsHeldInVain(t *testing.T) {
	w := newWorld(t, func(s *settings) { s.HoldConnect = 100 * time.Millisecond })
	for _, token := range []string{"away", "not a service"} {
		c, _ := sessiontest.Open(w.sessions, session.Headers{})
		c.Say(`40{"token":"` + token + `"}`)
		if code, reason := c.WaitEnded(t); code != transport.CodeTryAgainLater || reason != transport.ReasonOverload {
			t.Errorf("auth-service says %s: closed with %d, %s, want 1013, overload", token, code, reason)
		}
	}
	sessiontest.Eventually(t, func() bool { return w.relay.authentication.Under() == 0 }, func() string { // a place is given back after the answer
		return fmt.Sprintf("%d handshakes are under way, want none", w.relay.authentication.Under())
	})
}

// TestConnectsHaveBounds: more CONNECTs at once than MaxHandshakes close their transports.
func TestConnectsHaveBounds(t *testing.T) {
	w := newWorld(t, nil)
	hold := make(chan struct{})
	w.auth.mu.Lock()
	w.auth.hold = hold
	w.auth.mu.Unlock()
	if wait, ok := w.relay.Admit(); !ok {
		t.Errorf("Admit = %v, false while there is room", wait)
	}
	var waiting []*sessiontest.Conn
	for range testConfig().MaxHandshakes {
		c, _ := sessiontest.Open(w.sessions, session.Headers{})
		c.Say(`40{"token":"u"}`)
		waiting = append(waiting, c)
	}
	over, _ := sessiontest.Open(w.sessions, session.Headers{})
	over.Say(`40{"token":"u"}`)
	if code, reason := over.WaitEnded(t); code != transport.CodeTryAgainLater || reason != transport.ReasonOverload {
		t.Errorf("over MaxHandshakes: closed with %d, %s, want 1013, overload", code, reason)
	}
	if wait, ok := w.relay.Admit(); ok || wait <= 0 {
		t.Errorf("Admit = %v, %v without a place for its CONNECT, want a refusal", wait, ok)
	}
	waiting[0].Say("1") // gone before it is let in
	waiting[0].WaitEnded(t)
	close(hold)
	for _, c := range waiting[1:] {
		c.WaitFor(t, "40{")
	}
	sessiontest.Eventually(t, func() bool { return len(w.relay.registry.User("u")) == len(waiting)-1 }, func() string {
		return fmt.Sprintf("%d sockets of u are registered, want %d", len(w.relay.registry.User("u")), len(waiting)-1)
	})
}

// TestOrderOfOneSocket: the next event of a socket is sent when the one before is answered; sockets do not wait for each other.
func TestOrderOfOneSocket(t *testing.T) {
	w := newWorld(t, func(c *settings) { c.Events.MaxQueued = 1000 })
	var mu sync.Mutex
	open := map[string]int{}
	order := map[string][]string{}
	var together, most int
	subj, _ := subject.ClientEvent("/", "do")
	other, _ := subject.ClientEvent("/", "do:other")
	for _, s := range []string{subj, other} {
		if _, err := w.service.Subscribe(s, func(msg *nats.Msg) {
			var e eventv1.ClientEvent
			if err := proto.Unmarshal(msg.Data, &e); err != nil {
				t.Error(err)
			}
			mu.Lock()
			open[e.GetSocketId()]++
			together++
			most = max(most, together)
			if open[e.GetSocketId()] > 1 {
				t.Errorf("event %s was sent before the one before it was answered", e.GetArgs())
			}
			order[e.GetIdentity().GetUserId()] = append(order[e.GetIdentity().GetUserId()], string(e.GetArgs()))
			n := len(order[e.GetIdentity().GetUserId()])
			mu.Unlock()
			time.AfterFunc(time.Duration(n%3)*5*time.Millisecond, func() {
				mu.Lock()
				open[e.GetSocketId()]--
				together--
				mu.Unlock()
				raw, _ := proto.Marshal(&eventv1.ClientReply{AckArgs: e.GetArgs()})
				_ = msg.Respond(raw)
			})
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.service.Flush(); err != nil {
		t.Fatal(err)
	}
	users := []string{"a", "b", "c"}
	var want []string
	conns := map[string]*sessiontest.Conn{}
	for _, u := range users {
		conns[u] = w.connect(t, u)
	}
	for i := range 30 {
		for _, u := range users {
			conns[u].Say(fmt.Sprintf(`42%d[%q,%d]`, i, []string{"do", "do:other"}[i%2], i))
		}
		want = append(want, fmt.Sprintf("[%d]", i))
	}
	for _, u := range users {
		conns[u].WaitFor(t, "4329[29]")
		mu.Lock()
		got := order[u]
		mu.Unlock()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("order of %s: -want +got\n%s", u, diff)
		}
		for i, p := range conns[u].Packets() {
			if p != fmt.Sprintf("43%d[%d]", i, i) {
				t.Errorf("ack %d is %s, want them in order", i, p)
			}
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if most < 2 {
		t.Errorf("at most %d event was under way at a time, want sockets not to wait for each other", most)
	}
}

func TestReplies(t *testing.T) {
	w := newWorld(t, nil)
	w.announce(t, "chat-service", "client.v1.*.known")
	w.respond(t, "full", func(_ *eventv1.ClientEvent) *eventv1.ClientReply {
		return &eventv1.ClientReply{
			AckArgs: []byte(`[{"ok":true},{"_placeholder":true,"num":0}]`), Attachments: [][]byte{{'x'}},
			Emits: []*eventv1.Emit{{Event: "first", Args: []byte(`[1]`)}, {Event: "second"}},
		}
	})
	w.respond(t, "fault", func(*eventv1.ClientEvent) *eventv1.ClientReply {
		return &eventv1.ClientReply{Fault: &eventv1.Fault{Code: "forbidden", Message: "no", RetryAfterMs: 5}}
	})
	w.respond(t, "wordless", func(*eventv1.ClientEvent) *eventv1.ClientReply {
		return &eventv1.ClientReply{Fault: &eventv1.Fault{Code: "internal"}}
	})
	w.respond(t, "badack", func(*eventv1.ClientEvent) *eventv1.ClientReply { return &eventv1.ClientReply{AckArgs: []byte(`{`)} })
	garbage, _ := subject.ClientEvent("/", "garbage")
	if _, err := w.service.Subscribe(garbage, func(m *nats.Msg) { _ = m.Respond([]byte("\xff\xff")) }); err != nil {
		t.Fatal(err)
	}
	_ = w.service.Flush()
	for _, tc := range []struct{ say, want string }{
		{`421["full"]`, `42["first",1] 42["second"] 461-1[{"ok":true},{"_placeholder":true,"num":0}] bx`},
		{`42["full"]`, `42["first",1] 42["second"]`},
		{`422["fault"]`, `432[{"ok":false,"error":{"code":"forbidden","message":"no","retryAfterMs":5}}]`},
		{`42["fault"]`, `42["event:error",{"event":"fault","code":"forbidden","message":"no","retryAfterMs":5}]`},
		{`424["nobody:knows"]`, `434[{"ok":false,"error":{"code":"unknown_event","message":"Unknown event"}}]`},
		{`42["nobody:knows"]`, `42["event:error",{"event":"nobody:knows","code":"unknown_event","message":"Unknown event"}]`},
		{`425["known"]`, `435[{"ok":false,"error":{"code":"unavailable","message":"Service unavailable","retryAfterMs":1000}}]`},
		{`426["a:b:c:d:e:f:g:h:i:j"]`, `436[{"ok":false,"error":{"code":"unknown_event","message":"Unknown event"}}]`},
		{`427["` + strings.Repeat("n", 200) + `"]`, `437[{"ok":false,"error":{"code":"unknown_event","message":"Unknown event"}}]`},
		{`428["*"]`, `438[{"ok":false,"error":{"code":"unknown_event","message":"Unknown event"}}]`},
		{`429[">"]`, `439[{"ok":false,"error":{"code":"unknown_event","message":"Unknown event"}}]`},
		{`4210["big","` + strings.Repeat("x", 1001) + `"]`, `4310[{"ok":false,"error":{"code":"too_large","message":"arguments must not exceed 1000 bytes"}}]`},
		{`4211["deep",` + strings.Repeat("[", 20) + strings.Repeat("]", 20) + `]`, `4311[{"ok":false,"error":{"code":"invalid","message":"arguments are nested too deeply"}}]`},
	} {
		c := w.connect(t, "u")
		c.Say(tc.say)
		sessiontest.Eventually(t, func() bool { return strings.Join(c.Packets(), " ") == tc.want }, func() string {
			return fmt.Sprintf("%.60s is answered by %q, want %q", tc.say, c.Packets(), tc.want)
		})
		c.Say("1")
	}
	c := w.connect(t, "u")
	for say, answer := range map[string]string{`421["badack"]`: "431", `422["garbage"]`: "432", `423["wordless"]`: "433"} {
		c.Say(say)
		got := c.WaitFor(t, answer)
		if !strings.Contains(got, `"internal"`) {
			t.Errorf("%s is answered by %s, want internal", say, got)
		}
		w.log.WantID(t, got)
	}
}

func TestRateLimit(t *testing.T) {
	w := newWorld(t, func(c *settings) { c.Events.Rate, c.Events.Burst = 0.1, 2 })
	w.respond(t, "e", ok)
	c := w.connect(t, "u")
	c.Say(`421["e"]`, `422["e"]`, `423["e"]`, `42["e"]`)
	c.WaitFor(t, "431[{\"ok\":true")
	c.WaitFor(t, "432[{\"ok\":true")
	if got := c.WaitFor(t, "433"); !strings.Contains(got, `"rate_limited"`) || !strings.Contains(got, "retryAfterMs") {
		t.Errorf("over the rate: %s, want rate_limited with retryAfterMs", got)
	}
	if got := c.WaitFor(t, `42["event:error"`); !strings.Contains(got, `"rate_limited"`) {
		t.Errorf("over the rate without ack: %s", got)
	}
	another := w.connect(t, "v")
	another.Say(`421["e"]`)
	another.WaitFor(t, "431[{\"ok\":true")
}

func TestTimeout(t *testing.T) {
	w := newWorld(t, func(c *settings) { c.Events.Timeout = time.Second })
	late := make(chan *nats.Msg, 1)
	subj, _ := subject.ClientEvent("/", "slow")
	if _, err := w.service.ChanSubscribe(subj, late); err != nil {
		t.Fatal(err)
	}
	w.respond(t, "fast", ok)
	c := w.connect(t, "u")
	c.Say(`421["slow"]`, `422["fast"]`)
	if got := c.WaitFor(t, "431"); got != `431[{"ok":false,"error":{"code":"timeout","message":"No answer in time","retryAfterMs":1000}}]` {
		t.Errorf("ack = %s, want timeout", got)
	}
	if got := c.WaitFor(t, "432"); !strings.Contains(got, `"unavailable"`) { // its time is over before its turn comes
		t.Errorf("ack of the one behind = %s, want unavailable", got)
	}
	id := 3
	goesOn := func() { // a slow machine may need more than one try
		sessiontest.Eventually(t, func() bool {
			id++
			c.Say(fmt.Sprintf(`42%d["fast"]`, id))
			return strings.Contains(c.WaitFor(t, fmt.Sprintf("43%d[", id)), `"ok":true`)
		}, func() string { return "no event is answered any more" })
	}
	goesOn()
	raw, _ := proto.Marshal(ok(nil))
	_ = (<-late).Respond(raw)
	_ = w.service.Flush()
	goesOn()
	if n := strings.Count(strings.Join(c.Packets(), " "), "431["); n != 1 {
		t.Errorf("%d acks of one event, want 1", n)
	}
	if n := w.relay.calls.Count(); n != 0 {
		t.Errorf("%d calls under way in the end, want 0", n)
	}
}

func TestMaxQueuedPausesReading(t *testing.T) {
	w := newWorld(t, nil) // MaxQueued 4
	answers := make(chan *nats.Msg, 100)
	subj, _ := subject.ClientEvent("/", "e")
	if _, err := w.service.ChanSubscribe(subj, answers); err != nil {
		t.Fatal(err)
	}
	_ = w.service.Flush()
	c := w.connect(t, "u")
	for i := range 4 {
		c.Say(fmt.Sprintf(`42%d["e"]`, i))
	}
	if c.Paused() {
		t.Fatal("reading is paused with one event under way and three queued, want not")
	}
	c.Say(`424["e"]`)
	if !c.Paused() {
		t.Fatal("reading goes on with MaxQueued events queued, want it paused")
	}
	raw, _ := proto.Marshal(ok(nil))
	for i := range 5 {
		_ = (<-answers).Respond(raw)
		c.WaitFor(t, fmt.Sprintf("43%d", i))
		switch {
		case i == 0 && !c.Paused():
			t.Error("reading goes on with three queued, want it paused until half")
		case i == 1:
			sessiontest.Eventually(t, func() bool { return !c.Paused() }, func() string { return "still paused with half a queue" })
		}
	}
}

// TestQueueIsLetGoOf: nothing is kept of events that are answered and long past; the next one is answered as ever. While an event is under
// way, the reading stands still, or the rate is used up, the queue stays.
func TestQueueIsLetGoOf(t *testing.T) {
	w := newWorld(t, func(c *settings) { c.Events.Rate, c.Events.Burst = 0.01, 10 })
	answers := make(chan *nats.Msg, 100)
	subj, _ := subject.ClientEvent("/", "e")
	if _, err := w.service.ChanSubscribe(subj, answers); err != nil {
		t.Fatal(err)
	}
	_ = w.service.Flush()
	conn := w.connect(t, "u")
	c := w.socket(t, "u", conn).State.(*client)
	kept := func(after time.Duration) bool {
		c.look(time.Now().Add(after))
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.events != nil
	}
	raw, _ := proto.Marshal(ok(nil))
	for round := range 3 {
		for i := range 6 { // MaxQueued is 4
			conn.Say(fmt.Sprintf(`42%d["e"]`, i))
		}
		if !kept(time.Hour) || !conn.Paused() {
			t.Fatalf("round %d: the queue of a socket with events under way is let go of, or it is not paused", round)
		}
		for i := range 6 {
			_ = (<-answers).Respond(raw)
			conn.WaitFor(t, fmt.Sprintf(`43%d[{"ok":true`, i))
		}
		sessiontest.Eventually(t, func() bool { return !conn.Paused() }, func() string { return "still paused without a queue" })
		conn.Forget()
		if !kept(0) {
			t.Errorf("round %d: the queue is let go of although the rate is used up", round)
		}
		sessiontest.Eventually(t, func() bool { return !kept(time.Hour) }, func() string { return "the queue stays when everything is answered" })
	}
	c.mu.Lock()
	c.eventsLocked().stopped = true // as between a pause and the end of it
	c.mu.Unlock()
	if !kept(time.Hour) {
		t.Error("the queue of a socket that is not read is let go of")
	}
}

func TestMaxInFlight(t *testing.T) {
	w := newWorld(t, func(c *settings) { c.Events.MaxInFlight = 1 })
	answers := make(chan *nats.Msg, 10)
	subj, _ := subject.ClientEvent("/", "e")
	if _, err := w.service.ChanSubscribe(subj, answers); err != nil {
		t.Fatal(err)
	}
	_ = w.service.Flush()
	a, b := w.connect(t, "a"), w.connect(t, "b")
	a.Say(`421["e"]`)
	held := <-answers
	b.Say(`421["e"]`, `422["e"]`)
	for _, id := range []string{"431", "432"} {
		if got := b.WaitFor(t, id); !strings.Contains(got, `"unavailable"`) || !strings.Contains(got, "retryAfterMs") {
			t.Errorf("over MaxInFlight: %s, want unavailable", got)
		}
	}
	raw, _ := proto.Marshal(ok(nil))
	_ = held.Respond(raw)
	a.WaitFor(t, "431[{\"ok\":true")
}

// TestClientsThatGoWhileEventsAreUnderWay leave nothing behind.
func TestClientsThatGoWhileEventsAreUnderWay(t *testing.T) {
	w := newWorld(t, nil)
	w.respond(t, "e", func(*eventv1.ClientEvent) *eventv1.ClientReply { time.Sleep(time.Millisecond); return ok(nil) })
	for range 20 {
		c := w.connect(t, "u")
		c.Say(`421["e"]`, `42["room:join","r"]`, `422["e"]`, `423["e"]`)
		c.Say("1")
		c.WaitEnded(t)
	}
	sessiontest.Eventually(t, func() bool { return w.relay.calls.Count() == 0 }, func() string { return "calls are left under way" })
	sessiontest.Eventually(t, func() bool { return len(w.relay.registry.User("u")) == 0 }, func() string { return "sockets are left registered" })
	w.wantRefs(t, "r", 0)
	if heads := w.relay.hub.Heads(); len(heads) != 0 {
		t.Errorf("Heads() = %v, want none", heads)
	}
}

func TestBroadcastAndUserEvents(t *testing.T) {
	w := newWorld(t, nil)
	a1, a2, b := w.connect(t, "a"), w.connect(t, "a"), w.connect(t, "b")
	a1.Say(`40/chat,{"token":"a"}`)
	a1.WaitFor(t, "40/chat")
	sessiontest.Eventually(t, func() bool { return len(w.relay.registry.User("a")) == 3 }, func() string { return "not registered" })
	a1.Forget()
	w.send(t, subject.Broadcast("/"), &eventv1.Broadcast{Namespace: "/", Emit: &eventv1.Emit{Event: "all"}, ExceptSocketId: w.socket(t, "b", b).ID})
	w.send(t, subject.Broadcast("/chat"), &eventv1.Broadcast{Namespace: "/chat", Emit: &eventv1.Emit{Event: "chatters"}})
	w.send(t, subject.User("a"), &eventv1.UserEvent{UserId: "a", Namespace: "/", Emit: &eventv1.Emit{Event: "you", Args: []byte("[1]")}})
	w.send(t, subject.User("b"), &eventv1.UserEvent{UserId: "b", Namespace: "/", Emit: &eventv1.Emit{Event: "end"}})
	b.WaitFor(t, `42["end"]`)
	for c, want := range map[*sessiontest.Conn]string{
		a1: `42["all"] 42/chat,["chatters"] 42["you",1]`, a2: `42["all"] 42["you",1]`, b: `42["end"]`,
	} {
		sessiontest.Eventually(t, func() bool { return strings.Join(c.Packets(), " ") == want }, func() string {
			return fmt.Sprintf("client got %q, want %s", c.Packets(), want)
		})
	}
}

// TestEventFlood: a socket that goes on above its rate is closed; one that sent a lot at once, and pauses, is not.
func TestEventFlood(t *testing.T) {
	w := newWorld(t, func(c *settings) { c.Events.Rate, c.Events.Burst = 0.1, 2 })
	w.respond(t, "e", ok)
	bursts, floods := w.connect(t, "u"), w.connect(t, "v")
	for range 2 + quota.FloodBursts*2 {
		bursts.Say(`42["e"]`)
		floods.Say(`42["e"]`)
	}
	if code, reason, ended := bursts.Ended(); ended {
		t.Errorf("closed with %d, %s after a burst, want it open", code, reason)
	}
	floods.Say(`42["e"]`)
	if code, reason := floods.WaitEnded(t); code != transport.CodePolicy || reason != transport.ReasonFlood {
		t.Errorf("closed with %d, %s, want 1008, flood", code, reason)
	}
}
