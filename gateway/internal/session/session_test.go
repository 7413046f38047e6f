package session_test

import (
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

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/gateway/internal/socketio"
	"github.com/starling-chat/starling/gateway/internal/transport"
	"github.com/starling-chat/starling/proto/fault/faulttest"
)

// app accepts / and /custom, refuses /no, leaves /later to the test, and notes everything. It answers events named "echo".
type app struct {
	mu      sync.Mutex
	calls   []string
	sockets map[string]*session.Socket // the last one of each namespace

	accepted int
}

func newApp() *app { return &app{sockets: make(map[string]*session.Socket)} }

func (a *app) note(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls = append(a.calls, fmt.Sprintf(format, args...))
}

func (a *app) noted() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.calls...)
}

func (a *app) socket(namespace string) *session.Socket {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sockets[namespace]
}

func (a *app) Connect(s *session.Session, namespace string, auth []byte) {
	a.note("connect %s %s", namespace, auth)
	switch namespace {
	case "/no":
		s.Refuse(namespace, "Not you", []byte(`{"code":"no"}`))
	case "/later":
	default:
		a.accept(s, namespace)
	}
}

func (a *app) accept(s *session.Session, namespace string) *session.Socket {
	socket := s.NewSocket("", namespace, "user", a)
	if !s.Admit(socket, "", func() {}) {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sockets[namespace] = socket
	a.accepted++
	return socket
}

func (a *app) BatchEnd(*session.Socket) {}

func (a *app) Event(s *session.Socket, e session.Event) {
	a.note("event %s %s %s %q", s.Namespace, e.Name, e.Packet.AppendArgs(nil), e.Attachments)
	if e.Name == "echo" {
		m, err := session.AckMessage(s.Namespace, e.Packet.ID, e.Packet.AppendArgs(nil), e.Attachments)
		if err != nil {
			a.note("error %v", err)
			return
		}
		s.Queue(m)
		s.Flush()
	}
}

func (a *app) Ack(s *session.Socket, id int64, args []byte, attachments [][]byte) {
	a.note("ack %s %d %s %q", s.Namespace, id, args, attachments)
}

func (a *app) Disconnected(s *session.Socket, reason transport.Reason) {
	a.note("disconnected %s %s", s.Namespace, reason)
}

// open has a client connect.
func open(t *testing.T) (*app, *sessiontest.Conn, *session.Server) {
	t.Helper()
	a := newApp()
	server := sessiontest.Server(t, a, sessiontest.Config(), sessiontest.Stats())
	c, _ := sessiontest.Open(server, session.Headers{})
	return a, c, server
}

// sid takes the socket's id out of a CONNECT reply.
func sid(t *testing.T, reply string) string {
	t.Helper()
	var detail struct{ SID string }
	if err := json.Unmarshal([]byte(reply[strings.IndexByte(reply, '{'):]), &detail); err != nil || len(detail.SID) < 20 {
		t.Fatalf("CONNECT reply %s: %v, want a sid", reply, err)
	}
	return detail.SID
}

func wantCalls(t *testing.T, a *app, want ...string) {
	t.Helper()
	sessiontest.Eventually(t, func() bool { return len(a.noted()) >= len(want) }, func() string { return fmt.Sprintf("App heard %q, want %q", a.noted(), want) })
	if diff := cmp.Diff(want, a.noted()); diff != "" {
		t.Errorf("App heard: -want +got\n%s", diff)
	}
}

func TestHandshake(t *testing.T) {
	a, c, server := open(t)
	packets := c.Packets()
	if len(packets) != 1 || packets[0][0] != '0' {
		t.Fatalf("client got %q, want the open packet", packets)
	}
	var o map[string]any
	if err := json.Unmarshal([]byte(packets[0][1:]), &o); err != nil {
		t.Fatal(err)
	}
	engineID, _ := o["sid"].(string)
	delete(o, "sid")
	if diff := cmp.Diff(map[string]any{"upgrades": []any{}, "pingInterval": 3.6e6, "pingTimeout": 3.6e6, "maxPayload": 1e5}, o); diff != "" || len(engineID) < 20 {
		t.Errorf("open packet with sid %q: -want +got\n%s", engineID, diff)
	}
	if server.Count() != 1 {
		t.Errorf("Count() = %d, want 1", server.Count())
	}

	c.Say(`40{"token":"t"}`)
	main := sid(t, c.WaitFor(t, "40{"))
	c.Say(`40/custom,`, `40/no,{"a":1}`)
	custom := sid(t, c.WaitFor(t, "40/custom,{"))
	if got := c.WaitFor(t, "44"); got != `44/no,{"message":"Not you","data":{"code":"no"}}` {
		t.Errorf("refusal = %s", got)
	}
	if main == custom || main == engineID || custom == engineID {
		t.Errorf("ids %s, %s, %s, want all different", engineID, main, custom)
	}
	if a.socket("/").ID != main || a.socket("/").UserID != "user" {
		t.Errorf("socket = %+v, want the id that the client got", a.socket("/"))
	}

	c.Forget()
	c.Say(`42["hello",1,{"a":[2]}]`, `42/custom,7["echo","x"]`, `43/custom,12["yes"]`, `42[42]`)
	c.WaitFor(t, `43/custom,7["x"]`)
	c.Say("41/custom", `42["still",true]`)
	wantCalls(t, a, `connect / {"token":"t"}`, "connect /custom ", `connect /no {"a":1}`,
		`event / hello [1,{"a":[2]}] []`, `event /custom echo ["x"] []`, `ack /custom 12 ["yes"] []`, `event / 42 [] []`,
		"disconnected /custom left", "event / still [true] []")
	c.Say("40/custom,") // and again
	again := sid(t, c.WaitFor(t, "40/custom,{"))
	if again == custom {
		t.Error("a second socket of the namespace has the id of the first, want a new one")
	}
	c.Say("1")
	if code, reason := c.WaitEnded(t); code != transport.CodeNormal || reason != transport.ReasonClient {
		t.Errorf("closed with %d, %s, want 1000, client", code, reason)
	}
	if server.Count() != 0 {
		t.Errorf("Count() = %d after the end, want 0", server.Count())
	}
	wantCalls(t, a, append(a.noted()[:9], "connect /custom ", "disconnected / client", "disconnected /custom client")...)
}

func TestViolationsCloseTheSession(t *testing.T) {
	for name, packets := range map[string][]string{
		"empty":                      {""},
		"unknown engine packet":      {"abc"},
		"client's ping":              {"2"},
		"probe":                      {"2probe"},
		"no socket.io type":          {"4abc"},
		"event with object":          {"42{}"},
		"event without name":         {"42[]"},
		"event with garbage":         {`42abc["a"]`},
		"event not closed":           {`42["a"`},
		"reserved event":             {`42["disconnect"]`},
		"reserved event with escape": {`42["c\u006fnnect"]`},
		"connect with text":          {`40/custom,"x"`},
		"second connect":             {"40"},
		"event before connect":       {`42/custom,["a"]`},
		"event to unanswered":        {"40/later,", `42/later,["a"]`},
		"event to refused":           {"40/no,", `42/no,["a"]`},
		"connect error":              {`44{"message":"x"}`},
		"too many attachments":       {`454-["a",{"_placeholder":true,"num":0}]`},
		"placeholder out of range":   {`451-["a",{"_placeholder":true,"num":1}]`},
		"text inside binary":         {`451-["a",{"_placeholder":true,"num":0}]`, `42["b"]`},
		"stray binary":               {"b"},
		"stray base64":               {"bAQID"},
		"bad base64":                 {`451-["a",{"_placeholder":true,"num":0}]`, "b!"},
		"binary too much":            {`452-["a",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`, "b" + strings.Repeat("x", 60_000), "b" + strings.Repeat("x", 60_000)},
		"control characters in nsp":  {"40/a\x1eb,"},
		"too many namespaces":        namespaces(17),
	} {
		t.Run(name, func(t *testing.T) {
			a, c, server := open(t)
			other, _ := sessiontest.Open(server, session.Headers{})
			c.Say("40")
			c.WaitFor(t, "40{")
			for _, p := range packets {
				if strings.HasPrefix(p, "b") && !strings.HasPrefix(p, "bA") && !strings.HasPrefix(p, "b!") {
					c.SayBinary([]byte(p[1:]))
				} else {
					c.Say(p)
				}
			}
			if code, reason := c.WaitEnded(t); code != transport.CodeProtocol || reason != transport.ReasonProtocol {
				t.Errorf("closed with %d, %s, want 1002, protocol", code, reason)
			}
			calls := strings.Join(a.noted(), "\n")
			if !strings.Contains(calls, "disconnected / protocol") || strings.Contains(calls, "event ") {
				t.Errorf("App heard %q, want no event, and the end of the socket", calls)
			}
			if _, _, ended := other.Ended(); ended || server.Count() != 1 {
				t.Error("another session was closed, want it untouched")
			}
		})
	}
}

// TestIgnoredPackets: official servers ignore what an Engine.IO client has no reason to send, and some clients send it.
func TestIgnoredPackets(t *testing.T) {
	a, c, _ := open(t)
	c.Say("6", "40", "5", "0{}", "6", "6x", `42["a"]`)
	c.WaitFor(t, "40{")
	wantCalls(t, a, "connect / ", `event / a [] []`)
	if _, reason, ended := c.Ended(); ended {
		t.Errorf("closed with %s, want it open", reason)
	}
}

// TestForeignClientIsExplained: the log names the likely cause when a client does not speak this protocol, once for many.
func TestForeignClientIsExplained(t *testing.T) {
	for name, tt := range map[string]struct {
		say  []string // "b" begins a binary one
		want string
	}{
		"MessagePack":            {[]string{"b\x83\xa4type\x00"}, "MessagePack"},
		"JSON parser":            {[]string{`4{"type":0,"nsp":"/"}`}, "custom parser"},
		"plain Engine.IO":        {[]string{"4hello"}, "custom parser"},
		"pings":                  {[]string{"40", "2"}, "Engine.IO 3"},
		"event before CONNECT":   {[]string{`42["a"]`}, ""},
		"broken after CONNECT":   {[]string{"40", "4hello"}, ""},
		"unknown Engine.IO type": {[]string{"x"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var log faulttest.Log
			server := session.NewServer(sessiontest.Config(), session.NewSIDs("test", []byte("key")), newApp(), nil, sessiontest.Stats(), log.Logger())
			for range 3 {
				c, _ := sessiontest.Open(server, session.Headers{RemoteIP: "192.0.2.7"})
				for _, p := range tt.say {
					if binary, ok := strings.CutPrefix(p, "b"); ok {
						c.SayBinary([]byte(binary))
					} else {
						c.Say(p)
					}
				}
				c.WaitEnded(t)
			}
			got := ""
			for line := range strings.Lines(log.String()) {
				if !strings.Contains(line, `"msg":"connection closed"`) { // every connection has that one
					got += line
				}
			}
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) || strings.Count(got, "192.0.2.7") > 1 || strings.Contains(got, "hello") {
				t.Errorf("log = %q, want one line with %q", got, tt.want)
			}
		})
	}
}

