package edge

import (
	"net/http"
	"testing"
	"time"
)

// TestNoHandshakeWithoutJudge: while nobody can say who a client is no session is opened, and everything else goes on.
func TestNoHandshakeWithoutJudge(t *testing.T) {
	away := true
	front, _ := newEdge(t, func(cfg *Config) {
		cfg.Judged = func() (time.Duration, bool) { return 2500 * time.Millisecond, !away }
		cfg.IPRate = 0
	})
	polling := front.URL + "/socket.io/?EIO=4&transport=polling"
	upgrade := []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}
	for name, res := range map[string]*http.Response{
		"polling":   first(ask(t, http.MethodGet, polling, "")),
		"WebSocket": first(ask(t, http.MethodGet, front.URL+"/socket.io/?EIO=4&transport=websocket", "", upgrade...)),
	} {
		if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") != "3" {
			t.Errorf("%s: handshake = %d, Retry-After %q, want 503 and 3", name, res.StatusCode, res.Header.Get("Retry-After"))
		}
	}
	if res, body := ask(t, http.MethodGet, polling+"&sid=unknown", ""); res.StatusCode != http.StatusBadRequest {
		t.Errorf("a poll = %d %s, want 400 as ever: only handshakes wait", res.StatusCode, body)
	}
	away = false
	if res, body := ask(t, http.MethodGet, polling, ""); res.StatusCode != http.StatusOK {
		t.Errorf("handshake when auth-service is back = %d %s, want 200", res.StatusCode, body)
	}
}

func first(res *http.Response, _ string) *http.Response { return res }
