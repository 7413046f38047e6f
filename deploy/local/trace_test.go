package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"

	"github.com/starling-chat/starling/platform/settings"
)

// spans is a collector of traces.
type spans struct {
	collector.UnimplementedTraceServiceServer

	mu   sync.Mutex
	list []*tracev1.Span
}

func (s *spans) Export(_ context.Context, r *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, resource := range r.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			s.list = append(s.list, scope.GetSpans()...)
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

func collectSpans(t *testing.T) (*spans, settings.URL) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, server := new(spans), grpc.NewServer()
	collector.RegisterTraceServiceServer(server, s)
	go func() { _ = server.Serve(listener) }() // until Stop
	t.Cleanup(server.Stop)
	return s, settings.URL(listener.Addr().String())
}

// below gives the path of a span through its parents, without those of the drivers between.
func (s *spans) below(span *tracev1.Span) string {
	var path []string
	for span != nil {
		path = append(path, span.GetName())
		i := slices.IndexFunc(s.list, func(p *tracev1.Span) bool { return string(p.GetSpanId()) == string(span.GetParentSpanId()) })
		if i < 0 {
			break
		}
		span = s.list[i]
	}
	slices.Reverse(path)
	return strings.Join(path, " > ")
}

// paths are those of all spans of the trace with a span of this name.
func (s *spans) paths(name string) (paths []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, of := range s.list {
		if of.GetName() != name {
			continue
		}
		for _, span := range s.list {
			if string(span.GetTraceId()) == string(of.GetTraceId()) {
				paths = append(paths, s.below(span))
			}
		}
	}
	return paths
}

// polled is a client that polls.
type polled struct {
	url string
}

func (p *polled) do(t *testing.T, method, body string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, p.url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	said, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s %s %v", method, body, res.Status, said, err)
	}
	return string(said)
}

// awaits polls until a packet comes that begins like this.
func (p *polled) awaits(t *testing.T, prefix string) {
	t.Helper()
	for {
		for packet := range strings.SplitSeq(p.do(t, http.MethodGet, ""), "\x1e") {
			switch {
			case strings.HasPrefix(packet, prefix):
				return
			case packet == "2":
				p.do(t, http.MethodPost, "3")
			}
		}
	}
}

// TestTraces follows one message from the client event to the fan-out.
func TestTraces(t *testing.T) {
	if testing.Short() {
		t.Skip("starts PostgreSQL, NATS and all services")
	}
	all, endpoint := collectSpans(t)
	t.Setenv("OTLP_ENDPOINT", endpoint.Reveal())
	t.Setenv("TRACE_SHARE", "1")
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
	s := startServing(t, ServeConfig{Data: t.TempDir()})
	password := printed.FindStringSubmatch(s.out.String())
	if password == nil {
		t.Fatalf("standard output has no password of the admin: %q", s.out)
	}
	var admin login
	if status := s.ask(t, "POST", "/api/v1/auth/login", "", credentials("root", password[1]), &admin); status != http.StatusOK {
		t.Fatalf("login = %d", status)
	}
	if status := s.ask(t, "POST", "/api/v1/rooms", admin.AccessToken, map[string]any{"roomId": "traced", "kind": "private"}, nil); status >= 300 {
		t.Fatalf("a room is refused: %d", status)
	}

	p := &polled{url: s.base + "/socket.io/?EIO=4&transport=polling"}
	_, rest, _ := strings.Cut(p.do(t, http.MethodGet, ""), `"sid":"`)
	sid, _, _ := strings.Cut(rest, `"`)
	p.url += "&sid=" + sid
	p.do(t, http.MethodPost, fmt.Sprintf(`40{"token":%q}`, admin.AccessToken))
	p.awaits(t, "40{")
	p.do(t, http.MethodPost, `420["room:join",{"roomId":"traced"}]`)
	p.awaits(t, "430")
	p.do(t, http.MethodPost, `421["message:send",{"roomId":"traced","content":"hello"}]`)
	p.awaits(t, "431")

	const request = "client event client.v1.root.message.send"
	want := []string{request, "message:send", "commit", "fan-out"}
	for began := time.Now(); ; time.Sleep(pollInterval) {
		paths := all.paths("message:send")
		missing := slices.ContainsFunc([]string{
			want[0], strings.Join(want[:2], " > "), strings.Join(want[:3], " > "), strings.Join(want, " > "),
		}, func(path string) bool { return !slices.Contains(paths, path) })
		sql := slices.ContainsFunc(paths, func(path string) bool {
			return strings.HasPrefix(path, strings.Join(want[:3], " > ")+" > ") && !strings.HasSuffix(path, "fan-out")
		})
		if !missing && sql {
			break
		}
		if time.Since(began) > patience {
			t.Fatalf("the trace of message:send has\n%s\nwant %q, and statements below commit", strings.Join(paths, "\n"), want)
		}
	}
	s.end(t)
}
