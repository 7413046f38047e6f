package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/gateway/internal/transport"
	enginev1 "github.com/starling-chat/starling/proto/gen/starling/engine/v1"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// pollThrough is a polling client of a session at owner whose requests come to another gateway.
func pollThrough(t *testing.T, owner, other *fleetGateway) *polling {
	t.Helper()
	p := openPoller(t, owner)
	p.do = func(ctx context.Context, r session.PollRequest) session.PollResponse {
		if r.Method == http.MethodGet {
			r.Hold = 50 * time.Millisecond
		}
		for {
			answer, err := other.peers.Poll(ctx, owner.id, r)
			if err != nil {
				return session.PollResponse{Status: 599, Body: []byte(err.Error())}
			}
			if answer.Status != http.StatusNoContent {
				return answer
			}
		}
	}
	return p
}

func (p *polling) enter(t *testing.T, user string) {
	t.Helper()
	p.post(`40{"token":"` + user + `"}`)
	if got := p.get(); !strings.HasPrefix(got, "40{") {
		t.Fatalf("GET = %s, want the CONNECT reply", got)
	}
	sessiontest.Eventually(t, func() bool { return len(p.gateway.relay.registry.User(user)) == 1 }, func() string { return "not registered" })
}

// getLater polls in the background, and returns when the owner has the GET.
func (p *polling) getLater(ctx context.Context) <-chan session.PollResponse {
	answer := make(chan session.PollResponse, 1)
	go func() { answer <- p.request(ctx, "GET", "") }()
	sessiontest.Eventually(p.t, func() bool {
		p.gateway.peers.mu.Lock()
		defer p.gateway.peers.mu.Unlock()
		return len(p.gateway.peers.cancels) > 0 || len(answer) > 0
	}, func() string { return "the GET does not reach the owner" })
	return answer
}

func wantResponse(t *testing.T, answer <-chan session.PollResponse, want string) {
	t.Helper()
	select {
	case r := <-answer:
		if got := fmt.Sprintf("%d %s", r.Status, r.Body); got != want {
			t.Errorf("GET = %s, want %s", got, want)
		}
	case <-time.After(sessiontest.Patience):
		t.Errorf("the GET is not answered, want %s", want)
	}
}

func echo(e *eventv1.ClientEvent) *eventv1.ClientReply {
	return &eventv1.ClientReply{AckArgs: e.GetArgs(), Attachments: e.GetAttachments()}
}

func TestPollThroughAnotherGateway(t *testing.T) {
	f := newFleet(t, nil)
	g1, g2 := f.start("g1"), f.start("g2")
	(&world{service: f.service}).respond(t, "echo", echo)
	p := pollThrough(t, g1, g2)
	p.enter(t, "a")
	waiting := p.getLater(t.Context())
	p.post(`421["echo",1]` + "\x1e" + `451-2["echo",{"_placeholder":true,"num":0}]` + "\x1e" + "bAQI=")
	got := ""
	select {
	case r := <-waiting:
		got = string(r.Body)
	case <-time.After(sessiontest.Patience):
		t.Fatal("the GET is not answered")
	}
	for want := `431[1]` + "\x1e" + `461-2[{"_placeholder":true,"num":0}]` + "\x1e" + "bAQI="; got != want; {
		if !strings.HasPrefix(want, got) {
			t.Fatalf("polled %q, want %q", got, want)
		}
		got += "\x1e" + p.get()
	}
	for _, bad := range []struct {
		r    session.PollRequest
		want string
	}{
		{session.PollRequest{Method: "GET"}, `400 {"code":0,"message":"Transport unknown"}`},
		{session.PollRequest{Method: "PUT"}, `500 {"code":3,"message":"Bad request"}`},
		{session.PollRequest{Method: "POST", ContentType: "application/octet-stream", Body: []byte("4x")}, `400 {"code":3,"message":"Bad request"}`},
	} {
		bad.r.Query.SID = p.sid
		if !strings.Contains(bad.want, "Transport") {
			bad.r.Query.Transport = "polling"
		}
		r := p.do(t.Context(), bad.r)
		if got := fmt.Sprintf("%d %s", r.Status, r.Body); got != bad.want {
			t.Errorf("%s %s = %s, want %s", bad.r.Method, bad.r.ContentType, got, bad.want)
		}
	}
	lost := *p
	lost.sid = "unknown"
	if r := lost.request(t.Context(), "GET", ""); r.Status != 400 || !strings.Contains(string(r.Body), "Session ID unknown") {
		t.Errorf("GET of an unknown sid = %d %s, want 400 Session ID unknown", r.Status, r.Body)
	}
	waiting = p.getLater(t.Context())
	p.post("1")
	wantResponse(t, waiting, "200 6")
	wantResponse(t, p.getLater(t.Context()), `400 {"code":1,"message":"Session ID unknown"}`)

	g1.kill()
	start := time.Now()
	if _, err := g2.peers.Poll(t.Context(), "g1", session.PollRequest{Method: "GET"}); err == nil || time.Since(start) > time.Second {
		t.Errorf("Poll of a dead gateway = %v after %v, want an error at once", err, time.Since(start))
	}
}

