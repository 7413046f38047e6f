package session_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starling-chat/starling/gateway/internal/engineio"
	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/gateway/internal/transport"
)

// poller is a client on long polling.
type poller struct {
	server *session.Server
	sid    string
}

func openPolling(t *testing.T, server *session.Server) poller {
	t.Helper()
	sockets := transport.NewServer(transport.Limits{MaxMessage: 100_000, SendQueue: 100_000}, slog.New(slog.DiscardHandler))
	t.Cleanup(sockets.Wait)
	r := server.OpenPolling(sockets, session.Headers{})
	var open struct {
		SID      string
		Upgrades []string
	}
	if err := json.Unmarshal(bytes.TrimPrefix(r.Body, []byte("0")), &open); err != nil || r.Status != 200 || open.SID == "" || len(open.Upgrades) != 1 {
		t.Fatalf("OpenPolling = %d %s: %v", r.Status, r.Body, err)
	}
	return poller{server, open.SID}
}

func (p poller) do(ctx context.Context, method, body string) string {
	r := p.server.Poll(ctx, session.PollRequest{
		Method: method, Body: []byte(body), Query: engineio.Query{Transport: engineio.TransportPolling, SID: p.sid},
	})
	return fmt.Sprintf("%d %s", r.Status, r.Body)
}

func (p poller) post(t *testing.T, body, want string) {
	t.Helper()
	if got := p.do(t.Context(), "POST", body); got != want {
		t.Errorf("POST %s = %s, want %s", body, got, want)
	}
}

// later does it in the background.
func (p poller) later(ctx context.Context, method, body string) <-chan string {
	answer := make(chan string, 1)
	go func() { answer <- p.do(ctx, method, body) }()
	return answer
}

func wantLater(t *testing.T, answer <-chan string, want string) {
	t.Helper()
	select {
	case got := <-answer:
		if got != want {
			t.Errorf("answer %s, want %s", got, want)
		}
	case <-time.After(sessiontest.Patience):
		t.Errorf("no answer, want %s", want)
	}
}

const (
	refused400 = `400 {"code":3,"message":"Bad request"}`
	unknown400 = `400 {"code":1,"message":"Session ID unknown"}`
)

func startPolling(t *testing.T) (*app, poller) {
	t.Helper()
	a := newApp()
	p := openPolling(t, sessiontest.Server(t, a, sessiontest.Config(), sessiontest.Stats()))
	p.post(t, "40", "200 ok")
	if got := p.do(t.Context(), "GET", ""); !strings.HasPrefix(got, "200 40{") {
		t.Fatalf("GET = %s, want the CONNECT reply", got)
	}
	return a, p
}

func TestAbortedGetEndsTheSession(t *testing.T) {
	a, p := startPolling(t)
	ctx, cancel := context.WithCancel(t.Context())
	waiting := p.later(ctx, "GET", "")
	cancel() // whether it waits by now or not
	wantLater(t, waiting, refused400)
	wantCalls(t, a, "connect / ", "disconnected / lost")
	wantLater(t, p.later(t.Context(), "GET", ""), unknown400)
}

func TestPostsAtOnceEndTheSession(t *testing.T) {
	a, p := startPolling(t)
	socket := a.socket("/")
	socket.PauseRead()
	first := p.later(t.Context(), "POST", `42["a"]`)
	sessiontest.Eventually(t, func() bool { return len(a.noted()) == 2 }, func() string { return "the first POST is not taken in" })
	select {
	case got := <-first:
		t.Errorf("POST = %s while reading is paused, want no answer", got)
	default:
	}
	p.post(t, `42["b"]`, refused400)
	wantLater(t, first, "200 ok") // it was taken in
	wantCalls(t, a, "connect / ", `event / a [] []`, "disconnected / protocol")
}

// TestLastWords: a server that disconnects a polling client between two of its GETs still tells it, once. DISCONNECT and the close
// packet come in bodies of their own: official clients tell two ends of a socket when they read both in one turn.
func TestLastWords(t *testing.T) {
	a, p := startPolling(t)
	a.socket("/").Disconnect(transport.ReasonServer)
	wantCalls(t, a, "connect / ", "disconnected / server")
	sessiontest.Eventually(t, func() bool { return p.server.Count() == 0 }, func() string { return "the session does not end" })
	if !p.server.Owing() {
		t.Error("Owing() = false before the client has come for its last words")
	}
	wantLater(t, p.later(t.Context(), "POST", "3"), "200 ok") // a client that is refused would not come for the rest
	wantLater(t, p.later(t.Context(), "GET", ""), "200 41")
	wantLater(t, p.later(t.Context(), "POST", "3"), "200 ok")
	wantLater(t, p.later(t.Context(), "GET", ""), "200 1")
	if p.server.Owing() {
		t.Error("Owing() = true after the client's last words")
	}
	wantLater(t, p.later(t.Context(), "GET", ""), unknown400)
	wantLater(t, p.later(t.Context(), "POST", "3"), unknown400)
}

