package obs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/trace"

	"github.com/starling-chat/starling/platform/settings"
)

func TestLogger(t *testing.T) {
	var out bytes.Buffer
	log, err := NewLogger(&out, "warn", "json")
	if err != nil {
		t.Fatal(err)
	}
	ctx := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}}))
	log.LogAttrs(ctx, slog.LevelInfo, "below the level")
	log.With(slog.Int("n", 1)).LogAttrs(ctx, slog.LevelWarn, "told")
	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("log = %q, want one line of JSON: %v", out.String(), err)
	}
	if got["msg"] != "told" || got["trace_id"] != "01000000000000000000000000000000" || got["span_id"] != "0200000000000000" {
		t.Errorf("record = %v, want msg told with trace ids", got)
	}
	for _, bad := range [][2]string{{"loud", "json"}, {"info", "xml"}} {
		if _, err := NewLogger(io.Discard, bad[0], bad[1]); err == nil {
			t.Errorf("NewLogger(%q) = nil error, want one", bad)
		}
	}
}

func TestAdmin(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	admin := Admin{
		Listener: listener, Profiles: true, Registry: NewRegistry("test"), Log: slog.New(slog.DiscardHandler),
		Ready: func() error { return errors.New("draining") },
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- admin.Run(ctx) }()
	for path, want := range map[string]struct {
		status int
		text   string
	}{
		"/healthz":                       {200, "ok"},
		"/readyz":                        {503, "draining"},
		"/metrics":                       {200, `starling_build_info{go_version=`},
		"/debug/pprof/goroutine?debug=1": {200, "goroutine profile"},
		"/":                              {404, ""},
	} {
		resp, err := http.Get("http://" + listener.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != want.status || !strings.Contains(string(body), want.text) {
			t.Errorf("GET %s = %d %.80q, want %d %q", path, resp.StatusCode, body, want.status, want.text)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
}

func TestTracingWithoutEndpoint(t *testing.T) {
	stop, err := Tracing(t.Context(), "test", &Settings{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	stop()
}

// TestProfilesAreOff: profiles show memory, and whoever asks for one costs time.
func TestProfilesAreOff(t *testing.T) {
	var s Settings
	handler := s.Server(NewRegistry("test"), nil, slog.New(slog.DiscardHandler)).Handler()
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/profile", "/debug/pprof/cmdline", "/debug/pprof/trace", "/debug/pprof/symbol"} {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil))
		if answer.Code != http.StatusNotFound {
			t.Errorf("GET %s = %d without PPROF, want 404", path, answer.Code)
		}
	}
}

// TestCollectorAway: traces that nobody takes cost lines of log, neither an error nor the time of a stop.
func TestCollectorAway(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	for _, endpoint := range []settings.URL{settings.URL(silent.Addr().String()), "127.0.0.1:1", "http://127.0.0.1:1", "https://user:hunter2@127.0.0.1:1"} {
		var out bytes.Buffer
		stop, err := Tracing(t.Context(), "test", &Settings{OTLPEndpoint: endpoint, TraceShare: 1}, slog.New(slog.NewTextHandler(&out, nil)))
		if err != nil {
			t.Fatalf("Tracing(%s) = %v, want nil", endpoint, err)
		}
		_, span := otel.Tracer("test").Start(t.Context(), "x")
		span.End()
		stop()
		if !strings.Contains(out.String(), "traces are not sent") || strings.Contains(out.String(), "hunter2") {
			t.Errorf("stop without the collector %s logs %q, want that traces are not sent", endpoint, &out)
		}
	}
}

func TestSettings(t *testing.T) {
	for endpoint, want := range map[settings.URL]bool{
		"": true, "collector:4317": true, "http://collector:4317": true, "https://u:p@collector:4317": true,
		"collector": false, "http://": false, "ftp://collector:4317": false, "http://%zz": false, "https://u:hun/ter2@c:1": false,
	} {
		if err := (&Settings{OTLPEndpoint: endpoint}).Validate(); (err == nil) != want || err != nil && strings.Contains(err.Error(), "ter2") {
			t.Errorf("Validate(%s) = %v, want it good: %v", endpoint.Reveal(), err, want)
		}
	}
	if err := (&Settings{Admin: "8080"}).Validate(); err == nil || !strings.Contains(err.Error(), "ADMIN_LISTEN") {
		t.Errorf("Validate of an admin address without a colon = %v, want ADMIN_LISTEN named", err)
	}
}
