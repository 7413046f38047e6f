package peers

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	enginev1 "github.com/starling-chat/starling/proto/gen/starling/engine/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// What holds for a client whose WebSocket its session's own gateway has holds for one whose WebSocket another gateway carries.

// TestAnswersThroughATunnel: the owner knows what its client has still to take, which is what keeps the client's next event from being
// begun. Its own answers do not make a slow client of it, neither there nor at the carrier.
func TestAnswersThroughATunnel(t *testing.T) {
	const size, unread = 300_000, 64 << 10
	f := newFleet(t)
	g1, g2 := f.start("g1"), f.start("g2")
	_, w := upgraded(t, g1, g2, "a")
	socket, carrier := g1.app.user("a")[0], g2.theTunnel().conn
	sent := 0
	answer := func() {
		m, err := session.AckMessage("/", int64(sent), []byte(`["`+strings.Repeat("a", size)+`"]`), nil)
		if err != nil {
			t.Fatal(err)
		}
		if !socket.Queue(m) {
			t.Fatalf("answer %d is not taken", sent)
		}
		socket.Flush()
		sent++
	}
	w.reading.Lock()
	for stuck := false; !stuck; { // until the kernel's buffers are full
		if sent == 100 {
			t.Fatalf("%d bytes wait at the carrier and %d at the owner, who has sent %d answers", carrier.QueuedBytes(), socket.Conn().QueuedBytes(), sent)
		}
		answer()
		sessiontest.Eventually(t, func() bool {
			if g1.sessions.Count() == 0 {
				t.Fatal("the client is closed for its own answers")
			}
			queued := socket.Conn().QueuedBytes()
			stuck = queued > unread && carrier.QueuedBytes() > unread
			return queued <= unread || stuck
		}, func() string { return "the owner believes that much waits, and at the carrier nothing does" })
	}
	for range 3 { // what was begun before that comes on top
		answer()
	}
	for range 50 { // several questions later it still knows
		time.Sleep(10 * time.Millisecond)
		if queued := socket.Conn().QueuedBytes(); queued <= unread && carrier.QueuedBytes() > unread {
			t.Fatalf("the owner believes that %d bytes wait, and at the carrier %d do", queued, carrier.QueuedBytes())
		}
	}
	w.reading.Unlock()
	sessiontest.Eventually(t, func() bool { return len(w.packets()) == 1+sent }, func() string {
		return fmt.Sprintf("%d of %d answers came", len(w.packets())-1, sent)
	})
	for i, got := range w.packets()[1:] {
		if want := fmt.Sprintf(`43%d["aaa`, i); !strings.HasPrefix(got, want) || len(got) < size {
			t.Fatalf("answer %d is %.20q of %d bytes", i, got, len(got))
		}
	}
	sessiontest.Eventually(t, func() bool { return socket.Conn().QueuedBytes() <= unread }, func() string { return "the owner does not learn that all is taken" })
}

// TestSlowClientThroughATunnel: what others send to a client that does not read is kept up to a bound; then it is closed as slow.
func TestSlowClientThroughATunnel(t *testing.T) {
	f := newFleet(t)
	g1, g2 := f.start("g1"), f.start("g2")
	_, w := upgraded(t, g1, g2, "a")
	socket, carrier := g1.app.user("a")[0], g2.theTunnel().conn
	w.reading.Lock()
	defer w.reading.Unlock()
	for n := 0; g1.sessions.Count() > 0; n++ {
		burst(t, socket, 10, false)
		for range 20 { // the kernel takes what it can
			if socket.Conn().QueuedBytes() > 64<<10 {
				time.Sleep(10 * time.Millisecond)
			}
		}
		if n == 1000 {
			t.Fatal("100 MB are kept for a client that does not read")
		}
	}
	if got := carrier.QueuedBytes(); got > 2*windowSize {
		t.Errorf("%d bytes wait at the carrier, want a window at most", got)
	}
}

