package sessiontest

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/starling-chat/starling/gateway/internal/engineio"
	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/transport"
)

// Polling is a client on long polling.
type Polling struct {
	SID string
	// Do has a request answered: by the server that has the session, or by way of another gateway.
	Do func(ctx context.Context, r session.PollRequest) session.PollResponse
	t  testing.TB
}

// OpenPolling opens a session on long polling; sockets carry a WebSocket that it is upgraded to.
func OpenPolling(t testing.TB, s *session.Server, sockets *transport.Server) *Polling {
	t.Helper()
	r := s.OpenPolling(sockets, session.Headers{})
	_, rest, ok := strings.Cut(string(r.Body), `"sid":"`)
	sid, _, _ := strings.Cut(rest, `"`)
	if !ok || r.Status != http.StatusOK {
		t.Fatalf("OpenPolling = %d %s", r.Status, r.Body)
	}
	return &Polling{SID: sid, Do: s.Poll, t: t}
}

// Request has a request of the client answered.
func (p *Polling) Request(ctx context.Context, method, body string) session.PollResponse {
	return p.Do(ctx, session.PollRequest{
		Method: method, Body: []byte(body), Query: engineio.Query{Transport: engineio.TransportPolling, SID: p.SID},
	})
}

// Post sends packets, which must be taken.
func (p *Polling) Post(body string) {
	p.t.Helper()
	if r := p.Request(p.t.Context(), http.MethodPost, body); r.Status != http.StatusOK || string(r.Body) != "ok" {
		p.t.Fatalf("POST %.80q = %d %s", body, r.Status, r.Body)
	}
}

// Get waits for packets.
func (p *Polling) Get() string {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), Patience)
	defer cancel()
	r := p.Request(ctx, http.MethodGet, "")
	if r.Status != http.StatusOK {
		p.t.Fatalf("GET = %d %s", r.Status, r.Body)
	}
	return string(r.Body)
}
