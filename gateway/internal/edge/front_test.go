package edge

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/gateway/internal/transport"
	"github.com/starling-chat/starling/proto/fault/faulttest"
)

// frontPatience is how long a test waits for what must come.
const frontPatience = 30 * time.Second

// running is an Edge that serves a listener of its own.
type running struct {
	edge    *Edge
	front   *front // nil: net/http has the listener
	address string
	sockets *transport.Server
	stop    func() // and waits for the end
}

// runEdge runs an Edge whose handshakes are its own, or net/http's.
func runEdge(t *testing.T, own bool, change func(*Config)) *running {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	log, st := new(faulttest.Log).Logger(), sessiontest.Stats()
	cfg := Config{MaxPayload: 1000, MaxConnections: 100, IPBurst: 1, Cluster: brokenCluster{}, IdleTimeout: time.Minute}
	if change != nil {
		change(&cfg)
	}
	r := &running{address: l.Addr().String()}
	r.sockets = transport.NewServer(transport.Limits{MaxMessage: 1000, SendQueue: 1 << 16, FrameTimeout: time.Minute, CloseTimeout: time.Second}, log)
	r.edge, err = New(cfg, Deps{
		SIDs: session.NewSIDs("g", []byte("k")), Sessions: sessiontest.Server(t, silent{}, sessiontest.Config(), st), Sockets: r.sockets,
		Stats: st, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	r.edge.cfg.Listener = l
	if own {
		r.front = newFront(l, r.edge.conns, r.edge.server.Handler, DefaultPath, log)
		r.edge.cfg.Listener = r.front
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = r.edge.Run(ctx)
		if r.front != nil {
			r.front.Wait()
		}
	}()
	r.stop = func() { cancel(); <-done }
	t.Cleanup(r.stop)
	return r
}

func (r *running) dial(t *testing.T) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", r.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(frontPatience))
	return c.(*net.TCPConn)
}

const (
	websocketPath = "/socket.io/?EIO=4&transport=websocket"
	usualHead     = "Host: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)

// earlyFrame is a frame of a client that does not wait for the answer, and breaks the protocol, so that one sees that it came.
const earlyFrame = "\x81\x81\x00\x00\x00\x002"

// handshake is a usual handshake with some lines more.
func handshake(more ...string) string {
	return "GET " + websocketPath + " HTTP/1.1\r\n" + usualHead + strings.Join(append(more, "\r\n"), "")
}

// said is what a server answers to the pieces of a request, as far as it does not change from one answer to the next.
func said(t *testing.T, r *running, pieces ...string) string {
	t.Helper()
	c := r.dial(t)
	for i, p := range pieces {
		if i > 0 {
			time.Sleep(20 * time.Millisecond) // so that they come apart; nothing is asserted if they do not
		}
		if _, err := io.WriteString(c, p); err != nil {
			break // it has answered
		}
	}
	in := bufio.NewReader(c)
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		return "no answer"
	}
	defer func() { _ = res.Body.Close() }()
	res.Header.Del("Date")
	if res.Header.Get("Retry-After") != "" {
		res.Header.Set("Retry-After", "some seconds")
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		opening := make([]byte, 4)
		_, err := io.ReadFull(in, opening)
		closed := false
		if strings.HasSuffix(strings.Join(pieces, ""), earlyFrame) {
			rest, _ := io.ReadAll(in)
			closed = strings.Contains(string(rest), "\x88\x02\x03\xea") // 1002
		}
		return fmt.Sprintf("101 %v %v %q, closed for the frame: %v", res.Header, err, opening[len(opening)-1:], closed)
	}
	body, err := io.ReadAll(res.Body)
	return fmt.Sprintf("%d %v close=%v %v %q", res.StatusCode, res.Header, res.Close, err, body)
}

// TestOwnHandshakes: whatever is asked, and in however many pieces, is answered as by net/http.
func TestOwnHandshakes(t *testing.T) {
	t.Parallel()
	long := "Cookie: " + strings.Repeat("c", 5000) + "\r\n"
	get := "GET " + websocketPath + " HTTP/1.1\r\n"
	for name, tc := range map[string]struct {
		pieces []string
		own    bool // net/http is not to see it
	}{
		"plain":                    {[]string{handshake()}, true},
		"with a proxy's lines":     {[]string{handshake("X-Forwarded-For: 10.1.1.1\r\nX-Forwarded-Proto: https\r\nCookie: a=b; c=d\r\n")}, true},
		"in lower case":            {[]string{get + strings.ReplaceAll(usualHead, "Upgrade: w", "upgrade: W") + "\r\n"}, true},
		"with a subprotocol":       {[]string{handshake("Sec-WebSocket-Protocol: chat, superchat\r\n")}, true},
		"with a frame":             {[]string{handshake() + earlyFrame}, true},
		"with a token":             {[]string{handshake("Authorization: Bearer x\r\n")}, true},
		"of this page":             {[]string{handshake("Origin: http://localhost\r\n")}, true},
		"of a foreign page":        {[]string{handshake("Origin: https://evil.org\r\n")}, true},
		"with a bad key":           {[]string{strings.Replace(handshake(), "dGhl", "", 1)}, true},
		"of another version":       {[]string{strings.Replace(handshake(), ": 13", ": 8", 1)}, true},
		"of another EIO":           {[]string{strings.Replace(handshake(), "EIO=4", "EIO=3", 1)}, true},
		"of no transport":          {[]string{strings.Replace(handshake(), "transport=websocket", "transport=x", 1)}, true},
		"of an unknown session":    {[]string{strings.Replace(handshake(), "EIO=4", "EIO=4&sid=x", 1)}, false},
		"of another path":          {[]string{strings.Replace(handshake(), "/socket.io/", "/other/", 1)}, false},
		"of a whole URL":           {[]string{strings.Replace(handshake(), "/socket.io/", "http://localhost/socket.io/", 1)}, false},
		"in two pieces":            {[]string{handshake()[:30], handshake()[30:]}, false},
		"in three, with a frame":   {[]string{handshake()[:1], handshake()[1:100], handshake()[100:] + earlyFrame}, false},
		"with the end later":       {[]string{handshake()[:len(handshake())-2], "\r\n" + earlyFrame}, false},
		"by HTTP/1.0":              {[]string{strings.Replace(handshake(), "HTTP/1.1", "HTTP/1.0", 1)}, false},
		"by HTTP/2.0":              {[]string{strings.Replace(handshake(), "HTTP/1.1", "HTTP/2.0", 1)}, false},
		"with a long head":         {[]string{handshake(long)}, false},
		"with too long a head":     {[]string{handshake(strings.Repeat(long, 8))}, false},
		"without a host":           {[]string{strings.Replace(handshake(), "Host: localhost\r\n", "", 1)}, false},
		"with two hosts":           {[]string{handshake("Host: other\r\n")}, false},
		"with a strange host":      {[]string{strings.Replace(handshake(), "Host: localhost", "Host: a b", 1)}, false},
		"with a line that goes on": {[]string{handshake("X-A: b\r\n c\r\n")}, false},
		"with a byte 0":            {[]string{handshake("X-A: b\x00c\r\n")}, false},
		"with a space in a name":   {[]string{handshake("X A: b\r\n")}, false},
		"with a bare line feed":    {[]string{handshake("X-A: b\nX-B: c\r\n")}, false},
		"with a body":              {[]string{handshake("Content-Length: 5\r\n") + "hello"}, false},
		"with chunks":              {[]string{handshake("Transfer-Encoding: chunked\r\n") + "0\r\n\r\n"}, false},
		"that expects":             {[]string{handshake("Expect: 100-continue\r\n")}, false},
		"by POST":                  {[]string{strings.Replace(handshake(), "GET", "POST", 1)}, false},
		"by OPTIONS":               {[]string{strings.Replace(handshake("Access-Control-Request-Method: GET\r\nOrigin: http://localhost\r\n"), "GET", "OPTIONS", 1)}, false},
		"that is none":             {[]string{"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"}, false},
		"that is polling":          {[]string{"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\nOrigin: http://evil.org\r\nConnection: close\r\n\r\n"}, false},
		"that is no HTTP":          {[]string{"hello\r\n\r\n"}, false},
		"that is TLS":              {[]string{"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plain, own := runEdge(t, false, nil), runEdge(t, true, nil)
			want, got := said(t, plain, tc.pieces...), said(t, own, tc.pieces...)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-net/http +own\n%s", diff)
			}
			if early := strings.HasSuffix(tc.pieces[len(tc.pieces)-1], earlyFrame); early && !strings.Contains(want, "closed for the frame: true") {
				t.Errorf("the frame did not come: %s", want)
			}
			if taken := own.front.taken.Load() > 0; taken != tc.own && len(tc.pieces) == 1 { // pieces may come together

				t.Errorf("net/http did not see it: %v, want %v", taken, tc.own)
			}
		})
	}
}

