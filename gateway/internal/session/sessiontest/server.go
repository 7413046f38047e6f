package sessiontest

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/socketio"
	"github.com/starling-chat/starling/gateway/internal/stats"
	"github.com/starling-chat/starling/gateway/internal/transport"
)

// Config is fit for most tests: nothing times out.
func Config() session.Config {
	return session.Config{
		PingInterval: time.Hour, PingTimeout: time.Hour, ConnectTimeout: time.Hour,
		MaxPayload: 100_000, MaxAttachments: 3, MaxDepth: 8,
	}
}

// Stats are fresh metrics.
func Stats() *stats.Stats {
	return stats.New(prometheus.NewRegistry(), func() int64 { return 0 })
}

// Server is a session server for app; its clock runs until t ends.
func Server(t testing.TB, app session.App, cfg session.Config, st *stats.Stats) *session.Server {
	t.Helper()
	s := session.NewServer(cfg, session.NewSIDs("test", []byte("key")), app, socketio.NewNames("/"), st, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return s
}

// Open has a client connect; the open packet has come.
func Open(s *session.Server, headers session.Headers) (*Conn, *session.Session) {
	c := &Conn{ended: make(chan struct{})}
	c.reader.Lock() // nothing is received before the receiver is known
	defer c.reader.Unlock()
	opened := s.Open(c, headers)
	c.receiver = opened
	return c, opened
}

// Sockets accepts everybody without asking, for tests of what lies behind a socket.
type Sockets struct {
	server *session.Server
}

// NewSockets makes a source of sockets.
func NewSockets(t testing.TB) *Sockets {
	return &Sockets{Server(t, silent{}, Config(), Stats())}
}

// New gives a socket of a user in a namespace, and its client, which has got its CONNECT reply.
func (f *Sockets) New(t testing.TB, namespace, userID string) (*session.Socket, *Conn) {
	t.Helper()
	c, s := Open(f.server, session.Headers{})
	c.Say("40" + namespace + ",")
	socket := s.NewSocket("", namespace, userID, nil)
	if !s.Admit(socket, "", func() {}) {
		t.Fatal("Admit = false, want a socket")
	}
	c.Forget()
	return socket, c
}

// silent is an App that leaves all to the test.
type silent struct{}

func (silent) Connect(*session.Session, string, []byte)       {}
func (silent) Event(*session.Socket, session.Event)           {}
func (silent) BatchEnd(*session.Socket)                       {}
func (silent) Ack(*session.Socket, int64, []byte, [][]byte)   {}
func (silent) Disconnected(*session.Socket, transport.Reason) {}
