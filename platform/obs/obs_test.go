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
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace"
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
		Listener: listener, Registry: NewRegistry("test"), Log: slog.New(slog.DiscardHandler),
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
	shutdown, err := Tracing(t.Context(), "test", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := shutdown(t.Context()); err != nil {
		t.Errorf("shutdown = %v, want nil", err)
	}
}
