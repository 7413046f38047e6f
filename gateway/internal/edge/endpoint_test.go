package edge

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/gateway/internal/transport"
)

// TestWaitingPollAtTheEnd: a GET that waits at a gateway that goes away is answered, so that its client asks elsewhere.
func TestWaitingPollAtTheEnd(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	st := sessiontest.Stats()
	sockets := transport.NewServer(transport.Limits{MaxMessage: 1000, SendQueue: 1 << 16, FrameTimeout: time.Minute, CloseTimeout: time.Second}, log)
	sessions := sessiontest.Server(t, silent{}, sessiontest.Config(), st)
	e := NewEndpoint(EndpointConfig{MaxPayload: 1000, MaxConnections: 10, RemoteIP: func(*http.Request) string { return "" }},
		Deps{SIDs: session.NewSIDs("g", []byte("k")), Sessions: sessions, Sockets: sockets, Stats: st, Log: log})
	front := httptest.NewServer(e)
	t.Cleanup(front.Close)
	url := front.URL + "/socket.io/?EIO=4&transport=polling"
	_, opened := ask(t, http.MethodGet, url, "")
	_, rest, _ := strings.Cut(opened, `"sid":"`)
	sid, _, ok := strings.Cut(rest, `"`)
	if !ok {
		t.Fatalf("open packet = %s", opened)
	}
	answered := make(chan string, 1)
	go func() {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, url+"&sid="+sid, http.NoBody)
		r.Header.Set("Cookie", strings.Repeat("x", 16<<10))
		rec := httptest.NewRecorder()
		e.ServeHTTP(rec, r)
		if len(r.Header) > 0 {
			t.Errorf("a GET keeps its headers while it waits: %d", len(r.Header))
		}
		answered <- rec.Body.String()
	}()
	e.stopping.Store(true)
	select {
	case got := <-answered:
		if got != "6" {
			t.Errorf("answer = %q, want a noop", got)
		}
	case <-time.After(sessiontest.Patience):
		t.Error("the GET was not answered")
	}
	sessions.End(sid, transport.ReasonLost)
}
