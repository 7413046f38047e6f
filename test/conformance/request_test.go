package conformance

import (
	"net/http"
	"strings"
	"testing"
)

const (
	unknownTransport = `{"code":0,"message":"Transport unknown"}`
	unknownSession   = `{"code":1,"message":"Session ID unknown"}`
	badMethod        = `{"code":2,"message":"Bad handshake method"}`
	badRequest       = `{"code":3,"message":"Bad request"}`
	badVersion       = `{"code":5,"message":"Unsupported protocol version"}`
)

func TestRefusals(t *testing.T) {
	tests := []struct {
		name, method, query string
		status              int
		body                string
	}{
		{"no EIO", "GET", "transport=polling", 400, badVersion},
		{"bad EIO", "GET", "EIO=abc&transport=polling", 400, badVersion},
		{"EIO 3", "GET", "EIO=3&transport=polling", 400, badVersion},
		{"no transport", "GET", "EIO=4", 400, unknownTransport},
		{"bad transport", "GET", "EIO=4&transport=abc", 400, unknownTransport},
		{"transport that every object has", "GET", "EIO=4&transport=constructor", 400, unknownTransport},
		{"transport before sid", "GET", "EIO=4&transport=abc&sid=abc", 400, unknownTransport},
		{"POST handshake", "POST", "EIO=4&transport=polling", 400, badMethod},
		{"PUT handshake", "PUT", "EIO=4&transport=polling", 400, badMethod},
		{"method before EIO", "POST", "transport=polling", 400, badMethod},
		{"websocket without upgrade", "GET", "EIO=4&transport=websocket", 400, badRequest},
		{"unknown sid", "GET", "EIO=4&transport=polling&sid=abc", 400, unknownSession},
		{"unknown sid, POST", "POST", "EIO=4&transport=polling&sid=abc", 400, unknownSession},
		{"sid before EIO", "GET", "transport=polling&sid=abc", 400, unknownSession},
		{"sid with odd characters", "GET", "EIO=4&transport=polling&sid=%00%ff.*%3E", 400, unknownSession},
		{"long sid", "GET", "EIO=4&transport=polling&sid=" + strings.Repeat("a", 2000), 400, unknownSession},
	}
	onBoth(t, func(t *testing.T, e endpoint) {
		for _, test := range tests {
			a := do(t, test.method, e.url(test.query), "")
			wantAnswer(t, test.name, a, test.status, test.body)
			if got := a.header.Get("Content-Type"); got != "application/json" {
				t.Errorf("%s: content-type = %q, want application/json", test.name, got)
			}
		}
	})
}

func TestRefusedUpgrade(t *testing.T) {
	onBoth(t, func(t *testing.T, e endpoint) {
		host, _ := e.webSocket("")
		for _, query := range []string{"transport=websocket", "EIO=abc&transport=websocket", "EIO=4", "EIO=4&transport=abc", "EIO=4&transport=polling"} {
			s, a := upgrade(t, host, e.path+"?"+query)
			if s != nil {
				t.Errorf("upgrade with %q = 101, want 400", query)
				continue
			}
			if a.status != http.StatusBadRequest || strings.HasPrefix(a.body, "{") {
				t.Errorf("upgrade with %q = %d %q, want 400 and plain text", query, a.status, a.body)
			}
		}
	})
}

func TestSessionRequests(t *testing.T) {
	t.Run("PUT", func(t *testing.T) {
		e := echo(t)
		a := do(t, "PUT", e.polling(openPolling(t, e)), "")
		if a.status != http.StatusInternalServerError {
			t.Errorf("PUT with a sid = %d, want 500", a.status)
		}
	})
	t.Run("octet-stream", func(t *testing.T) {
		e := echo(t)
		a, err := request(t.Context(), "POST", e.polling(openPolling(t, e)), "4a", http.Header{"Content-Type": {"application/octet-stream"}})
		if err == nil && a.status != http.StatusBadRequest {
			t.Errorf("POST of an octet-stream = %d, want 400 or a reset", a.status)
		}
	})
	t.Run("GET of a WebSocket session", func(t *testing.T) {
		e := echo(t)
		s := dial(t, e, "")
		sid := wantOpen(t, s.next(t)).SID
		wantAnswer(t, "GET", get(t, e.polling(sid)), http.StatusBadRequest, badRequest)
		wantAnswer(t, "POST", post(t, e.polling(sid), "4a"), http.StatusBadRequest, badRequest)
		s.send("4hello")
		if got := s.next(t); got != "4hello" {
			t.Errorf("message = %q, want 4hello: such requests end nothing", got)
		}
	})
}

func TestOversizePolling(t *testing.T) {
	e := echo(t)
	sid := openPolling(t, e)
	// maxPayload counts bytes, not characters.
	fits := "4" + strings.Repeat("x", maxPayload-1)
	wantAnswer(t, "POST of maxPayload bytes", post(t, e.polling(sid), fits), http.StatusOK, "ok")
	if a := get(t, e.polling(sid)); a.body != fits {
		t.Errorf("GET = %d bytes, want %d", len(a.body), len(fits))
	}
	wide := "4" + strings.Repeat("€", maxPayload/3)
	wantAnswer(t, "POST of more bytes", post(t, e.polling(sid), wide+"x"), http.StatusRequestEntityTooLarge, "")
}

func TestOversizeWebSocket(t *testing.T) {
	s := dial(t, echo(t), "")
	wantOpen(t, s.next(t))
	s.frame(0x81, []byte("4"+strings.Repeat("x", maxPayload)))
	if code := s.waitClosed(t); code != 1009 {
		t.Errorf("close code of a message over maxPayload = %d, want 1009", code)
	}
}

func TestWithoutSlash(t *testing.T) {
	base := serverFor(t, protocolSuite)
	for _, path := range []string{"/socket.io", "/engine.io", "/"} {
		wantAnswer(t, path, get(t, base+path+"?EIO=4&transport=polling"), http.StatusNotFound, "*")
	}
}

func TestCORS(t *testing.T) {
	onBoth(t, func(t *testing.T, e endpoint) {
		origin := http.Header{"Origin": {"https://example.org"}}
		for what, url := range map[string]string{"handshake": e.polling(""), "refusal": e.url("EIO=4")} {
			a, err := request(t.Context(), "GET", url, "", origin)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if got := a.header.Get("Access-Control-Allow-Origin"); got != "*" && got != "https://example.org" {
				t.Errorf("%s: access-control-allow-origin = %q, want the origin or *", what, got)
			}
		}
		a, err := request(t.Context(), "OPTIONS", e.polling(""), "", http.Header{
			"Origin": {"https://example.org"}, "Access-Control-Request-Method": {"POST"},
		})
		if err != nil {
			t.Fatalf("preflight: %v", err)
		}
		wantAnswer(t, "preflight", a, http.StatusNoContent, "")
		if got := a.header.Get("Access-Control-Allow-Methods"); !strings.Contains(got, "POST") {
			t.Errorf("preflight: access-control-allow-methods = %q, want POST in it", got)
		}
	})
}
