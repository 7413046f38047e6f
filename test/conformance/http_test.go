package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"
)

// The protocol suite's settings, as docs/socketio.md has them.
const (
	pingInterval   = 300 * time.Millisecond
	pingTimeout    = 200 * time.Millisecond
	connectTimeout = time.Second
	maxPayload     = 1_000_000
)

// patience bounds what must come at all.
const patience = 30 * time.Second

// endpoint is one Engine.IO endpoint of a server.
type endpoint struct {
	base string // http://host:port
	path string // /engine.io/
}

func (e endpoint) url(query string) string { return e.base + e.path + "?" + query }

func (e endpoint) polling(sid string) string {
	if sid == "" {
		return e.url("EIO=4&transport=polling")
	}
	return e.url("EIO=4&transport=polling&sid=" + sid)
}

// webSocket gives the URL's host and request target.
func (e endpoint) webSocket(sid string) (host, target string) {
	target = e.path + "?EIO=4&transport=websocket"
	if sid != "" {
		target += "&sid=" + sid
	}
	return strings.TrimPrefix(e.base, "http://"), target
}

// answer is an HTTP response read to its end.
type answer struct {
	status int
	header http.Header
	body   string
}

// request sends one request on a connection of its own, so that aborting one does not touch another.
func request(ctx context.Context, method, url, body string, header http.Header) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if body != "" {
		r.Header.Set("Content-Type", "text/plain;charset=UTF-8")
	}
	maps.Copy(r.Header, header)
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	res, err := transport.RoundTrip(r)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(raw)}, err
}

// do is request for what must be answered.
func do(t *testing.T, method, url, body string) answer {
	t.Helper()
	a, err := request(t.Context(), method, url, body, nil)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	return a
}

func get(t *testing.T, url string) answer        { t.Helper(); return do(t, "GET", url, "") }
func post(t *testing.T, url, body string) answer { t.Helper(); return do(t, "POST", url, body) }

// begin sends a request and gives its answer later.
func begin(t *testing.T, method, url, body string) <-chan answer {
	t.Helper()
	result := make(chan answer, 1)
	go func() {
		a, err := request(t.Context(), method, url, body, nil)
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("%s %s: %v", method, url, err)
		}
		result <- a
	}()
	return result
}

// wantAnswer checks a status and, unless it is "*", the body.
func wantAnswer(t *testing.T, what string, got answer, status int, body string) {
	t.Helper()
	if got.status != status || (body != "*" && got.body != body) {
		t.Errorf("%s = %d %q, want %d %q", what, got.status, got.body, status, body)
	}
}

// opened is the content of an open packet.
type opened struct {
	SID          string   `json:"sid"`
	Upgrades     []string `json:"upgrades"`
	PingInterval int      `json:"pingInterval"`
	PingTimeout  int      `json:"pingTimeout"`
	MaxPayload   int      `json:"maxPayload"`
}

// wantOpen checks an open packet: the five fields, no other, and their values.
func wantOpen(t *testing.T, packet string, upgrades ...string) opened {
	t.Helper()
	raw, ok := strings.CutPrefix(packet, "0")
	if !ok {
		t.Fatalf("first packet = %q, want an open packet", packet)
	}
	var o opened
	strict := json.NewDecoder(strings.NewReader(raw))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&o); err != nil {
		t.Fatalf("open packet %q: %v", packet, err)
	}
	if o.SID == "" || o.Upgrades == nil || strings.Join(o.Upgrades, ",") != strings.Join(upgrades, ",") {
		t.Errorf("open packet = %q, want a sid and upgrades %q", packet, upgrades)
	}
	return o
}

// openPolling opens a session over polling and gives its sid.
func openPolling(t *testing.T, e endpoint) string {
	t.Helper()
	a := get(t, e.polling(""))
	if a.status != http.StatusOK {
		t.Fatalf("handshake = %d %q, want 200", a.status, a.body)
	}
	return wantOpen(t, a.body, "websocket").SID
}