// TestOwnHandshakesAreBounded: the bounds of addresses, of sessions and of their rate are those of net/http's way, and refused connections leave
// nothing behind.
func TestOwnHandshakesAreBounded(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Config){
		"sessions": func(c *Config) { c.MaxConnections = 2 },
		"rate": func(c *Config) {
			c.IPRate, c.IPBurst, c.TrustedProxies = 0.001, 2, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		},
		"judged": func(c *Config) { c.Judged = func() (time.Duration, bool) { return 3 * time.Second, false } },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plain, own := runEdge(t, false, change), runEdge(t, true, change)
			for i := range 4 {
				request := handshake("X-Forwarded-For: 203.0.113.7\r\n")
				want, got := said(t, plain, request), said(t, own, request)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("handshake %d: -net/http +own\n%s", i, diff)
				}
			}
			if got := own.front.taken.Load(); got != 4 {
				t.Errorf("%d handshakes were own ones, want 4", got)
			}
		})
	}
}

// held is how many connections the edge counts beside sessions.
func (r *running) held() int {
	r.edge.conns.mu.Lock()
	defer r.edge.conns.mu.Unlock()
	return len(r.edge.conns.conns)
}

func (r *running) awaitHeld(t *testing.T, want int) {
	t.Helper()
	for end := time.Now().Add(frontPatience); r.held() != want; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d connections are counted, want %d", r.held(), want)
		}
	}
}

