package edge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"

	"github.com/starling-chat/starling/gateway/internal/rest"
	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/gateway/internal/transport"
	"github.com/starling-chat/starling/platform/rpc"
	"github.com/starling-chat/starling/proto/fault"
	"github.com/starling-chat/starling/proto/fault/faulttest"
	authv1 "github.com/starling-chat/starling/proto/gen/starling/auth/v1"
	chatv1 "github.com/starling-chat/starling/proto/gen/starling/chat/v1"
	clusterv1 "github.com/starling-chat/starling/proto/gen/starling/cluster/v1"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// services are those behind the edge; they note the metadata of the last call.
type services struct {
	authv1.UnimplementedAuthServiceServer
	chatv1.UnimplementedChatServiceServer

	log   faulttest.Log // of the services and of the edge
	mu    sync.Mutex
	last  metadata.MD
	shown metadata.MD // of the last token or key that was shown
}

// brokenCluster is the gateway's own part of the REST interface with a mistake in it.
type brokenCluster struct {
	clusterv1.UnimplementedClusterServiceServer
}

func (brokenCluster) FetchSockets(context.Context, *clusterv1.FetchSocketsRequest) (*clusterv1.FetchSocketsResponse, error) {
	return nil, errors.New("secret cause")
}

func (s *services) note(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last, _ = metadata.FromIncomingContext(ctx)
}

func (s *services) noteShown(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shown, _ = metadata.FromIncomingContext(ctx)
}

func (s *services) Authenticate(ctx context.Context, r *authv1.AuthenticateRequest) (*authv1.AuthenticateResponse, error) {
	s.noteShown(ctx)
	if r.GetToken() != "good" {
		return nil, fault.New(fault.Unauthenticated, "Invalid token")
	}
	return &authv1.AuthenticateResponse{Identity: &eventv1.Identity{UserId: "u"}}, nil
}

func (s *services) AuthenticateKey(ctx context.Context, r *authv1.AuthenticateKeyRequest) (*authv1.AuthenticateKeyResponse, error) {
	s.noteShown(ctx)
	if r.GetKey() != "key" {
		return nil, fault.New(fault.Unauthenticated, "Unknown API key")
	}
	return &authv1.AuthenticateKeyResponse{Name: "backend", Scopes: []string{"messages"}}, nil
}

func (s *services) ListMessages(ctx context.Context, r *chatv1.ListMessagesRequest) (*chatv1.ListMessagesResponse, error) {
	s.note(ctx)
	switch r.GetRoomId() {
	case "busy":
		return nil, fault.Retry(fault.Unavailable, "Starting", 1500*time.Millisecond)
	case "broken":
		return nil, fmt.Errorf("secret cause")
	case "gone":
		return nil, fault.New(fault.NotFound, "No such room")
	}
	return &chatv1.ListMessagesResponse{Messages: []*chatv1.Message{{
		Id: "12345", RoomId: r.GetRoomId(), Seq: 9007199254740991, Content: "<b>&" + fmt.Sprint(r.GetBefore()), Sender: &chatv1.Sender{Id: "u"},
	}}}, nil
}

func (s *services) PostMessage(ctx context.Context, r *chatv1.PostMessageRequest) (*chatv1.PostMessageResponse, error) {
	s.note(ctx)
	return &chatv1.PostMessageResponse{Id: r.GetContent(), Seq: 7}, nil
}

// silent is an App to which nothing happens.
type silent struct{}

func (silent) Connect(*session.Session, string, []byte)       {}
func (silent) Event(*session.Socket, session.Event)           {}
func (silent) BatchEnd(*session.Socket)                       {}
func (silent) Ack(*session.Socket, int64, []byte, [][]byte)   {}
func (silent) Disconnected(*session.Socket, transport.Reason) {}

