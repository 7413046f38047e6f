package peers

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/gateway/internal/transport"
	"github.com/starling-chat/starling/platform/bus/bustest"
	"github.com/starling-chat/starling/platform/bus/embedded"
	"github.com/starling-chat/starling/proto/subject"
)

// echo is an App for which a token is the name of its user. It acknowledges every event with the event's arguments; "pause"
// stops the reading instead.
type echo struct {
	mu      sync.Mutex // guards what follows
	sockets map[string][]*session.Socket
	events  int
}

var _ session.App = (*echo)(nil)

func (a *echo) Connect(s *session.Session, namespace string, auth []byte) {
	var detail struct{ Token string }
	if err := json.Unmarshal(auth, &detail); err != nil {
		s.Refuse(namespace, "Invalid token", nil)
		return
	}
	socket := s.NewSocket("", namespace, detail.Token, nil)
	s.Admit(socket, "", func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.sockets[detail.Token] = append(a.sockets[detail.Token], socket)
	})
}

func (a *echo) Event(s *session.Socket, e session.Event) {
	a.mu.Lock()
	a.events++
	a.mu.Unlock()
	if e.Name == "pause" {
		s.PauseRead()
		return
	}
	if m, err := session.AckMessage(s.Namespace, e.Packet.ID, e.Packet.AppendArgs(nil), e.Attachments); err == nil {
		s.Queue(m)
		s.Flush()
	}
}

func (*echo) BatchEnd(*session.Socket)                     {}
func (*echo) Ack(*session.Socket, int64, []byte, [][]byte) {}

func (a *echo) Disconnected(s *session.Socket, _ transport.Reason) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.sockets, s.UserID)
}

func (a *echo) user(name string) []*session.Socket {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sockets[name]
}

func (a *echo) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.events
}

// fleet is several gateways over one NATS, without what they are there for.
type fleet struct {
	t      testing.TB
	broker *embedded.Server
	bus    *nats.Conn // of the test

	// Of the gateways that are started from now on.
	sessions session.Config
	limits   transport.Limits
}

// gateway is one of them.
type gateway struct {
	t        testing.TB
	fleet    *fleet
	id       string
	nc       *nats.Conn
	app      *echo
	sessions *session.Server
	sockets  *transport.Server
	peers    *Peers

	mu       sync.Mutex // guards what follows
	resumed  time.Time  // when the last stall ended
	takeover func(pid string, done func())

	strangers *transport.Strangers
}

func newFleet(t testing.TB) *fleet {
	t.Helper()
	broker := bustest.Server(t)
	return &fleet{
		t: t, broker: broker, bus: bustest.Connect(t, broker), sessions: sessiontest.Config(),
		limits: transport.Limits{MaxMessage: 100_000, SendQueue: 256 << 10, FrameTimeout: time.Minute, CloseTimeout: time.Second},
	}
}

// start starts a gateway.
func (f *fleet) start(id string) *gateway {
	f.t.Helper()
	log := slog.New(slog.DiscardHandler)
	g := &gateway{t: f.t, fleet: f, id: id, nc: bustest.Connect(f.t, f.broker), app: &echo{sockets: make(map[string][]*session.Socket)}}
	g.strangers = new(transport.Strangers)
	cfg := f.sessions
	cfg.Strangers = g.strangers
	g.sessions = sessiontest.Server(f.t, g.app, cfg, sessiontest.Stats())
	g.sockets = transport.NewServer(f.limits, log)
	f.t.Cleanup(g.sockets.Wait)
	g.peers = New(Config{
		Gateway: id, Strangers: g.strangers,
		LetGo: func(_ context.Context, sid string) {
			g.sessions.Find(sid).Close(transport.CodeRestart, transport.ReasonDrain)
		},
		Takeover: func(pid string, done func()) {
			g.mu.Lock()
			takeover := g.takeover
			g.mu.Unlock()
			takeover(pid, done)
		},
		Resumed: func(time.Time) time.Time {
			g.mu.Lock()
			defer g.mu.Unlock()
			return g.resumed
		},
	}, g.nc, g.sessions, log)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = g.peers.Run(ctx) }()
	f.t.Cleanup(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(2 * sessiontest.Patience):
			f.t.Error("Run does not end")
		}
	})
	sessiontest.Eventually(f.t, func() bool {
		return bustest.HasSubscriber(f.t, f.bus, subject.Engine(id))
	}, func() string { return "the gateway does not listen" })
	return g
}

