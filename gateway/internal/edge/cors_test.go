package edge

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/starling-chat/starling/proto/fault/faulttest"
)

func TestCORS(t *testing.T) {
	front, _ := newEdge(t, func(c *Config) { c.Origins = origins(t, "https://app.example.org") })
	for _, path := range []string{
		"/socket.io/?EIO=3&transport=websocket", "/socket.io/", "/socket.io", "/socket.io/socket.io.js",
		"/api/v1/nothing", "/api/v1/rooms/gone/messages", "/none", "/",
	} {
		for origin, want := range map[string]string{"https://app.example.org": "https://app.example.org", "https://evil.org": "", "": ""} {
			var headers []string
			if origin != "" {
				headers = append(headers, "Origin: "+origin)
			}
			res, _ := ask(t, http.MethodGet, front.URL+path, "", headers...)
			if got := res.Header.Get("Access-Control-Allow-Origin"); got != want || res.Header.Get("Vary") == "" {
				t.Errorf("GET %s from %q (%d): Access-Control-Allow-Origin = %q, Vary = %q, want %q", path, origin, res.StatusCode, got, res.Header.Get("Vary"), want)
			}
			if (res.Header.Get("Access-Control-Allow-Credentials") == "true") != (want != "") {
				t.Errorf("GET %s from %q: Access-Control-Allow-Credentials = %q", path, origin, res.Header.Get("Access-Control-Allow-Credentials"))
			}
			if (res.Header.Get("Access-Control-Expose-Headers") == "Retry-After") != (want != "") {
				t.Errorf("GET %s from %q: Access-Control-Expose-Headers = %q", path, origin, res.Header.Get("Access-Control-Expose-Headers"))
			}
			res, _ = ask(t, http.MethodOptions, front.URL+path, "", append(headers, "Access-Control-Request-Method: POST")...)
			if got := res.Header.Get("Access-Control-Allow-Origin"); res.StatusCode != http.StatusNoContent || got != want || res.Header.Get("Access-Control-Allow-Methods") != "GET, POST, PATCH, DELETE" {
				t.Errorf("preflight of %s from %q = %d, %q, %q, want 204, %q, GET, POST, PATCH, DELETE", path, origin, res.StatusCode, got, res.Header.Get("Access-Control-Allow-Methods"), want)
			}
		}
	}
}

// TestPreflightHeaders: libraries for tracing and monitoring add headers of their own to the page's requests.
func TestPreflightHeaders(t *testing.T) {
	front, _ := newEdge(t, func(c *Config) { c.Origins = origins(t, "https://app.example.org") })
	for _, tc := range []struct{ origin, asked, want string }{
		{"https://app.example.org", "sentry-trace,baggage", "sentry-trace,baggage"},
		{"https://app.example.org", "authorization, traceparent,tracestate", "authorization, traceparent,tracestate"},
		{"https://app.example.org", "", corsHeaders},
		{"https://evil.org", "sentry-trace", corsHeaders},
	} {
		headers := []string{"Origin: " + tc.origin, "Access-Control-Request-Method: POST"}
		if tc.asked != "" {
			headers = append(headers, "Access-Control-Request-Headers: "+tc.asked)
		}
		res, _ := ask(t, http.MethodOptions, front.URL+"/api/v1/auth/login", "", headers...)
		if got := res.Header.Get("Access-Control-Allow-Headers"); got != tc.want {
			t.Errorf("preflight for %q from %s allows %q, want %q", tc.asked, tc.origin, got, tc.want)
		}
		if vary := strings.Join(res.Header.Values("Vary"), ", "); !strings.Contains(vary, "Access-Control-Request-Headers") || !strings.Contains(vary, "Origin") {
			t.Errorf("preflight has Vary %q, want the headers that the answer depends on", vary)
		}
	}
}

// TestOriginWithSID: who knows a session's id cannot use it from a page of another origin, on any transport.
func TestOriginWithSID(t *testing.T) {
	front, _ := newEdge(t, func(c *Config) { c.Origins = origins(t, "https://app.example.org") })
	url := front.URL + "/socket.io/?EIO=4&transport=polling"
	_, opened := ask(t, http.MethodGet, url, "", "Origin: https://app.example.org")
	var open struct{ SID string }
	if err := json.Unmarshal([]byte(strings.TrimPrefix(opened, "0")), &open); err != nil || open.SID == "" {
		t.Fatalf("open packet = %s, %v", opened, err)
	}
	for _, sid := range []string{open.SID, "made-up"} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			res, body := ask(t, method, url+"&sid="+sid, "", "Origin: https://evil.org")
			if res.StatusCode != http.StatusForbidden || body != `{"code":4,"message":"Origin not allowed"}` {
				t.Errorf("%s with sid %s from another origin = %d %s, want 403", method, sid, res.StatusCode, body)
			}
		}
		upgrade := []string{"Origin: https://evil.org", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}
		res, body := ask(t, http.MethodGet, strings.Replace(url, "polling", "websocket", 1)+"&sid="+sid, "", upgrade...)
		if res.StatusCode != http.StatusBadRequest || body != "Origin not allowed" {
			t.Errorf("upgrade with sid %s from another origin = %d %s, want 400", sid, res.StatusCode, body)
		}
	}
	for _, origin := range []string{"https://app.example.org", front.URL, ""} {
		if res, body := ask(t, http.MethodPost, url+"&sid="+open.SID, "3", "Origin: "+origin); res.StatusCode != http.StatusOK {
			t.Errorf("POST from %q = %d %s, want 200: others have not harmed the session", origin, res.StatusCode, body)
		}
	}
}

// TestRefusalLog: an operator finds in the log what they have to set.
func TestRefusalLog(t *testing.T) {
	var log faulttest.Log
	o, err := ParseOrigins([]string{"https://app.example.org"}, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")})
	if err != nil {
		t.Fatal(err)
	}
	handler := o.CORS(http.NotFoundHandler(), refusalLog(log.Logger(), o))
	for _, origin := range []string{"", "https://app.example.org", "https://evil.org" + strings.Repeat("x", 300), "https://evil2.org"} {
		r := httptest.NewRequest(http.MethodGet, "/socket.io/?token=secret", nil)
		r.Header.Set("Origin", origin)
		r.Header.Set("X-Forwarded-Host", "chat.example.org")
		handler.ServeHTTP(httptest.NewRecorder(), r)
	}
	text := log.String()
	for _, want := range []string{"https://evil.orgx", "FRONTEND_URL or TRUSTED_PROXIES", "example.com", "chat.example.org", "/socket.io/"} {
		if !strings.Contains(text, want) {
			t.Errorf("log = %s, want %q in it", text, want)
		}
	}
	for _, unwanted := range []string{"secret", "evil2", strings.Repeat("x", maxLogged)} {
		if strings.Contains(text, unwanted) {
			t.Errorf("log = %s, want no %q in it", text, unwanted)
		}
	}
}