func newEdge(t *testing.T, change func(*Config)) (*httptest.Server, *services) {
	t.Helper()
	listener := bufconn.Listen(1 << 16)
	s := &services{}
	server := rpc.NewServer(rpc.ServerConfig{Listener: listener, Log: s.log.Logger()})
	authv1.RegisterAuthServiceServer(server.GRPC(), s)
	chatv1.RegisterChatServiceServer(server.GRPC(), s)
	conn, err := rpc.Dial("services", rpc.ClientConfig{Dialer: listener.DialContext})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Run(ctx) }()
	log := s.log.Logger()
	st := sessiontest.Stats()
	cfg := Config{MaxPayload: 1000, MaxConnections: 10, IPBurst: 1, Auth: conn, Chat: conn, Presence: conn, Cluster: brokenCluster{}}
	if change != nil {
		change(&cfg)
	}
	sockets := transport.NewServer(transport.Limits{MaxMessage: 1000, SendQueue: 1 << 16, FrameTimeout: time.Minute, CloseTimeout: time.Minute}, log)
	e, err := New(cfg, Deps{
		SIDs: session.NewSIDs("g", []byte("k")), Sessions: sessiontest.Server(t, silent{}, sessiontest.Config(), st), Sockets: sockets,
		Stats: st, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewUnstartedServer(nil)
	front.Config = e.server // with its limits
	front.Start()
	t.Cleanup(func() {
		front.Close()
		_ = conn.Close()
		cancel()
		<-done
	})
	return front, s
}

// ask makes a request; headers are "Name: value".
func ask(t *testing.T, method, url, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(raw)
}

func TestErrors(t *testing.T) {
	front, services := newEdge(t, nil)
	for _, tc := range []struct {
		method, path, body string
		headers            []string
		status             int
		want               string
	}{
		{"GET", "/socket.io/", "", nil, 400, `{"code":0,"message":"Transport unknown"}`},
		{"GET", "/socket.io/?transport=abc&EIO=4", "", nil, 400, `{"code":0,"message":"Transport unknown"}`},
		{"GET", "/socket.io/?transport=websocket&EIO=4", "", nil, 400, `{"code":3,"message":"Bad request"}`},
		{"GET", "/socket.io/?transport=polling&EIO=4&sid=x", "", nil, 400, `{"code":1,"message":"Session ID unknown"}`},
		{"GET", "/socket.io/?transport=polling&EIO=3", "", nil, 400, `{"code":5,"message":"Unsupported protocol version"}`},
		{"POST", "/socket.io/?transport=polling&EIO=4", "", nil, 400, `{"code":2,"message":"Bad handshake method"}`},
		{"GET", "/socket.io/?transport=polling&EIO=4", "", []string{"Origin: https://evil.org"}, 403, `{"code":4,"message":"Origin not allowed"}`},
		{"GET", "/socket.io", "", nil, 404, "404 page not found"},
		{"GET", "/api/v1/nothing", "", nil, 404, `{"code":"not_found","message":"There is no such path"}`},
		{"DELETE", "/api/v1/rooms", "", nil, 405, `{"code":"invalid","message":"The method must be GET or HEAD or POST"}`},
		{"GET", "/api/v1/rooms/gone/messages", "", nil, 404, `{"code":"not_found","message":"No such room"}`},
		{"GET", "/api/v1/rooms/busy/messages", "", nil, 503, `{"code":"unavailable","message":"Starting","retryAfterMs":1500}`},
		{"GET", "/api/v1/rooms/r/messages?limit=x", "", nil, 400, `{"code":"invalid","message":"limit must be `},
		{"GET", "/api/v1/rooms/%FF/messages", "", nil, 400, `{"code":"invalid","message":"roomId must be UTF-8"}`},
		{"GET", "/api/v1/rooms/r/messages", "", []string{"Authorization: Bearer \xff"}, 401, `{"code":"unauthenticated","message":"Invalid token","reason":"invalid_token"}`},
		{"GET", "/api/v1/rooms/r/messages", "", []string{"X-API-Key: \xff"}, 401, `{"code":"unauthenticated","message":"Unknown API key"}`},
		{"GET", "/api/v1/rooms/r/messages", "", []string{"Authorization: Bearer bad"}, 401, `{"code":"unauthenticated","message":"Invalid token"}`},
		{"GET", "/api/v1/rooms/r/messages", "", []string{"X-API-Key: bad"}, 401, `{"code":"unauthenticated","message":"Unknown API key"}`},
		{"POST", "/api/v1/rooms/r/messages", "{", nil, 400, `{"code":"invalid"`},
		{"POST", "/api/v1/rooms/r/messages", `{"content":"` + strings.Repeat("x", rest.MaxBody) + `"}`, nil, 413, `{"code":"too_large"`},
	} {
		res, body := ask(t, tc.method, front.URL+tc.path, tc.body, tc.headers...)
		if res.StatusCode != tc.status || !strings.HasPrefix(body, tc.want) {
			t.Errorf("%s %s = %d %s, want %d %s", tc.method, tc.path, res.StatusCode, body, tc.status, tc.want)
		}
		if tc.want[0] == '{' && res.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s has type %q, want application/json", tc.method, tc.path, res.Header.Get("Content-Type"))
		}
		if tc.status == 503 && res.Header.Get("Retry-After") != "2" {
			t.Errorf("%s: Retry-After = %q, want 2", tc.path, res.Header.Get("Retry-After"))
		}
	}
	// A mistake of a service is in its log; one of the gateway's own is in the gateway's.
	for _, path := range []string{"/", "/healthz"} {
		if res, _ := ask(t, "PUT", front.URL+path, ""); res.StatusCode != 405 || res.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("PUT %s = %d, Allow %q, want 405 and what is allowed", path, res.StatusCode, res.Header.Get("Allow"))
		}
	}
	for _, path := range []string{"/api/v1/rooms/broken/messages", "/api/v1/sockets"} {
		res, body := ask(t, "GET", front.URL+path, "")
		if res.StatusCode != 500 || strings.Contains(body, "secret") || !strings.Contains(body, `"internal"`) {
			t.Errorf("an internal error of %s = %d %s, want 500 without its cause", path, res.StatusCode, body)
		}
		services.log.WantID(t, body)
	}
}