// TestSilenceIsCounted: who says nothing is counted once, makes room for who comes, and is forgotten with the connection; so is who was handed on.
func TestSilenceIsCounted(t *testing.T) {
	t.Parallel()
	const most = 1 + spareSockets
	r := runEdge(t, true, func(c *Config) { c.MaxSockets = 1 })
	silent := make([]*net.TCPConn, most)
	for i := range silent {
		silent[i] = r.dial(t)
	}
	r.awaitHeld(t, most)
	if got := said(t, r, "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "200") {
		t.Errorf("a request beside silence is answered %s", got)
	}
	r.awaitHeld(t, most-1) // one was ended for it
	for _, c := range silent {
		_ = c.Close()
	}
	r.awaitHeld(t, 0)
	begun := r.dial(t)
	_, _ = io.WriteString(begun, "GET /heal")
	r.awaitHeld(t, 1)
	_, _ = io.WriteString(begun, "thz HTTP/1.1\r\nHost: a\r\n\r\n")
	if res, err := http.ReadResponse(bufio.NewReader(begun), nil); err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("a request in two pieces: %v, %v", res, err)
	}
	r.awaitHeld(t, 1) // between two requests
	_ = begun.Close()
	r.awaitHeld(t, 0)
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// TestStopWithSilence: connections that have said nothing do not hold up the end.
func TestStopWithSilence(t *testing.T) {
	t.Parallel()
	r := runEdge(t, true, nil)
	silent := r.dial(t)
	r.awaitHeld(t, 1)
	r.stop()
	if _, err := silent.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("Read = %v of a silent connection after the end, want that it has ended", err)
	}
	if got := r.held(); got != 0 {
		t.Errorf("%d connections are counted after the end, want none", got)
	}
}

// TestHeadInTime: the time for a head begins when the connection is accepted, whoever reads it.
func TestHeadInTime(t *testing.T) {
	t.Parallel()
	near, far := net.Pipe()
	defer func() { _, _ = near.Close(), far.Close() }()
	noted := &notingConn{Conn: near}
	latest := time.Now().Add(time.Second)
	c := &aheadConn{Conn: noted, latest: latest}
	later := latest.Add(time.Hour)
	_ = c.SetReadDeadline(later)
	_ = c.SetReadDeadline(later) // of a body
	if diff := cmp.Diff([]time.Time{latest, later}, noted.deadlines); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

type notingConn struct {
	net.Conn
	deadlines []time.Time
}

func (c *notingConn) SetReadDeadline(at time.Time) error {
	c.deadlines = append(c.deadlines, at)
	return nil
}
