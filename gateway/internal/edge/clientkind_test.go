package edge

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/gateway/internal/socketio"
	"github.com/starling-chat/starling/gateway/internal/transport"
	"github.com/starling-chat/starling/proto/fault/faulttest"
)

// TestFixedArguments tells the clients whose handlers break on an argument more from the others, by what each sends.
func TestFixedArguments(t *testing.T) {
	for _, tt := range []struct {
		client, agent, query string
		want                 bool
	}{
		{"Python, requests", "python-requests/2.28.1", "transport=polling&EIO=4&t=1764300000.1234567", true},
		{"Python, WebSocket only", "", "transport=websocket&EIO=4&t=1764300000.1234567", true},
		{"Python, asyncio", "Python/3.11 aiohttp/3.8.4", "transport=websocket&EIO=4", true},
		{"Python, asyncio, another application", "app/1 aiohttp/3.8.4", "transport=polling&EIO=4", true},
		{"Dart and Flutter", "Dart/3.5 (dart:io)", "EIO=4&transport=websocket", true},
		{"browser", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/129.0", "EIO=4&transport=polling&t=PBxyz12", false},
		{"Node, WebSocket", "", "EIO=4&transport=websocket", false},
		{"Node, polling", "node-XMLHttpRequest", "EIO=4&transport=polling&t=0.1234567", false},
		{"yeast with a seed", "", "EIO=4&transport=polling&t=PBxyz12.0", false},
		{"milliseconds", "", "EIO=4&transport=websocket&t=1764300000123", false},
		{"Java and Android", "okhttp/3.12.12", "EIO=4&transport=polling&t=PBxyz12", false},
		{"C++", "WebSocket++/0.8.2", "EIO=4&transport=websocket&t=1764300000", false},
		{"Go", "Go-http-client/1.1", "EIO=4&transport=websocket", false},
		{"a browser that only mentions Dart", "Mozilla/5.0 Dart/3", "EIO=4&transport=websocket", false},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/socket.io/?"+tt.query, http.NoBody)
		if tt.agent != "" {
			r.Header.Set("User-Agent", tt.agent)
		}
		if got := hasFixedArguments(r); got != tt.want {
			t.Errorf("%s: hasFixedArguments = %v, want %v", tt.client, got, tt.want)
		}
	}
}

// TestRefusedClientIsExplained: the log names the likely cause of a refusal that says nothing to a developer, once for many.
func TestRefusedClientIsExplained(t *testing.T) {
	var log faulttest.Log
	st := sessiontest.Stats()
	sockets := transport.NewServer(transport.Limits{MaxMessage: 1000, SendQueue: 1 << 16}, slog.New(slog.DiscardHandler))
	e := NewEndpoint(EndpointConfig{MaxPayload: 1000, RemoteIP: func(*http.Request) string { return "192.0.2.7" }}, Deps{
		SIDs: session.NewSIDs("g", []byte("k")), Sockets: sockets, Stats: st, Log: log.Logger(),
		Sessions: session.NewServer(sessiontest.Config(), session.NewSIDs("g", []byte("k")), silent{}, socketio.Names{}, st, log.Logger()),
	})
	for query, want := range map[string]string{
		"EIO=3&transport=polling":             "speaks Engine.IO 3",
		"transport=polling":                   "has no EIO=4",
		"EIO=4&transport=webtransport":        "neither polling nor websocket",
		"EIO=4&transport=polling&sid=unknown": "",
	} {
		before := len(log.String())
		ask := func(query string) {
			e.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/socket.io/?"+query, http.NoBody))
		}
		ask(query)
		got := log.String()[before:]
		if want == "" && got != "" || !strings.Contains(got, want) || want != "" && !strings.Contains(got, "192.0.2.7") {
			t.Errorf("log after %s = %q, want %q", query, got, want)
		}
		ask(query + "&secret=abcd")
		if again := log.String()[before+len(got):]; again != "" {
			t.Errorf("log after %s came again = %q, want nothing", query, again)
		}
	}
	if strings.Contains(log.String(), "abcd") {
		t.Error("the query is in the log")
	}
}