func namespaces(n int) (packets []string) {
	for i := range n {
		packets = append(packets, fmt.Sprintf("40/n%d,", i))
	}
	return packets
}

func TestBinary(t *testing.T) {
	a, c, _ := open(t)
	c.Say("40")
	c.Say(`452-5["echo",{"_placeholder":true,"num":0},"text",{"_placeholder":true,"num":1}]`)
	c.SayBinary([]byte{1, 2})
	c.Say("3") // a pong between attachments
	c.Say("bAwQ=")
	if got := c.WaitFor(t, "46"); got != `462-5[{"_placeholder":true,"num":0},"text",{"_placeholder":true,"num":1}]` {
		t.Errorf("binary ack = %s", got)
	}
	p := c.Packets()
	if p[len(p)-2] != "b\x01\x02" || p[len(p)-1] != "b\x03\x04" {
		t.Errorf("attachments = %q, want both", p[len(p)-2:])
	}
	c.Say(`461-9[{"_placeholder":true,"num":0}]`)
	c.SayBinary([]byte("x"))
	c.Say(`450-["none"]`, `42["after"]`)
	wantCalls(t, a, "connect / ", `event / echo [{"_placeholder":true,"num":0},"text",{"_placeholder":true,"num":1}] ["\x01\x02" "\x03\x04"]`,
		`ack / 9 [{"_placeholder":true,"num":0}] ["x"]`, "event / none [] []", "event / after [] []")
}