// TestMessageThatArrivesAtACarrier: while a long message arrives the owner waits for the pong behind it.
func TestMessageThatArrivesAtACarrier(t *testing.T) {
	f := newFleet(t)
	g1, g2 := f.start("g1"), f.start("g2")
	_, w := upgraded(t, g1, g2, "a")
	conn := g1.app.user("a")[0].Conn().(interface{ Arriving() bool })
	want := []string{"3probe"}
	for i := range 2 {
		frame, err := ws.CompileFrame(ws.MaskFrame(ws.NewTextFrame(fmt.Appendf(nil, `42%d["long","%s"]`, i, strings.Repeat("x", 50_000)))))
		if err != nil {
			t.Fatal(err)
		}
		if conn.Arriving() {
			t.Error("a message arrives before the client has sent one")
		}
		for _, part := range [][]byte{frame[:100], frame[100:30_000]} {
			if _, err := w.conn.Write(part); err != nil {
				t.Fatal(err)
			}
			sessiontest.Eventually(t, conn.Arriving, func() string { return "the owner does not know that a message arrives" })
		}
		if _, err := w.conn.Write(frame[30_000:]); err != nil {
			t.Fatal(err)
		}
		want = append(want, fmt.Sprintf(`43%d["%s"]`, i, strings.Repeat("x", 50_000)))
		w.wants(want...)
	}
}

// TestBodyThatArrivesElsewhere: the session's gateway is told of a body that takes long, again and again, and not any more when it is
// there.
func TestBodyThatArrivesElsewhere(t *testing.T) {
	f := newFleet(t)
	g := f.start("g1")
	told := make(chan string, 100)
	if _, err := f.bus.Subscribe(subject.Engine("owner"), func(m *nats.Msg) {
		var got enginev1.EngineMessage
		_ = proto.Unmarshal(m.Data, &got)
		told <- got.GetArriving().GetSid()
	}); err != nil {
		t.Fatal(err)
	}
	if err := f.bus.Flush(); err != nil {
		t.Fatal(err)
	}
	done := g.peers.Arriving("owner", "sid")
	for range 3 {
		select {
		case sid := <-told:
			if sid != "sid" {
				t.Errorf("the owner hears of %q, want the sid", sid)
			}
		case <-time.After(sessiontest.Patience):
			t.Fatal("the owner does not hear that the body is still coming")
		}
	}
	done()
	time.Sleep(2 * arrivingInterval) // one may be under way
	for len(told) > 0 {
		<-told
	}
	time.Sleep(2 * arrivingInterval)
	if len(told) > 0 {
		t.Error("the owner hears of a body that has come")
	}
}

// TestStrangersBodyThroughAnotherGateway: how much a client may send follows from whether it has been let in, which its own gateway
// knows: another one that passes its body on is told that it is too large, as the client would be at home, and the session goes on.
func TestStrangersBodyThroughAnotherGateway(t *testing.T) {
	f := newFleet(t)
	f.sessions.FirstPayload, f.limits.FirstMessage = 1000, 1000
	g1, g2 := f.start("g1"), f.start("g2")
	p := pollThrough(t, g1, g2)
	long := `421["echo","` + strings.Repeat("x", 50_000) + `"]`
	if got := p.Request(t.Context(), "POST", long); got.Status != http.StatusRequestEntityTooLarge || len(got.Body) != 0 {
		t.Errorf("a stranger's long POST = %d %s, want 413", got.Status, got.Body)
	}
	p.enter("a")
	if got := p.Request(t.Context(), "POST", long); got.Status != http.StatusOK {
		t.Errorf("a long POST of a known client = %d %s, want 200", got.Status, got.Body)
	}
}