// TestAbortedPollThroughAnotherGateway: the owner hears that the client is gone.
func TestAbortedPollThroughAnotherGateway(t *testing.T) {
	f := newFleet(t, nil)
	g1, g2 := f.start("g1"), f.start("g2")
	p := pollThrough(t, g1, g2)
	p.enter(t, "a")
	ctx, cancel := context.WithCancel(t.Context())
	waiting := p.getLater(ctx)
	cancel()
	<-waiting
	sessiontest.Eventually(t, func() bool { return g1.sessions.Count() == 0 && len(g1.relay.registry.User("a")) == 0 }, func() string {
		return "the owner's session goes on after its GET was aborted"
	})
	wantResponse(t, p.getLater(t.Context()), `400 {"code":1,"message":"Session ID unknown"}`)
	g1.peers.mu.Lock()
	defer g1.peers.mu.Unlock()
	if n := len(g1.peers.cancels); n > 0 {
		t.Errorf("%d requests can still be cancelled, want none", n)
	}
}

// webSocket is a client's WebSocket to a gateway, over TCP.
type webSocket struct {
	t    *testing.T
	conn net.Conn

	mu     sync.Mutex // guards got
	got    []string
	closed chan struct{}
}

// tunnelled has a client connect to carrier for a session at owner.
func tunnelled(t *testing.T, carrier, owner *fleetGateway, sid string) *webSocket {
	t.Helper()
	bind, refusal, err := carrier.peers.OpenTunnel(t.Context(), owner.id, sid)
	if err != nil || refusal != nil {
		t.Fatalf("OpenTunnel = %v, %v", refusal, err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	w := &webSocket{t: t, conn: conn, closed: make(chan struct{})}
	carrier.sockets.Serve(accepted, nil, bind)
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		defer close(w.closed)
		for {
			frame, err := ws.ReadFrame(conn)
			if err != nil {
				return
			}
			text := string(frame.Payload)
			switch frame.Header.OpCode {
			case ws.OpBinary:
				text = "b:" + text
			case ws.OpClose:
				code, _ := ws.ParseCloseFrameData(frame.Payload)
				text = fmt.Sprint("close:", code)
			default: // text
			}
			w.mu.Lock()
			w.got = append(w.got, text)
			w.mu.Unlock()
		}
	}()
	return w
}

func (w *webSocket) write(frame ws.Frame) {
	w.t.Helper()
	if err := ws.WriteFrame(w.conn, ws.MaskFrame(frame)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *webSocket) say(packets ...string) {
	w.t.Helper()
	for _, p := range packets {
		w.write(ws.NewTextFrame([]byte(p)))
	}
}

func (w *webSocket) wantsEnd() {
	w.t.Helper()
	select {
	case <-w.closed:
	case <-time.After(sessiontest.Patience):
		w.t.Error("the WebSocket goes on")
	}
}

func (w *webSocket) packets() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.got)
}

func (w *webSocket) wants(packets ...string) {
	w.t.Helper()
	sessiontest.Eventually(w.t, func() bool { return slices.Equal(w.packets(), packets) }, func() string {
		return fmt.Sprintf("the WebSocket got %.300q, want %.300q", w.packets(), packets)
	})
}