// TestTooDeep: JSON that nests too deeply is the App's to refuse; the session goes on.
func TestTooDeep(t *testing.T) {
	a, c, _ := open(t)
	c.Say("40", `42["deep",`+strings.Repeat("[", 20)+strings.Repeat("]", 20)+`]`, `42["after"]`)
	wantCalls(t, a, "connect / ", "event / deep [] []", "event / after [] []")
}

func TestAcceptAndRefuseLate(t *testing.T) {
	a := newApp()
	server := sessiontest.Server(t, a, sessiontest.Config(), sessiontest.Stats())
	c, s := sessiontest.Open(server, session.Headers{Authorization: "Bearer x", RemoteIP: "1.2.3.4"})
	if got := s.Headers(); got.Authorization != "Bearer x" || got.RemoteIP != "1.2.3.4" {
		t.Errorf("Headers() = %+v", got)
	}
	if a.accept(s, "/later") != nil {
		t.Error("Accept without CONNECT = a socket, want nil")
	}
	s.Refuse("/later", "no", nil)
	c.Say("40/later,")
	if a.accept(s, "/later") == nil {
		t.Error("Accept = nil, want a socket")
	}
	if a.accept(s, "/later") != nil {
		t.Error("second Accept = a socket, want nil")
	}
	s.Refuse("/later", "no", nil)
	c.Say("40/x,")
	accepted, refused := 0, 0
	for _, packet := range c.Packets() {
		if strings.HasPrefix(packet, "40/later,") {
			accepted++
		}
		if strings.HasPrefix(packet, "44") {
			refused++
		}
	}
	if accepted != 1 || refused != 0 {
		t.Errorf("client got %s, want one CONNECT reply and no refusal", c.Packets())
	}

	c.Say("40/failing,")
	gone, s2 := sessiontest.Open(server, session.Headers{})
	gone.Say("40/later,")
	gone.Say("1")
	gone.WaitEnded(t)
	if a.accept(s2, "/later") != nil {
		t.Error("Accept after the end = a socket, want nil")
	}
	s2.Refuse("/later", "no", nil)
	for _, call := range a.noted() {
		if strings.HasPrefix(call, "disconnected /later") {
			t.Errorf("App heard %q of a socket that never was", call)
		}
	}
}