// TestStrangerThroughATunnel: a client that has not shown who it is may send short messages alone, and makes room at the carrier;
// once a namespace has let it in it has what others have, from the moment in which it knows.
func TestStrangerThroughATunnel(t *testing.T) {
	f := newFleet(t)
	f.sessions.FirstPayload, f.limits.FirstMessage = 1000, 1000
	g1, g2 := f.start("g1"), f.start("g2")
	long := `421["echo","` + strings.Repeat("x", 50_000) + `"]`
	open := func() *webSocket {
		p := pollThrough(t, g1, g2)
		w := tunnelled(t, g2, g1, p.SID)
		w.say("2probe", "5")
		w.wants("3probe")
		// Whose WebSocket goes before the owner has seen the 5 stays on polling.
		sessiontest.Eventually(t, func() bool { return g1.sessions.Transport(p.SID) == "websocket" }, func() string { return "the session is not upgraded" })
		return w
	}
	w := open()
	w.say(`40{"token":"a"}`)
	sessiontest.Eventually(t, func() bool { return len(w.packets()) == 2 }, func() string { return "no CONNECT reply" })
	w.say(long)
	sessiontest.Eventually(t, func() bool { return len(w.packets()) == 3 }, func() string { return "a long event of a known client is not answered" })
	if got := w.packets()[2]; got != "43"+strings.Replace(long[2:], `"echo",`, "", 1) {
		t.Errorf("a long event of a known client is answered by %.60s", got)
	}
	if g2.strangers.Displace() {
		t.Error("a client that was let in makes room")
	}

	stranger := open()
	_, _ = stranger.conn.Write(func() []byte {
		frame, _ := ws.CompileFrame(ws.MaskFrame(ws.NewTextFrame([]byte(long))))
		return frame
	}())
	stranger.wantsEnd()
	if got := stranger.packets(); got[len(got)-1] != "close:1009" {
		t.Errorf("a stranger's long message: %q, want 1009", got)
	}

	silent := open()
	if !g2.strangers.Displace() {
		t.Error("nobody makes room at the carrier, want the stranger")
	}
	silent.wantsEnd()
	sessiontest.Eventually(t, func() bool { return g1.sessions.Count() == 1 && g2.peers.Carried() == 1 }, func() string {
		return fmt.Sprintf("%d sessions, %d carried, want the known client's", g1.sessions.Count(), g2.peers.Carried())
	})
}

// TestMessageLongerThanTheBusTakes goes through a tunnel in parts, both ways.
func TestMessageLongerThanTheBusTakes(t *testing.T) {
	f := newFleet(t)
	bus := int(f.bus.MaxPayload())
	f.sessions.MaxPayload, f.limits.MaxMessage = 4*bus, 4*bus
	g1, g2 := f.start("g1"), f.start("g2")
	_, w := upgraded(t, g1, g2, "a")
	long := strings.Repeat("x", 2*bus+12345)
	w.say(`421["echo","` + long + `"]`)
	w.say(`452-2["echo",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`)
	binary := bytes.Repeat([]byte{7}, bus)
	w.write(ws.NewBinaryFrame(binary))
	w.write(ws.NewBinaryFrame([]byte{1}))
	w.wants("3probe", `431["`+long+`"]`, `462-2[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`, "b:"+string(binary), "b:\x01")
}

// TestCarrierThatLeaves: the owner is asked to end its session, which it does in its own time; a client whose owner does not is closed by
// the carrier.
func TestCarrierThatLeaves(t *testing.T) {
	f := newFleet(t)
	g1, g2 := f.start("g1"), f.start("g2")
	for what, end := range map[string]func(Leaving){"by the owner": Leaving.Ask, "by the carrier": Leaving.Close} {
		_, w := upgraded(t, g1, g2, "a")
		leaving := g2.peers.Leaving()
		if len(leaving) != 1 || len(g1.peers.Leaving()) != 0 {
			t.Fatalf("%d carried at the carrier, %d at the owner, want one", len(leaving), len(g1.peers.Leaving()))
		}
		end(leaving[0])
		w.wantsEnd()
		if got := w.packets(); got[len(got)-1] != "close:1012" {
			t.Errorf("%s: the client got %q, want 1012", what, got)
		}
		wantNothingLeft(t, g1, g2)
	}
}
