package edge

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/gateway/internal/stats"
	"github.com/starling-chat/starling/gateway/internal/transport"
)

// admitting lets everybody in.
type admitting struct{ silent }

func (admitting) Connect(s *session.Session, namespace string, _ []byte) {
	s.Admit(s.NewSocket("", namespace, "u", nil), "", func() {})
}

// full serves an endpoint that has room for a few sessions. It has no limit of an address.
func full(t *testing.T, most int) (url string, sessions *session.Server, st *stats.Stats) {
	t.Helper()
	st = sessiontest.Stats()
	cfg := sessiontest.Config()
	cfg.FirstPayload, cfg.Strangers = 1000, new(transport.Strangers)
	sessions = sessiontest.Server(t, admitting{}, cfg, st)
	log := slog.New(slog.DiscardHandler)
	sockets := transport.NewServer(transport.Limits{MaxMessage: 1000, SendQueue: 1 << 16, FrameTimeout: time.Minute, CloseTimeout: time.Second}, log)
	e := NewEndpoint(EndpointConfig{MaxPayload: 1000, MaxConnections: most}, Deps{
		SIDs: session.NewSIDs("test", []byte("key")), Sessions: sessions, Sockets: sockets, Strangers: cfg.Strangers, Stats: st, Log: log,
	})
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	return server.URL + "/socket.io/?EIO=4", sessions, st
}

// polled makes a polling request.
func polled(t *testing.T, url, sid, body string) (status int, answer string) {
	t.Helper()
	method := http.MethodGet
	if body != "" {
		method = http.MethodPost
	}
	url += "&transport=polling"
	if sid != "" {
		url += "&sid=" + sid
	}
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	raw, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(raw)
}

// enter has a user come in by polling.
func enter(t *testing.T, url string) (sid string, err error) {
	t.Helper()
	status, open := polled(t, url, "", "")
	_, rest, _ := strings.Cut(open, `"sid":"`)
	sid, _, _ = strings.Cut(rest, `"`)
	if status != http.StatusOK {
		return "", fmt.Errorf("handshake: %d %s", status, open)
	}
	if status, answer := polled(t, url, sid, "40"); status != http.StatusOK {
		return "", fmt.Errorf("CONNECT: %d %s", status, answer)
	}
	if status, answer := polled(t, url, sid, ""); !strings.HasPrefix(answer, "40{") {
		return "", fmt.Errorf("GET: %d %s", status, answer)
	}
	return sid, nil
}

// TestStrangersMakeRoom: sessions that never connect to a namespace fill a gateway, and keep no user out, on either transport; nor does
// a user lose the place that they have. Where users fill it, newcomers are told to come back.
func TestStrangersMakeRoom(t *testing.T) {
	const most = 4
	for name, open := range map[string]func(t *testing.T, url string){
		"polling": func(t *testing.T, url string) { polled(t, url, "", "") },
		"websocket": func(t *testing.T, url string) {
			conn, early, _, err := (ws.Dialer{Timeout: sessiontest.Patience}).Dial(t.Context(), "ws"+strings.TrimPrefix(url, "http")+"&transport=websocket")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			from := io.Reader(conn)
			if early != nil {
				from = early
			}
			// A stranger who takes a place later than the user after them would make the user go, who waits for a CONNECT then too.
			if f, err := ws.ReadFrame(from); err != nil || !strings.HasPrefix(string(f.Payload), "0{") {
				t.Fatalf("read %q, %v, want the open packet", f.Payload, err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			url, sessions, st := full(t, most)
			var users []string
			for len(users) < most {
				for range 3 * most {
					open(t, url)
				}
				sid, err := enter(t, url)
				if err != nil {
					t.Fatalf("user %d among strangers: %v, want them in", len(users), err)
				}
				users = append(users, sid)
			}
			for i, sid := range users {
				if got := sessions.Transport(sid); got != "polling" {
					t.Errorf("user %d has lost their session", i)
				}
			}
			sessiontest.Eventually(t, func() bool { return sessions.Count() == most }, func() string {
				return fmt.Sprintf("%d sessions, want %d users alone", sessions.Count(), most)
			})
			if _, err := enter(t, url); err == nil || !strings.Contains(err.Error(), "503") {
				t.Errorf("one more than the users that there is room for: %v, want 503", err)
			}
			if got := testutil.ToFloat64(st.Disconnects.WithLabelValues("displaced")); got < 3*most {
				t.Errorf("%v strangers had to go, want at least %d", got, 3*most)
			}
		})
	}
}