func TestUpgradeThroughAnotherGateway(t *testing.T) {
	f := newFleet(t, func(c *Config) { c.MaxEventBytes = 100_000 })
	g1, g2 := f.start("g1"), f.start("g2")
	(&world{service: f.service}).respond(t, "echo", echo)
	p := pollThrough(t, g1, g2)
	p.enter(t, "a")
	waiting := p.getLater(t.Context())
	w := tunnelled(t, g2, g1, p.sid)
	w.say("2probe")
	w.wants("3probe")
	wantResponse(t, waiting, "200 6")
	socket := g1.relay.registry.User("a")[0]
	m, _ := session.EventMessage("/", "queued", -1, []byte("[]"), nil)
	socket.Queue(m)
	w.say("5")
	w.wants("3probe", `42["queued"]`)
	if r := p.request(t.Context(), "GET", ""); r.Status != 400 {
		t.Errorf("GET after the upgrade = %d %s, want 400", r.Status, r.Body)
	}
	big := strings.Repeat("ä", 40_000)
	w.say(`421["echo","`+big+`"]`, `451-2["echo",{"_placeholder":true,"num":0}]`)
	w.write(ws.NewBinaryFrame([]byte{0, 1, 255}))
	w.say(`423["echo"]`)
	want := []string{"3probe", `42["queued"]`, `431["` + big + `"]`, `461-2[{"_placeholder":true,"num":0}]`, "b:\x00\x01\xff", `433[]`}
	w.wants(want...)

	// Longer than a chunk of the tunnel, and many at once: in order, and whole.
	long, _ := session.EventMessage("/", "long", -1, []byte(`["`+strings.Repeat("x", tunnelChunk)+`"]`), [][]byte{[]byte(strings.Repeat("y", tunnelChunk))})
	socket.Conn().Queue(long)
	socket.Flush()
	want = append(want, string(long.Text), "b:"+strings.Repeat("y", tunnelChunk))
	for i := range 200 {
		m, _ := session.EventMessage("/", "n", -1, fmt.Appendf(nil, "[%d]", i), nil)
		socket.Queue(m)
		want = append(want, fmt.Sprintf(`42["n",%d]`, i))
		if i%7 == 0 {
			socket.Flush()
		}
	}
	socket.Flush()
	w.wants(want...)

	_ = w.conn.Close() // the client goes away
	sessiontest.Eventually(t, func() bool { return g1.sessions.Count() == 0 && tunnels(g1)+tunnels(g2) == 0 }, func() string {
		return fmt.Sprintf("%d sessions and %d, %d tunnels are left", g1.sessions.Count(), tunnels(g1), tunnels(g2))
	})
}

func tunnels(g *fleetGateway) int {
	g.peers.mu.Lock()
	defer g.peers.mu.Unlock()
	return len(g.peers.tunnels)
}

// silence is as if nothing was heard through the gateway's tunnels for too long.
func (g *fleetGateway) silence() {
	g.peers.mu.Lock()
	defer g.peers.mu.Unlock()
	for _, tunnel := range g.peers.tunnels {
		tunnel.mu.Lock()
		tunnel.seen = time.Now().Add(-keepaliveLost - time.Second)
		tunnel.mu.Unlock()
	}
}

func theTunnel(t *testing.T, g *fleetGateway) *tunnel {
	t.Helper()
	g.peers.mu.Lock()
	defer g.peers.mu.Unlock()
	if len(g.peers.tunnels) != 1 {
		t.Fatalf("%d tunnels, want one", len(g.peers.tunnels))
	}
	for _, tunnel := range g.peers.tunnels {
		return tunnel
	}
	return nil
}

// upgraded gives a session at owner whose WebSocket another gateway carries.
func upgraded(t *testing.T, owner, carrier *fleetGateway, user string) (*polling, *webSocket) {
	t.Helper()
	p := pollThrough(t, owner, carrier)
	p.enter(t, user)
	w := tunnelled(t, carrier, owner, p.sid)
	w.say("2probe", "5")
	w.wants("3probe")
	sessiontest.Eventually(t, func() bool { return owner.sessions.Transport(p.sid) == "websocket" }, func() string { return "not upgraded" })
	return p, w
}