func TestREST(t *testing.T) {
	front, s := newEdge(t, func(c *Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	_, body := ask(t, "GET", front.URL+"/api/v1/rooms/r%20%C3%A4/messages?before=12", "", "Authorization: bearer good",
		"X-Forwarded-For: 6.6.6.6, 1.2.3.4", "x-starling-identity-bin: forged", "Grpc-Metadata-x-starling-scopes: users")
	if !strings.Contains(body, `"seq":9007199254740991`) || !strings.Contains(body, `"id":"12345"`) || !strings.Contains(body, `"content":"<b>&12"`) ||
		!strings.Contains(body, `"roomId":"r ä"`) || !strings.Contains(body, `"hasMore":false`) {
		t.Errorf("messages = %s, want seq as a number, id as a string, text unescaped and empty fields too", body)
	}
	s.mu.Lock()
	md := s.last
	s.mu.Unlock()
	if got := md.Get("x-starling-address"); !cmp.Equal(got, []string{"1.2.3.4"}) {
		t.Errorf("address = %v, want the last hop that is no proxy", got)
	}
	if got := md.Get("x-starling-identity-bin"); len(got) != 1 || strings.Contains(got[0], "forged") || len(md.Get("x-starling-scopes")) > 0 && strings.Contains(md.Get("x-starling-scopes")[0], "users") {
		t.Errorf("metadata = %v, want nothing that the client forged", md)
	}
	res, body := ask(t, "POST", front.URL+"/api/v1/rooms/r/messages", `{"content":"hi","unknown":1}`, "X-API-Key: key")
	var posted struct {
		ID  string
		Seq int
	}
	if err := json.Unmarshal([]byte(body), &posted); err != nil || res.StatusCode != 200 || posted.ID != "hi" || posted.Seq != 7 {
		t.Errorf("post = %d %s, %v, want hi with number 7", res.StatusCode, body, err)
	}
	for escaped, want := range map[string]string{"team%2Fgeneral": "team/general", "%2Fa%2F%2Fb": "/a//b", "%2E%2E": ".."} { // the mux would redirect some
		if _, body := ask(t, "GET", front.URL+"/api/v1/rooms/"+escaped+"/messages", "", "X-API-Key: key"); !strings.Contains(body, `"roomId":"`+want+`"`) {
			t.Errorf("messages of %s = %s, want room %q", escaped, body, want)
		}
	}
	for name, want := range map[string]string{"openapi.json": "swagger", "asyncapi.json": "asyncapi"} {
		res, body := ask(t, "GET", front.URL+"/api/"+name, "")
		var document map[string]any
		if err := json.Unmarshal([]byte(body), &document); err != nil || res.StatusCode != 200 || document[want] == nil || res.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s = %d %v, %v, want a document that says which %s it is", name, res.StatusCode, res.Header, err, want)
		}
	}
	if res, body := ask(t, "GET", front.URL+"/api/starling.d.ts", ""); res.StatusCode != 200 || !strings.Contains(body, "export interface ClientToServerEvents {") ||
		res.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("starling.d.ts = %d %v, want the types as text", res.StatusCode, res.Header)
	}
	if res, _ := ask(t, "GET", front.URL+"/", ""); res.StatusCode != 200 || res.Header.Get("Content-Security-Policy") == "" || res.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("the page = %d with headers %v, want them secured", res.StatusCode, res.Header)
	}
}

