package peers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/gateway/internal/transport"
	enginev1 "github.com/starling-chat/starling/proto/gen/starling/engine/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// webSocket is a client's WebSocket to a gateway, over TCP.
type webSocket struct {
	t    *testing.T
	conn net.Conn

	reading sync.Mutex // a gate after each frame: while a test holds it the client does not read on

	mu     sync.Mutex // guards got
	got    []string
	closed chan struct{}
}

// tunnelled has a client connect to carrier for a session at owner.
func tunnelled(t *testing.T, carrier, owner *gateway, sid string) *webSocket {
	t.Helper()
	bind, refusal, err := carrier.peers.OpenTunnel(t.Context(), owner.id, sid)
	if err != nil || refusal != nil {
		t.Fatalf("OpenTunnel = %v, %v", refusal, err)
	}
	conn := connected(t, carrier, bind)
	w := &webSocket{t: t, conn: conn, closed: make(chan struct{})}
	go func() {
		defer close(w.closed)
		for {
			frame, err := ws.ReadFrame(conn)
			w.reading.Lock()
			w.reading.Unlock() //nolint:staticcheck // a gate
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

// connected gives the client's end of a WebSocket to a gateway.
func connected(t testing.TB, g *gateway, bind func(transport.Conn) transport.Receiver) net.Conn {
	t.Helper()
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
	g.sockets.Serve(accepted, nil, bind)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
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

func (w *webSocket) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.got)
}

func (w *webSocket) wants(packets ...string) {
	w.t.Helper()
	sessiontest.Eventually(w.t, func() bool { return slices.Equal(w.packets(), packets) }, func() string {
		return fmt.Sprintf("the WebSocket got %.300q, want %.300q", w.packets(), packets)
	})
}

func TestUpgradeThroughAnotherGateway(t *testing.T) {
	f := newFleet(t)
	g1, g2 := f.start("g1"), f.start("g2")
	p := pollThrough(t, g1, g2)
	p.enter("a")
	waiting := p.getLater(t.Context())
	w := tunnelled(t, g2, g1, p.SID)
	w.say("2probe")
	w.wants("3probe")
	wantResponse(t, waiting, "200 6")
	socket := g1.app.user("a")[0]
	m, _ := session.Emit{Namespace: "/", Event: "queued", Args: []byte("[]")}.Encode()
	socket.Queue(m)
	w.say("5")
	w.wants("3probe", `42["queued"]`)
	if r := p.Request(t.Context(), "GET", ""); r.Status != 400 {
		t.Errorf("GET after the upgrade = %d %s, want 400", r.Status, r.Body)
	}
	big := strings.Repeat("ä", 40_000)
	w.say(`421["echo","`+big+`"]`, `451-2["echo",{"_placeholder":true,"num":0}]`)
	w.write(ws.NewBinaryFrame([]byte{0, 1, 255}))
	w.say(`423["echo"]`)
	want := []string{"3probe", `42["queued"]`, `431["` + big + `"]`, `461-2[{"_placeholder":true,"num":0}]`, "b:\x00\x01\xff", `433[]`}
	w.wants(want...)

	// Longer than a chunk of the tunnel, and many at once: in order, and whole.
	long, _ := session.Emit{Namespace: "/", Event: "long", Args: []byte(`["` + strings.Repeat("x", tunnelChunk) + `"]`), Attachments: [][]byte{[]byte(strings.Repeat("y", tunnelChunk))}}.Encode()
	socket.Conn().Queue(long)
	socket.Flush()
	want = append(want, string(long.Text()), "b:"+strings.Repeat("y", tunnelChunk))
	for i := range 200 {
		m, _ := session.Emit{Namespace: "/", Event: "n", Args: fmt.Appendf(nil, "[%d]", i)}.Encode()
		socket.Queue(m)
		want = append(want, fmt.Sprintf(`42["n",%d]`, i))
		if i%7 == 0 {
			socket.Flush()
		}
	}
	socket.Flush()
	w.wants(want...)

	_ = w.conn.Close() // the client goes away
	wantNothingLeft(t, g1, g2)
}

// upgraded gives a session at owner whose WebSocket another gateway carries.
func upgraded(t *testing.T, owner, carrier *gateway, user string) (*polling, *webSocket) {
	t.Helper()
	p := pollThrough(t, owner, carrier)
	p.enter(user)
	w := tunnelled(t, carrier, owner, p.SID)
	w.say("2probe", "5")
	w.wants("3probe")
	sessiontest.Eventually(t, func() bool { return owner.sessions.Transport(p.SID) == "websocket" }, func() string { return "not upgraded" })
	return p, w
}

// TestSecondTunnel: a WebSocket for a session that is on WebSocket already is closed, and the first one goes on. So is one
// for a session that began with WebSocket.
func TestSecondTunnel(t *testing.T) {
	f := newFleet(t)
	g1, g2 := f.start("g1"), f.start("g2")
	p, w := upgraded(t, g1, g2, "a")
	second := tunnelled(t, g2, g1, p.SID)
	select {
	case <-second.closed:
	case <-time.After(sessiontest.Patience):
		t.Error("the second WebSocket is not closed")
	}
	second.wants("close:1000")
	w.say(`421["echo"]`)
	w.wants("3probe", `431[]`)
	sessiontest.Eventually(t, func() bool { return g1.tunnels() == 1 && g2.tunnels() == 1 }, func() string { return "the refused tunnel is left" })
	if _, refusal, err := g2.peers.OpenTunnel(t.Context(), "g1", "unknown"); err != nil || refusal == nil || refusal.Code != 1 {
		t.Errorf("OpenTunnel of an unknown sid = %v, %v, want Session ID unknown", refusal, err)
	}
	if _, _, err := g2.peers.OpenTunnel(t.Context(), "nobody", "unknown"); !errors.Is(err, errNoTunnel) {
		t.Errorf("OpenTunnel to nobody = %v, want errNoTunnel", err)
	}
}

// TestTunnelOfAClientThatLeft: a session that was claimed for a WebSocket whose client did not wait for the answer is let go at once.
func TestTunnelOfAClientThatLeft(t *testing.T) {
	f := newFleet(t)
	g1 := f.start("g1")
	ctx, cancel := context.WithCancel(t.Context())
	said := make(chan *enginev1.EngineMessage, 2)
	if _, err := f.bus.Subscribe(subject.Engine("silent"), func(m *nats.Msg) {
		var got enginev1.EngineMessage
		_ = proto.Unmarshal(m.Data, &got)
		said <- &got
		cancel() // the client is gone before the owner's answer
	}); err != nil {
		t.Fatal(err)
	}
	if err := f.bus.Flush(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := g1.peers.OpenTunnel(ctx, "silent", "sid"); !errors.Is(err, errNoTunnel) {
		t.Errorf("OpenTunnel = %v, want errNoTunnel", err)
	}
	opened := (<-said).GetOpen().GetTunnel()
	select {
	case m := <-said:
		if closed := m.GetClose().GetTunnel(); closed != opened || opened == "" {
			t.Errorf("after tunnel %q was opened %v came, want it closed", opened, m)
		}
	case <-time.After(sessiontest.Patience):
		t.Error("the owner is not told that nobody wants the tunnel")
	}
}

// TestTunnelPauses: the client is held back over the tunnel while its events wait, and then goes on.
func TestTunnelPauses(t *testing.T) {
	f := newFleet(t)
	g1, g2 := f.start("g1"), f.start("g2")
	_, w := upgraded(t, g1, g2, "a")
	w.say(`42["pause"]`)
	sessiontest.Eventually(t, func() bool { return g1.app.count() == 1 }, func() string { return "the first event does not come" })
	tunnel := g1.theTunnel()
	sessiontest.Eventually(t, func() bool {
		tunnel.mu.Lock()
		defer tunnel.mu.Unlock()
		return !tunnel.telling && tunnel.told.pause
	}, func() string { return "the carrier is not told to pause" })
	if end, err := g1.peers.askTunnel(t.Context(), tunnel.gateway, tunnel.id); err != nil || !end.known { // the carrier has stopped by now
		t.Fatalf("askTunnel = %v, %v", end, err)
	}
	want := []string{"3probe"}
	for i := range 20 {
		w.say(fmt.Sprintf(`42%d["echo"]`, i))
		want = append(want, fmt.Sprintf(`43%d[]`, i))
	}
	time.Sleep(20 * time.Millisecond)
	if n := g1.app.count(); n != 1 {
		t.Errorf("%d events came through the tunnel while it is paused", n-1)
	}
	g1.app.user("a")[0].ResumeRead()
	w.wants(want...)
}

// TestTunnelAfterAStall: what a client said before this process stood still may be old by now, so the client has to come back.
func TestTunnelAfterAStall(t *testing.T) {
	f := newFleet(t)
	g1, g2 := f.start("g1"), f.start("g2")
	_, w := upgraded(t, g1, g2, "a")
	g2.mu.Lock()
	g2.resumed = time.Now()
	g2.mu.Unlock()
	w.say(`421["echo"]`)
	w.wants("3probe", "close:1013")
	wantNothingLeft(t, g1, g2)
	if n := g1.app.count(); n != 0 {
		t.Errorf("%d events came through the tunnel after the stall", n)
	}
}

// TestHoleInATunnel: what NATS dropped cannot be made up for. The tunnel ends, so that the client recovers.
func TestHoleInATunnel(t *testing.T) {
	f := newFleet(t)
	g1, g2 := f.start("g1"), f.start("g2")
	for _, at := range []*gateway{g1, g2} {
		_, w := upgraded(t, g1, g2, "a")
		tunnel := at.theTunnel()
		tunnel.mu.Lock()
		n := tunnel.got + 2
		tunnel.mu.Unlock()
		raw, _ := proto.Marshal(&enginev1.EngineMessage{Kind: &enginev1.EngineMessage_Data{Data: &enginev1.TunnelData{
			Tunnel: tunnel.id, N: n, Content: []byte("42[]"),
		}}})
		if err := f.bus.Publish(subject.Engine(at.id), raw); err != nil {
			t.Fatal(err)
		}
		w.wantsEnd()
		wantNothingLeft(t, g1, g2)
	}
}

// TestOrphanDoesNotEndOtherTunnels: the other end does not know one tunnel; its gateway is well, and so are its other tunnels.
func TestOrphanDoesNotEndOtherTunnels(t *testing.T) {
	f := newFleet(t)
	g1, g2 := f.start("g1"), f.start("g2")
	_, w := upgraded(t, g1, g2, "a")
	alive := g1.theTunnel()
	p := pollThrough(t, g1, g2)
	p.enter("b")
	if _, refusal, err := g2.peers.OpenTunnel(t.Context(), "g1", p.SID); refusal != nil || err != nil { // and the client is gone
		t.Fatalf("OpenTunnel = %v, %v", refusal, err)
	}
	g1.peers.mu.Lock()
	var orphan *tunnel
	for _, tunnel := range g1.peers.tunnels {
		if tunnel != alive {
			orphan = tunnel
		}
	}
	g1.peers.mu.Unlock()
	g1.silence()
	g1.peers.askTunnels(t.Context(), []*tunnel{orphan, alive}, time.Now())
	w.say(`421["echo"]`)
	w.wants("3probe", `431[]`)
	sessiontest.Eventually(t, func() bool { return g1.tunnels() == 1 }, func() string { return "the orphan goes on" })
	p.Post(`422["echo"]`) // its session is on polling still
	if got := p.Get(); got != `432[]` {
		t.Errorf("GET = %s, want the ack", got)
	}
}

// TestStoppedGatewayClosesItsTunnels tells the clients to come back.
func TestStoppedGatewayClosesItsTunnels(t *testing.T) {
	f := newFleet(t)
	g1, g2 := f.start("g1"), f.start("g2")
	_, w := upgraded(t, g1, g2, "a")
	g2.peers.closeTunnels()
	wantNothingLeft(t, g1, g2)
	if got := w.packets(); len(got) != 2 || !strings.HasPrefix(got[1], "close:1") {
		t.Errorf("the WebSocket got %q, want the probe's answer and a close", got)
	}
	_, w = upgraded(t, g1, g2, "a")
	for _, s := range g1.app.user("a") {
		s.Close(transport.CodeRestart, transport.ReasonDrain)
	}
	w.wants("3probe", "close:1012")
	wantNothingLeft(t, g1, g2)
}