// TestSecondTunnel: a WebSocket for a session that is on WebSocket already is closed, and the first one goes on. So is one
// for a session that began with WebSocket.
func TestSecondTunnel(t *testing.T) {
	f := newFleet(t, nil)
	g1, g2 := f.start("g1"), f.start("g2")
	p, w := upgraded(t, g1, g2, "a")
	second := tunnelled(t, g2, g1, p.sid)
	select {
	case <-second.closed:
	case <-time.After(sessiontest.Patience):
		t.Error("the second WebSocket is not closed")
	}
	second.wants("close:1000")
	(&world{service: f.service}).respond(t, "echo", echo)
	w.say(`421["echo"]`)
	w.wants("3probe", `431[]`)
	sessiontest.Eventually(t, func() bool { return tunnels(g1) == 1 && tunnels(g2) == 1 }, func() string { return "the refused tunnel is left" })
	if _, refusal, err := g2.peers.OpenTunnel(t.Context(), "g1", "unknown"); err != nil || refusal == nil || refusal.Code != 1 {
		t.Errorf("OpenTunnel of an unknown sid = %v, %v, want Session ID unknown", refusal, err)
	}
	if _, _, err := g2.peers.OpenTunnel(t.Context(), "nobody", "unknown"); !errors.Is(err, errNoTunnel) {
		t.Errorf("OpenTunnel to nobody = %v, want errNoTunnel", err)
	}
}

// TestTunnelPauses: the client is held back over the tunnel while its events wait, and then goes on.
func TestTunnelPauses(t *testing.T) {
	f := newFleet(t, nil)
	g1, g2 := f.start("g1"), f.start("g2")
	hold := make(chan struct{})
	(&world{service: f.service}).respond(t, "echo", func(e *eventv1.ClientEvent) *eventv1.ClientReply {
		<-hold
		return echo(e)
	})
	_, w := upgraded(t, g1, g2, "a")
	want := []string{"3probe"}
	for i := range 20 {
		w.say(fmt.Sprintf(`42%d["echo"]`, i))
		want = append(want, fmt.Sprintf(`43%d[]`, i))
	}
	c := g1.relay.registry.User("a")[0].State.(*client)
	sessiontest.Eventually(t, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.paused
	}, func() string { return "reading is not paused" })
	if err := f.service.Flush(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond) // the carrier has stopped by now
	c.mu.Lock()
	before := len(c.queue)
	c.mu.Unlock()
	for i := range 20 {
		w.say(fmt.Sprintf(`42%d["echo"]`, 20+i))
		want = append(want, fmt.Sprintf(`43%d[]`, 20+i))
	}
	time.Sleep(20 * time.Millisecond)
	c.mu.Lock()
	after := len(c.queue)
	c.mu.Unlock()
	if after != before {
		t.Errorf("%d events came through the tunnel while it is paused", after-before)
	}
	close(hold)
	w.wants(want...)
}

// TestHoleInATunnel: what NATS dropped cannot be made up for. The tunnel ends, so that the client recovers.
func TestHoleInATunnel(t *testing.T) {
	f := newFleet(t, nil)
	g1, g2 := f.start("g1"), f.start("g2")
	for _, at := range []*fleetGateway{g1, g2} {
		_, w := upgraded(t, g1, g2, "a")
		tunnel := theTunnel(t, at)
		tunnel.mu.Lock()
		n := tunnel.got + 2
		tunnel.mu.Unlock()
		raw, _ := proto.Marshal(&enginev1.EngineMessage{Kind: &enginev1.EngineMessage_Data{Data: &enginev1.TunnelData{
			Tunnel: tunnel.id, N: n, Content: []byte("42[]"),
		}}})
		if err := f.service.Publish(subject.Engine(at.id), raw); err != nil {
			t.Fatal(err)
		}
		w.wantsEnd()
		sessiontest.Eventually(t, func() bool { return g1.sessions.Count() == 0 && tunnels(g1)+tunnels(g2) == 0 }, func() string {
			return fmt.Sprintf("at %s: %d sessions and %d, %d tunnels are left", at.id, g1.sessions.Count(), tunnels(g1), tunnels(g2))
		})
	}
}