func TestServerDisconnects(t *testing.T) {
	a, c, _ := open(t)
	c.Say("40", "40/custom,")
	a.socket("/custom").Disconnect(transport.ReasonServer)
	if got := c.WaitFor(t, "41"); got != "41/custom" && got != "41/custom," {
		t.Errorf("client got %s, want 41/custom,", got)
	}
	c.Say(`42/custom,["crossed"]`, `43/custom,1[]`, "41/custom,", `42["works"]`) // packets that crossed with it
	a.socket("/custom").Disconnect(transport.ReasonServer)
	if _, _, ended := c.Ended(); ended {
		t.Fatal("the session ended with a socket left, want it open")
	}
	a.socket("/").Disconnect(transport.ReasonServer)
	if code, reason := c.WaitEnded(t); code != transport.CodeNormal || reason != transport.ReasonServer {
		t.Errorf("closed with %d, %s, want 1000, server", code, reason)
	}
	wantCalls(t, a, "connect / ", "connect /custom ", "disconnected /custom server", "event / works [] []", "disconnected / server")
}

func TestRefuseNewSessionsWhileDraining(t *testing.T) {
	_, c, server := open(t)
	opened := server.Refuse()
	if len(opened) != 1 {
		t.Fatalf("Refuse() = %d sessions, want 1", len(opened))
	}
	late, _ := sessiontest.Open(server, session.Headers{})
	if code, reason := late.WaitEnded(t); code != transport.CodeRestart || reason != transport.ReasonDrain || len(late.Queued()) != 0 {
		t.Errorf("closed with %d, %s after %q, want 1012, drain, and no packet", code, reason, late.Queued())
	}
	opened[0].Close(transport.CodeRestart, transport.ReasonDrain)
	c.WaitEnded(t)
	if server.Count() != 0 {
		t.Errorf("Count() = %d, want 0", server.Count())
	}
}

// heartbeat runs a test with intervals in the clock of synctest.
func heartbeat(t *testing.T, interval, timeout, connect time.Duration, test func(t *testing.T, a *app, open func() *sessiontest.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		cfg := sessiontest.Config()
		cfg.PingInterval, cfg.PingTimeout, cfg.ConnectTimeout = interval, timeout, connect
		a := newApp()
		server := session.NewServer(cfg, session.NewSIDs("test", []byte("key")), a, socketio.Names{}, sessiontest.Stats(), slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = server.Run(ctx) }()
		time.Sleep(interval / 7) // the hand stands somewhere
		test(t, a, func() *sessiontest.Conn {
			c, _ := sessiontest.Open(server, session.Headers{})
			c.Forget()
			return c
		})
		cancel()
		<-done
	})
}

