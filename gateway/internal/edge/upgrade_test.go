package edge

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/starling-chat/starling/gateway/internal/engineio"
	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/gateway/internal/transport"
)

// handshakeHeaders are those of a WebSocket handshake, with some changed: "Name: value", or "-Name" to leave one out.
func handshakeHeaders(changes ...string) []string {
	headers := []string{
		"Host: h", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
	}
	for _, change := range changes {
		name, _, with := strings.Cut(strings.TrimPrefix(change, "-"), ": ")
		var kept []string
		for _, h := range headers {
			if !strings.HasPrefix(h, name+": ") || strings.HasPrefix(change, "+") {
				kept = append(kept, h)
			}
		}
		if headers = kept; with {
			headers = append(headers, change)
		}
	}
	return headers
}

// raw sends a request as it stands and gives the answer, and the connection that it came on.
func raw(t *testing.T, front *httptest.Server, requestLine string, headers ...string) (*http.Response, net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(front.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(conn, requestLine+"\r\n"+strings.Join(headers, "\r\n")+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	res, err := http.ReadResponse(r, &http.Request{Method: http.MethodGet})
	if err != nil {
		t.Fatalf("no answer to %q: %v", headers, err)
	}
	return res, conn, r
}

const webSocketLine = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1"

// TestRefusedWebSocket: a handshake that is refused is answered, and its connection ends: nobody waits on it, and no balancer gives
// it to somebody else.
func TestRefusedWebSocket(t *testing.T) {
	front, _ := newEdge(t, nil)
	const version, key = "Sec-WebSocket-Version", "Sec-WebSocket-Key"
	for name, headers := range map[string][]string{
		"version 8":             handshakeHeaders(version + ": 8"),
		"version 14":            handshakeHeaders(version + ": 14"),
		"version x":             handshakeHeaders(version + ": x"),
		"no version":            handshakeHeaders("-" + version),
		"two versions":          append(handshakeHeaders(), version+": 8"),
		"no key":                handshakeHeaders("-" + key),
		"short key":             handshakeHeaders(key + ": YWJj"),
		"key that is no base64": handshakeHeaders(key + ": !!!!IHNhbXBsZSBub25jZQ=="),
		"two keys":              append(handshakeHeaders(), key+": eGhlIHNhbXBsZSBub25jZQ=="),
		"a body":                handshakeHeaders("Content-Length: 5"),
		"a body in chunks":      handshakeHeaders("Transfer-Encoding: chunked"),
	} {
		res, _, r := raw(t, front, webSocketLine, headers...)
		_, err := io.Copy(io.Discard, res.Body)
		if res.StatusCode != http.StatusBadRequest || err != nil || !res.Close {
			t.Errorf("%s: status %d, close %v, %v, want 400 and the connection closed", name, res.StatusCode, res.Close, err)
		}
		if _, err := r.ReadByte(); err != io.EOF {
			t.Errorf("%s: after the answer: %v, want the end of the connection", name, err)
		}
	}
}

// TestWebSocketThroughProxies: what proxies make of a handshake is served, as by official servers.
func TestWebSocketThroughProxies(t *testing.T) {
	front, _ := newEdge(t, func(c *Config) { c.MaxConnections = 100 })
	old := strings.Replace(webSocketLine, "HTTP/1.1", "HTTP/1.0", 1)
	for name, tc := range map[string]struct {
		line    string
		headers []string
	}{
		"two Connection lines":      {webSocketLine, append([]string{"Connection: keep-alive"}, handshakeHeaders()...)},
		"two Connection lines back": {webSocketLine, append(handshakeHeaders(), "Connection: keep-alive")},
		"a Connection list":         {webSocketLine, handshakeHeaders("Connection: keep-alive, upgrade")},
		"other case":                {webSocketLine, handshakeHeaders("Upgrade: WebSocket", "Connection: UPGRADE")},
		"every line twice":          {webSocketLine, append(handshakeHeaders(), handshakeHeaders()[1:]...)},
		"HTTP/1.0":                  {old, handshakeHeaders()},
		"HTTP/1.0, keep-alive":      {old, handshakeHeaders("Connection: keep-alive, Upgrade")},
		"HTTP/1.0 without a host":   {old, handshakeHeaders("-Host")},
	} {
		res, conn, r := raw(t, front, tc.line, tc.headers...)
		if res.StatusCode != http.StatusSwitchingProtocols || res.Header.Get("Sec-Websocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
			t.Errorf("%s: %d %v, want 101", name, res.StatusCode, res.Header)
		} else if b, err := r.ReadByte(); err != nil || b != 0x81 {
			t.Errorf("%s: first byte %#x, %v, want a text frame", name, b, err)
		}
		_ = conn.Close()
	}
	res, _, _ := raw(t, front, webSocketLine, handshakeHeaders("Connection: upgraded")...)
	if res.StatusCode != http.StatusBadRequest {
		t.Errorf("Connection: upgraded = %d, want 400", res.StatusCode)
	}
}

// oneTunnel is another gateway with a session of its own. It notes what it is asked and what becomes of its tunnel.
type oneTunnel struct {
	asked int
	ended chan transport.Reason
}

func (*oneTunnel) Poll(context.Context, string, session.PollRequest) (session.PollResponse, error) {
	return session.Refusal(engineio.ErrUnknownSession), nil
}

func (o *oneTunnel) OpenTunnel(context.Context, string, string) (func(transport.Conn) transport.Receiver, *engineio.RequestError, error) {
	o.asked++
	return func(transport.Conn) transport.Receiver { return o }, nil, nil
}

func (*oneTunnel) Carried() int                     { return 0 }
func (*oneTunnel) Arriving(string, string) func()   { return func() {} }
func (*oneTunnel) Receive([]byte, bool)             {}
func (*oneTunnel) BatchEnd()                        {}
func (o *oneTunnel) Closed(reason transport.Reason) { o.ended <- reason }

// TestTunnelIsNotClaimedInVain: another gateway's session is claimed for a WebSocket only after its handshake was judged, and let go
// when the connection cannot be taken over.
func TestTunnelIsNotClaimedInVain(t *testing.T) {
	log, st := slog.New(slog.DiscardHandler), sessiontest.Stats()
	limits := transport.Limits{MaxMessage: 1000, SendQueue: 1 << 16, FrameTimeout: time.Minute, CloseTimeout: time.Second}
	other := &oneTunnel{ended: make(chan transport.Reason, 1)}
	e := NewEndpoint(EndpointConfig{MaxPayload: 1000}, Deps{
		SIDs: session.NewSIDs("here", []byte("k")), Sessions: sessiontest.Server(t, silent{}, sessiontest.Config(), st),
		Sockets: transport.NewServer(limits, log), Peers: other, Stats: st, Log: log,
	})
	request := func(version string) *http.Request {
		sid := session.NewSIDs("there", []byte("k")).New()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/socket.io/?EIO=4&transport=websocket&sid="+sid, http.NoBody)
		r.Header = http.Header{
			"Upgrade": {"websocket"}, "Connection": {"Upgrade"},
			"Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}, "Sec-Websocket-Version": {version},
		}
		return r
	}
	rec := httptest.NewRecorder()
	e.ServeHTTP(rec, request("8"))
	if rec.Code != http.StatusBadRequest || other.asked != 0 {
		t.Errorf("a handshake of version 8 = %d, with %d tunnels claimed, want 400 and none", rec.Code, other.asked)
	}
	e.ServeHTTP(httptest.NewRecorder(), request("13")) // a recorder has no connection to take over
	select {
	case reason := <-other.ended:
		if reason != transport.ReasonLost || other.asked != 1 {
			t.Errorf("the tunnel ended as %q after %d claims, want %q after one", reason, other.asked, transport.ReasonLost)
		}
	case <-time.After(30 * time.Second):
		t.Error("the tunnel of a connection that could not be taken over stays")
	}
}