// TestTunnelsOfADeadGateway end when it does not answer for long; others go on.
func TestTunnelsOfADeadGateway(t *testing.T) {
	f := newFleet(t, nil)
	g1, g2, g3 := f.start("g1"), f.start("g2"), f.start("g3")
	_, stays := upgraded(t, g1, g3, "b")
	_, w := upgraded(t, g1, g2, "a")
	g2.kill()
	ask := func() {
		g1.peers.mu.Lock()
		byGateway := map[string][]*tunnel{}
		for _, tunnel := range g1.peers.tunnels {
			byGateway[tunnel.gateway] = append(byGateway[tunnel.gateway], tunnel)
		}
		g1.peers.mu.Unlock()
		for _, tunnels := range byGateway {
			g1.peers.askTunnels(t.Context(), tunnels, time.Now())
		}
	}
	ask()
	if n := tunnels(g1); n != 2 {
		t.Fatalf("%d tunnels after a short silence, want 2", n)
	}
	g1.silence()
	ask()
	sessiontest.Eventually(t, func() bool { return tunnels(g1) == 1 && len(g1.relay.registry.User("a")) == 0 }, func() string { return "the dead gateway's tunnel goes on" })
	(&world{service: f.service}).respond(t, "echo", echo)
	stays.say(`421["echo"]`)
	stays.wants("3probe", `431[]`)

	// The dead one's side ends as well, when it cannot reach the owner.
	g2.silence()
	g2.peers.askTunnels(t.Context(), []*tunnel{theTunnel(t, g2)}, time.Now())
	w.wantsEnd()
}

// TestOrphanDoesNotEndOtherTunnels: the other end does not know one tunnel; its gateway is well, and so are its other tunnels.
func TestOrphanDoesNotEndOtherTunnels(t *testing.T) {
	f := newFleet(t, nil)
	g1, g2 := f.start("g1"), f.start("g2")
	_, w := upgraded(t, g1, g2, "a")
	living := theTunnel(t, g1)
	p := pollThrough(t, g1, g2)
	p.enter(t, "b")
	if _, refusal, err := g2.peers.OpenTunnel(t.Context(), "g1", p.sid); refusal != nil || err != nil { // and the client is gone
		t.Fatalf("OpenTunnel = %v, %v", refusal, err)
	}
	g1.peers.mu.Lock()
	var orphan *tunnel
	for _, tunnel := range g1.peers.tunnels {
		if tunnel != living {
			orphan = tunnel
		}
	}
	g1.peers.mu.Unlock()
	g1.silence()
	g1.peers.askTunnels(t.Context(), []*tunnel{orphan, living}, time.Now())
	(&world{service: f.service}).respond(t, "echo", echo)
	w.say(`421["echo"]`)
	w.wants("3probe", `431[]`)
	sessiontest.Eventually(t, func() bool { return tunnels(g1) == 1 }, func() string { return "the orphan goes on" })
	p.post(`422["echo"]`) // its session is on polling still
	if got := p.get(); got != `432[]` {
		t.Errorf("GET = %s, want the ack", got)
	}
}

// TestStoppedGatewayClosesItsTunnels tells the clients to come back.
func TestStoppedGatewayClosesItsTunnels(t *testing.T) {
	f := newFleet(t, nil)
	g1, g2 := f.start("g1"), f.start("g2")
	_, w := upgraded(t, g1, g2, "a")
	g2.peers.closeTunnels()
	sessiontest.Eventually(t, func() bool { return g1.sessions.Count() == 0 && tunnels(g1)+tunnels(g2) == 0 }, func() string { return "something is left" })
	if got := w.packets(); len(got) != 2 || !strings.HasPrefix(got[1], "close:1") {
		t.Errorf("the WebSocket got %q, want the probe's answer and a close", got)
	}
	_, w = upgraded(t, g1, g2, "a")
	for _, s := range g1.relay.registry.User("a") {
		s.Close(transport.CodeRestart, transport.ReasonDrain)
	}
	w.wants("3probe", "close:1012")
	sessiontest.Eventually(t, func() bool { return g1.sessions.Count() == 0 && tunnels(g1)+tunnels(g2) == 0 }, func() string { return "something is left" })
}