// upgrading is a WebSocket by which a polling client goes on. Unlike sessiontest.Conn it is not a session's own.
type upgrading struct {
	reader   sync.Mutex // held while the receiver is at work
	receiver transport.Receiver

	mu      sync.Mutex // guards what follows
	packets []string
	reason  transport.Reason
	ended   chan struct{}
}

func (p poller) probe(t *testing.T) *upgrading {
	t.Helper()
	u := p.webSocket()
	u.Say("2probe")
	return u
}

func (p poller) webSocket() *upgrading {
	u := &upgrading{ended: make(chan struct{})}
	u.reader.Lock()
	defer u.reader.Unlock()
	u.receiver = p.server.Upgrade(p.sid, u)
	return u
}

func (u *upgrading) Queue(m *transport.Message) bool { return u.add(string(m.Text())) }

func (u *upgrading) QueueRun(run []transport.Suffixed) (taken int) {
	for _, s := range run {
		if u.add(string(s.Message.Text()[:len(s.Message.Text())-1]) + string(s.Suffix)) {
			taken++
		}
	}
	return taken
}

func (u *upgrading) add(packet string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.packets = append(u.packets, packet)
	return u.reason == ""
}

func (u *upgrading) Close(_ transport.Code, reason transport.Reason) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.reason == "" {
		u.reason = reason
		close(u.ended)
		go func() {
			u.reader.Lock()
			defer u.reader.Unlock()
			u.receiver.Closed(reason)
		}()
	}
}

func (u *upgrading) Flush()           {}
func (u *upgrading) FlushDue() bool   { return false }
func (u *upgrading) PauseRead()       {}
func (u *upgrading) ResumeRead()      {}
func (u *upgrading) QueuedBytes() int { return 0 }
func (u *upgrading) Admitted()        {}

func (u *upgrading) Say(packets ...string) {
	for _, p := range packets {
		select {
		case <-u.ended:
		default:
			u.reader.Lock()
			u.receiver.Receive([]byte(p), false)
			u.reader.Unlock()
		}
	}
}

func (u *upgrading) got() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.packets)
}

func (u *upgrading) closed() bool {
	select {
	case <-u.ended:
		return true
	default:
		return false
	}
}

func (u *upgrading) want(t *testing.T, packets ...string) {
	t.Helper()
	sessiontest.Eventually(t, func() bool { return len(u.got()) >= len(packets) }, func() string { return "the WebSocket got too little" })
	if diff := cmp.Diff(packets, u.got()); diff != "" {
		t.Errorf("the WebSocket got: -want +got\n%s", diff)
	}
}

func (u *upgrading) wantClosed(t *testing.T, want transport.Reason) {
	t.Helper()
	select {
	case <-u.ended:
	case <-time.After(sessiontest.Patience):
		t.Fatalf("the WebSocket is not closed, want %s", want)
	}
	if u.reason != want {
		t.Errorf("the WebSocket is closed with %s, want %s", u.reason, want)
	}
}

// TestGetsWhileProbing: they are held for a while and then released, and packets still reach the client.
func TestGetsWhileProbing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, p := startPolling(t)
		waiting := p.later(t.Context(), "GET", "")
		synctest.Wait()
		u := p.probe(t)
		u.want(t, "3probe")
		wantLater(t, waiting, "200 6")
		start := time.Now()
		wantLater(t, p.later(t.Context(), "GET", ""), "200 6")
		if held := time.Since(start); held != 100*time.Millisecond {
			t.Errorf("a GET while probing was held for %v, want 100 ms", held)
		}
		m, _ := session.Emit{Namespace: "/", Event: "e", Args: []byte("[]")}.Encode()
		a.socket("/").Queue(m)
		wantLater(t, p.later(t.Context(), "GET", ""), `200 42["e"]`)
		held := p.later(t.Context(), "GET", "")
		synctest.Wait()
		u.Say("5")
		wantLater(t, held, refused400)
		a.socket("/").Queue(m)
		a.socket("/").Flush()
		u.Say(`42["a"]`)
		wantCalls(t, a, "connect / ", `event / a [] []`)
		u.want(t, "3probe", `42["e"]`)
		p.post(t, "3", refused400)
		second := p.probe(t)
		second.wantClosed(t, transport.ReasonRefused)
		u.Close(transport.CodeNormal, transport.ReasonLost)
		wantCalls(t, a, "connect / ", `event / a [] []`, "disconnected / lost")
	})
}

// TestTwoProbes: the second WebSocket is closed at once, whether or not the first has said its 5 by then.
func TestTwoProbes(t *testing.T) {
	a, p := startPolling(t)
	u := p.webSocket()
	p.probe(t).wantClosed(t, transport.ReasonRefused)
	u.Say("2probe")
	second := p.probe(t)
	second.wantClosed(t, transport.ReasonRefused)
	second.want(t)
	u.Say("5", `42["a"]`)
	wantCalls(t, a, "connect / ", `event / a [] []`)
	p.probe(t).wantClosed(t, transport.ReasonRefused)
	u.want(t, "3probe")
}