func TestWebSocketHandshake(t *testing.T) {
	front, _ := newEdge(t, func(c *Config) {
		c.MaxConnections, c.IPRate = 2, 0.001
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	url := "ws" + strings.TrimPrefix(front.URL, "http") + "/socket.io/?EIO=4&transport=websocket"
	dial := func(url, ip, origin string) (net.Conn, io.Reader, error) {
		d := ws.Dialer{Timeout: 30 * time.Second, Header: ws.HandshakeHeaderHTTP(http.Header{"X-Forwarded-For": {ip}, "Origin": {origin}})}
		conn, early, _, err := d.Dial(t.Context(), url)
		if err != nil {
			return nil, nil, err
		}
		t.Cleanup(func() { _ = conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
		if early != nil {
			return conn, io.MultiReader(early, conn), nil
		}
		return conn, conn, nil
	}
	conn, r, err := dial(url, "1.1.1.1", front.URL)
	if err != nil {
		t.Fatalf("dial = %v, want a WebSocket", err)
	}
	f, err := ws.ReadFrame(r)
	if err != nil || !bytes.HasPrefix(f.Payload, []byte(`0{"sid":"`)) || !bytes.Contains(f.Payload, []byte(`"upgrades":[]`)) {
		t.Errorf("first frame = %s, %v, want the open packet", f.Payload, err)
	}
	for name, tc := range map[string]struct {
		url, ip, origin string
		status          int
	}{
		"wrong version":  {strings.Replace(url, "EIO=4", "EIO=3", 1), "1.1.1.2", front.URL, 400},
		"foreign origin": {url, "1.1.1.2", "https://evil.org", 400},
		"rate of the IP": {url, "1.1.1.1", front.URL, 503},
	} {
		if _, _, err := dial(tc.url, tc.ip, tc.origin); err == nil || !strings.Contains(err.Error(), fmt.Sprint(tc.status)) {
			t.Errorf("%s: dial = %v, want status %d", name, err, tc.status)
		}
	}
	_, second, err := dial(url, "1.1.1.3", front.URL)
	if err != nil {
		t.Fatalf("second dial = %v", err)
	}
	if _, err := ws.ReadFrame(second); err != nil { // its session counts from the open packet on
		t.Fatal(err)
	}
	if _, _, err := dial(url, "1.1.1.4", front.URL); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("dial over MaxConnections = %v, want status 503", err)
	}
	if err := ws.WriteFrame(conn, ws.MaskFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(1000, "")))); err != nil {
		t.Fatal(err)
	}
	if f, err := ws.ReadFrame(r); err != nil || f.Header.OpCode != ws.OpClose {
		t.Errorf("answer to close = %v, %v, want close", f.Header, err)
	}
}

// TestSubprotocol: the first subprotocol that the client offers is the answer; a browser fails the WebSocket without one.
func TestSubprotocol(t *testing.T) {
	front, _ := newEdge(t, nil)
	for _, tc := range []struct {
		offered []string
		want    string
	}{{nil, ""}, {[]string{"chat"}, "chat"}, {[]string{"v2.chat", "v1.chat"}, "v2.chat"}} {
		d := ws.Dialer{Timeout: 30 * time.Second, Protocols: tc.offered}
		conn, _, hs, err := d.Dial(t.Context(), "ws"+strings.TrimPrefix(front.URL, "http")+"/socket.io/?EIO=4&transport=websocket&EIO=4")
		if err != nil {
			t.Fatalf("dial with subprotocols %q = %v", tc.offered, err)
		}
		_ = conn.Close()
		if hs.Protocol != tc.want {
			t.Errorf("of the subprotocols %q the answer names %q, want %q", tc.offered, hs.Protocol, tc.want)
		}
	}
}

// TestEarlyFrames covers frames in the same segment as the handshake.
func TestEarlyFrames(t *testing.T) {
	front, _ := newEdge(t, nil)
	conn, err := net.Dial("tcp", strings.TrimPrefix(front.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	var b bytes.Buffer
	b.WriteString("GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	_ = ws.WriteFrame(&b, ws.MaskFrame(ws.NewPingFrame([]byte("early"))))
	if _, err := conn.Write(b.Bytes()); err != nil {
		t.Fatal(err)
	}
	var got []byte
	buf := make([]byte, 4096)
	for !bytes.Contains(got, []byte("early")) {
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatalf("read = %v after %q, want the pong", err, got)
		}
		got = append(got, buf[:n]...)
	}
}