// countPings has a client answer each ping for so long; it tells how many came.
func countPings(c *sessiontest.Conn, d time.Duration) (n int) {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		for _, p := range c.Packets() {
			if p == "2" {
				n++
				c.Say("3")
			}
		}
		c.Forget()
	}
	return n
}

func TestHeartbeat(t *testing.T) {
	for name, tc := range map[string]struct{ interval, timeout time.Duration }{
		"defaults":               {25 * time.Second, 20 * time.Second},
		"short":                  {300 * time.Millisecond, 200 * time.Millisecond},
		"timeout over interval":  {2 * time.Second, 20 * time.Second},
		"interval far over both": {60 * time.Second, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			heartbeat(t, tc.interval, tc.timeout, 10*tc.interval, func(t *testing.T, _ *app, open func() *sessiontest.Conn) {
				c := open()
				c.Say("40")
				if n := countPings(c, 20*tc.interval); n < 17 || n > 22 {
					t.Errorf("%d pings in 20 intervals, want about 20", n)
				}
				if _, reason, ended := c.Ended(); ended {
					t.Fatalf("closed for %s although it answered, want it open", reason)
				}
				for len(c.Packets()) == 0 {
					time.Sleep(time.Millisecond)
				}
				start := time.Now() // no pong any more
				for _, _, ended := c.Ended(); !ended && time.Since(start) < 3*tc.timeout; _, _, ended = c.Ended() {
					time.Sleep(time.Millisecond)
				}
				took := time.Since(start)
				tick := min(max(min(tc.interval, tc.timeout)/10, 10*time.Millisecond), 500*time.Millisecond)
				code, reason, _ := c.Ended()
				if reason != transport.ReasonPingTimeout || took < tc.timeout-tick || took > tc.timeout+2*tick {
					t.Errorf("closed with %d, %s after %v, want ping_timeout after %v", code, reason, took, tc.timeout)
				}
				if code != transport.CodeGoingAway { // after 1000 some official clients do not come back
					t.Errorf("closed with %d, want 1001", code)
				}
			})
		})
	}
}

// TestFirstPing: sessions that open together are pinged for the first time at different times, half an interval after the handshake at the
// earliest and an interval after it at the latest, and an interval after each pong from then on.
func TestFirstPing(t *testing.T) {
	const interval, sessions = 25 * time.Second, 200
	const tick = time.Second // the wheel's, and more
	heartbeat(t, interval, 20*time.Second, time.Hour, func(t *testing.T, _ *app, open func() *sessiontest.Conn) {
		start := time.Now()
		conns, first := make([]*sessiontest.Conn, sessions), make([]time.Duration, sessions)
		for i := range conns {
			conns[i] = open()
			conns[i].Say("40")
			conns[i].WaitFor(t, "40")
			conns[i].Forget()
			time.Sleep(50 * time.Microsecond)
		}
		again := 0
		for time.Since(start) < 2*interval+2*tick {
			time.Sleep(100 * time.Millisecond)
			for i, c := range conns {
				if len(c.Packets()) == 0 {
					continue
				}
				c.Forget()
				c.Say("3")
				switch since := time.Since(start); {
				case first[i] == 0:
					first[i] = since
				case since-first[i] < interval-tick || since-first[i] > interval+tick:
					t.Errorf("the second ping came %v after the first, want about %v", since-first[i], interval)
				default:
					again++
				}
			}
		}
		slices.Sort(first)
		if first[0] < interval/2-tick || first[sessions-1] > interval+tick {
			t.Errorf("the first pings came %v to %v after the handshake, want %v to %v", first[0], first[sessions-1], interval/2, interval)
		}
		for i := range 10 { // a tenth of them in each tenth of the time, and some
			from, to := interval/2+interval/20*time.Duration(i), interval/2+interval/20*time.Duration(i+1)
			n := 0
			for _, at := range first {
				if at >= from-tick/2 && at < to+tick/2 {
					n++
				}
			}
			if n < sessions/20 || n > sessions/4 {
				t.Errorf("%d first pings of %d came %v to %v after the handshake, want about a tenth", n, sessions, from, to)
			}
		}
		if again != sessions {
			t.Errorf("%d second pings, want %d", again, sessions)
		}
	})
}