// TestProbeThatFails leaves the session on polling.
func TestProbeThatFails(t *testing.T) {
	for _, say := range [][]string{{"2"}, {"4a"}, {"x"}, {""}, slices.Repeat([]string{"2probe"}, 100)} {
		a, p := startPolling(t)
		u := p.webSocket()
		u.Say("2probe")
		u.Say(say...)
		u.wantClosed(t, transport.ReasonProtocol)
		waiting := p.later(t.Context(), "GET", "")
		p.post(t, `421["echo"]`, "200 ok")
		wantLater(t, waiting, `200 431[]`)
		if got := len(a.noted()); got != 2 {
			t.Errorf("App heard %q, want a CONNECT and an event", a.noted())
		}
	}
}

// TestUpgradeWithoutProbe: .NET's client goes over without asking. Others ask twice.
func TestUpgradeWithoutProbe(t *testing.T) {
	for _, say := range [][]string{{"5"}, {"2probe", "2probe", "5"}} {
		a, p := startPolling(t)
		waiting := p.later(t.Context(), "GET", "")
		u := p.webSocket()
		u.Say(append(say, `421["echo"]`)...)
		wantCalls(t, a, "connect / ", `event / echo [] []`)
		u.want(t, append(slices.Repeat([]string{"3probe"}, len(say)-1), `431[]`)...)
		select {
		case got := <-waiting:
			if got != refused400 && got != "200 6" {
				t.Errorf("GET that the upgrade met = %s, want 400, or 200 6", got)
			}
		case <-time.After(sessiontest.Patience):
			t.Error("the GET that the upgrade met is not answered")
		}
		p.post(t, "6", refused400)
		if u.closed() {
			t.Errorf("the WebSocket is closed with %s after the POST came too late, want it open", u.reason)
		}
	}
}

// TestNoopByPost: Swift's client POSTs a noop between the probe's answer and its 5.
func TestNoopByPost(t *testing.T) {
	a, p := startPolling(t)
	u := p.probe(t)
	u.want(t, "3probe")
	p.post(t, "6", "200 ok")
	u.Say("5", `421["echo"]`)
	wantCalls(t, a, "connect / ", `event / echo [] []`)
	u.want(t, "3probe", `431[]`)
}

// startUpgradeDuringPost has a 5 come while a POST is held back.
func startUpgradeDuringPost(t *testing.T) (a *app, p poller, u *upgrading, posting <-chan string) {
	t.Helper()
	a, p = startPolling(t)
	a.socket("/").PauseRead()
	posting = p.later(t.Context(), "POST", `42["a"]`+"\x1e"+`451-["bin",{"_placeholder":true,"num":0}]`+"\x1e"+"bAQI="+"\x1e"+`42["c"]`)
	sessiontest.Eventually(t, func() bool { return len(a.noted()) == 2 }, func() string { return "the POST is not taken in" })
	u = p.probe(t)
	u.want(t, "3probe")
	u.Say("5", `42["d"]`, `42["e"]`)
	return a, p, u, posting
}

// TestUpgradeDuringPost: packets of a POST and of the new WebSocket are not taken in at once, but one after the other.
func TestUpgradeDuringPost(t *testing.T) {
	a, p, u, posting := startUpgradeDuringPost(t)
	p.post(t, `42["f"]`, refused400) // too late, and harmless
	a.socket("/").ResumeRead()
	wantLater(t, posting, "200 ok")
	u.Say(`421["echo"]`)
	wantCalls(t, a, "connect / ", `event / a [] []`, `event / bin [{"_placeholder":true,"num":0}] ["\x01\x02"]`, `event / c [] []`,
		`event / d [] []`, `event / e [] []`, `event / echo [] []`)
	u.want(t, "3probe", `431[]`)
	if u.closed() {
		t.Errorf("the WebSocket is closed with %s, want it open", u.reason)
	}
	u.Close(transport.CodeNormal, transport.ReasonLost)
	sessiontest.Eventually(t, func() bool { return p.server.Count() == 0 }, func() string { return "the session goes on without its WebSocket" })
}

// TestUpgradeLostDuringPost: the session stays on polling when the WebSocket ends before the POST does, or brings too much meanwhile.
func TestUpgradeLostDuringPost(t *testing.T) {
	for name, end := range map[string]func(*upgrading){
		"closed":   func(u *upgrading) { u.Close(transport.CodeNormal, transport.ReasonLost) },
		"too much": func(u *upgrading) { u.Say(slices.Repeat([]string{`42["d"]`}, 1000)...) },
	} {
		t.Run(name, func(t *testing.T) {
			a, p, u, posting := startUpgradeDuringPost(t)
			end(u)
			sessiontest.Eventually(t, func() bool {
				next := p.webSocket()
				defer next.Close(transport.CodeNormal, transport.ReasonLost)
				return !next.closed()
			},
				func() string { return "the session takes no other WebSocket" })
			a.socket("/").ResumeRead()
			wantLater(t, posting, "200 ok")
			waiting := p.later(t.Context(), "GET", "")
			p.post(t, `421["echo"]`, "200 ok")
			wantLater(t, waiting, `200 431[]`)
			wantCalls(t, a, "connect / ", `event / a [] []`, `event / bin [{"_placeholder":true,"num":0}] ["\x01\x02"]`, `event / c [] []`, `event / echo [] []`)
		})
	}
}