// kill takes the gateway off the bus at once, as kill -9 would: it says nothing any more.
func (g *gateway) kill() {
	g.t.Helper()
	g.nc.Close()
	sessiontest.Eventually(g.t, func() bool {
		return !bustest.HasSubscriber(g.t, g.fleet.bus, subject.Engine(g.id))
	}, func() string { return "the bus still knows the gateway" })
}

func (g *gateway) tunnels() int {
	g.peers.mu.Lock()
	defer g.peers.mu.Unlock()
	return len(g.peers.tunnels)
}

// silence is as if nothing was heard through the gateway's tunnels for too long.
func (g *gateway) silence() {
	g.peers.mu.Lock()
	defer g.peers.mu.Unlock()
	for _, tunnel := range g.peers.tunnels {
		tunnel.mu.Lock()
		tunnel.seen = time.Now().Add(-keepaliveLost - time.Second)
		tunnel.added = time.Now().Add(-openingGrace - time.Second)
		tunnel.mu.Unlock()
	}
}

// theTunnel gives the one tunnel that the gateway has.
func (g *gateway) theTunnel() *tunnel {
	g.t.Helper()
	g.peers.mu.Lock()
	defer g.peers.mu.Unlock()
	if len(g.peers.tunnels) != 1 {
		g.t.Fatalf("%d tunnels, want one", len(g.peers.tunnels))
	}
	for _, tunnel := range g.peers.tunnels {
		return tunnel
	}
	return nil
}

// wantNothingLeft waits until the owner has no session, and neither gateway a tunnel.
func wantNothingLeft(t *testing.T, owner, carrier *gateway) {
	t.Helper()
	sessiontest.Eventually(t, func() bool { return owner.sessions.Count() == 0 && owner.tunnels()+carrier.tunnels() == 0 }, func() string {
		return fmt.Sprintf("%d sessions and %d, %d tunnels are left", owner.sessions.Count(), owner.tunnels(), carrier.tunnels())
	})
}

// polling is a client on long polling whose requests come to another gateway than its session's.
type polling struct {
	*sessiontest.Polling
	t     testing.TB
	owner *gateway
	other *gateway
	hold  time.Duration // of a GET
}

// pollThrough opens a session at owner.
func pollThrough(t testing.TB, owner, other *gateway) *polling {
	t.Helper()
	p := &polling{Polling: sessiontest.OpenPolling(t, owner.sessions, owner.sockets), t: t, owner: owner, other: other, hold: 50 * time.Millisecond}
	p.Do = p.passOn
	return p
}

// passOn asks as an Engine.IO endpoint would: a GET in turns, until there is something.
func (p *polling) passOn(ctx context.Context, r session.PollRequest) session.PollResponse {
	if r.Method == http.MethodGet {
		r.Hold = p.hold
	}
	for {
		answer, err := p.other.peers.Poll(ctx, p.owner.id, r)
		if err != nil {
			return session.PollResponse{Status: 599, Body: []byte(err.Error())}
		}
		if answer.Status != http.StatusNoContent {
			return answer
		}
	}
}

// enter has the client come in on "/".
func (p *polling) enter(user string) {
	p.t.Helper()
	p.Post(`40{"token":"` + user + `"}`)
	if got := p.Get(); !strings.HasPrefix(got, "40{") {
		p.t.Fatalf("GET = %s, want the CONNECT reply", got)
	}
}

// getLater polls in the background, and returns when the owner has the GET.
func (p *polling) getLater(ctx context.Context) <-chan session.PollResponse {
	answer := make(chan session.PollResponse, 1)
	go func() { answer <- p.Request(ctx, "GET", "") }()
	sessiontest.Eventually(p.t, func() bool {
		p.owner.peers.mu.Lock()
		defer p.owner.peers.mu.Unlock()
		return len(p.owner.peers.cancels) > 0 || len(answer) > 0
	}, func() string { return "the GET does not reach the owner" })
	return answer
}

func wantResponse(t *testing.T, answer <-chan session.PollResponse, want string) {
	t.Helper()
	select {
	case r := <-answer:
		if got := fmt.Sprintf("%d %s", r.Status, r.Body); got != want {
			t.Errorf("GET = %s, want %s", got, want)
		}
	case <-time.After(sessiontest.Patience):
		t.Errorf("the GET is not answered, want %s", want)
	}
}