// TestLatePong: after a pong that took longer than an interval the next ping comes as after any other, not at the end of the timeout.
func TestLatePong(t *testing.T) {
	const interval, timeout = 2 * time.Second, 20 * time.Second
	heartbeat(t, interval, timeout, time.Minute, func(t *testing.T, _ *app, open func() *sessiontest.Conn) {
		c := open()
		c.Say("40")
		c.WaitFor(t, "40")
		for range 3 {
			c.WaitFor(t, "2")
			c.Forget()
			time.Sleep(interval * 5 / 4)
			c.Say("3")
			ponged := time.Now()
			c.WaitFor(t, "2")
			if took := time.Since(ponged); took > 2*interval {
				t.Fatalf("the next ping came %v after a late pong, want it after about %v", took, interval)
			}
		}
	})
}

func TestConnectTimeout(t *testing.T) {
	for _, timeout := range []time.Duration{time.Second, 10 * time.Second, 45 * time.Second, 3 * time.Minute} {
		heartbeat(t, 25*time.Second, 20*time.Second, timeout, func(t *testing.T, _ *app, open func() *sessiontest.Conn) {
			silent, pending, connected := open(), open(), open()
			pending.Say("40/later,")
			connected.Say("40")
			start := time.Now()
			go countPings(connected, 4*time.Minute)
			go countPings(pending, 4*time.Minute)
			countPings(silent, 4*time.Minute)
			for _, c := range []*sessiontest.Conn{silent, pending} {
				if code, reason, ended := c.Ended(); !ended || code != transport.CodePolicy || reason != transport.ReasonNoConnect {
					t.Errorf("ConnectTimeout %v: closed with %d, %s, %v, want 1008, no_connect", timeout, code, reason, ended)
				}
			}
			if _, reason, ended := connected.Ended(); ended {
				t.Errorf("ConnectTimeout %v: a connected session was closed for %s after %v", timeout, reason, time.Since(start))
			}
		})
	}
}

// TestConnectTimeoutIsPunctual: no CONNECT in time ends the session about then.
func TestConnectTimeoutIsPunctual(t *testing.T) {
	heartbeat(t, 25*time.Second, 20*time.Second, 10*time.Second, func(t *testing.T, _ *app, open func() *sessiontest.Conn) {
		c, start := open(), time.Now()
		<-time.After(9 * time.Second)
		if _, _, ended := c.Ended(); ended {
			t.Error("closed before ConnectTimeout")
		}
		for _, _, ended := c.Ended(); !ended && time.Since(start) < time.Minute; _, _, ended = c.Ended() {
			time.Sleep(100 * time.Millisecond)
		}
		if took := time.Since(start); took > 12*time.Second {
			t.Errorf("closed after %v, want about 10 s", took)
		}
	})
}

func TestConcurrentSession(t *testing.T) {
	a := newApp()
	cfg := sessiontest.Config()
	cfg.PingInterval, cfg.PingTimeout = 20*time.Millisecond, 20*time.Millisecond
	server := sessiontest.Server(t, a, cfg, sessiontest.Stats())
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			c, s := sessiontest.Open(server, session.Headers{})
			var inner sync.WaitGroup
			inner.Go(func() { c.Say("40", "40/later,", `42["a"]`, "3", "41") })
			inner.Go(func() { a.accept(s, "/later") })
			inner.Go(func() {
				if socket := a.socket("/later"); socket != nil {
					socket.Disconnect(transport.ReasonServer)
				}
			})
			inner.Go(func() { time.Sleep(time.Millisecond); s.Close(transport.CodeRestart, transport.ReasonDrain) })
			inner.Wait()
			c.WaitEnded(t)
		})
	}
	wg.Wait()
	ended := 0
	for _, call := range a.noted() {
		if strings.HasPrefix(call, "disconnected") {
			ended++
		}
	}
	if server.Count() != 0 || a.accepted != ended {
		t.Errorf("Count() = %d with %d sockets accepted and %d disconnected, want 0 and as many", server.Count(), a.accepted, ended)
	}
}
