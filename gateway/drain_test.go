package gateway

import (
	"context"
	"io"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/gateway/internal/socketio"
	"github.com/starling-chat/starling/gateway/internal/transport"
)

// guests is an App that lets everybody in.
type guests struct{ session.App }

func (guests) Connect(s *session.Session, namespace string, _ []byte) {
	s.Admit(s.NewSocket("", namespace, "ann", nil), "", func() {})
}

func (guests) Disconnected(*session.Socket, transport.Reason) {}

// TestPollingClientIsLetGoWhenItHasItsAnswers: what is queued for a client on long polling is lost with its gateway, unless it has
// come for it.
func TestPollingClientIsLetGoWhenItHasItsAnswers(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	sockets := transport.NewServer(transport.Limits{MaxMessage: 100_000, SendQueue: 256 << 10, CloseTimeout: time.Second}, log)
	t.Cleanup(sockets.Wait)
	d := &drain{busy: func(*session.Session) bool { return false }, log: log}
	now := time.Now()
	open := func() (*sessiontest.Polling, *leaving) {
		sessions := sessiontest.Server(t, guests{}, sessiontest.Config(), sessiontest.Stats())
		p := sessiontest.OpenPolling(t, sessions, sockets)
		return p, &leaving{session: sessions.Refuse()[0], since: now}
	}
	p, l := open()
	p.Post("40")
	if d.letGo(l, now, false) {
		t.Fatal("a client is let go that has not come for its CONNECT reply")
	}
	if got := p.Get(); got[:2] != "40" {
		t.Fatalf("GET = %s, want the CONNECT reply", got)
	}
	if d.letGo(l, now, false) {
		t.Fatal("a client is let go while its answer may be on its way")
	}
	last := make(chan session.PollResponse, 1)
	go func() { last <- p.Request(context.WithoutCancel(t.Context()), "GET", "") }()
	sessiontest.Eventually(t, l.session.Settled, func() string { return "the GET does not wait" })
	if !d.letGo(l, now, false) {
		t.Error("a client that waits for more is not let go")
	}
	select {
	case r := <-last:
		if string(r.Body) != "1" {
			t.Errorf("the waiting GET is answered with %d %s, want the end", r.Status, r.Body)
		}
	case <-time.After(sessiontest.Patience):
		t.Error("the waiting GET is not answered")
	}
	if _, l := open(); d.letGo(l, now, false) || !d.letGo(l, now.Add(busyPatience), false) {
		t.Error("a client that has gone is let go at once, or never; want after busyPatience")
	}
}

// carriedConn is a WebSocket of a session that another gateway has, which ends it when it is asked, or never.
type carriedConn struct {
	conn  transport.Conn
	ended chan struct{}
	heeds bool
}

func (*carriedConn) Receive([]byte, bool)      {}
func (*carriedConn) BatchEnd()                 {}
func (c *carriedConn) Closed(transport.Reason) { close(c.ended) }
func (c *carriedConn) Close()                  { c.conn.Close(transport.CodeRestart, transport.ReasonDrain) }

func (c *carriedConn) Ask() {
	if c.heeds {
		c.Close()
	}
}

func (c *carriedConn) left() []carried {
	select {
	case <-c.ended:
		return nil
	default:
		return []carried{c}
	}
}

// TestDrainEndsWhatIsCarried: a gateway that goes away does not wait for WebSockets that nobody ends. Their sessions' gateways are asked
// to, over the window as well; where they do not, the drain does.
func TestDrainEndsWhatIsCarried(t *testing.T) {
	for _, heeds := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			log, st := slog.New(slog.DiscardHandler), sessiontest.Stats()
			sockets := transport.NewServer(transport.Limits{MaxMessage: 1000, SendQueue: 1 << 16, CloseTimeout: time.Second}, log)
			near, far := net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, far) }()
			c := &carriedConn{ended: make(chan struct{}), heeds: heeds}
			sockets.Serve(near, nil, func(conn transport.Conn) transport.Receiver { c.conn = conn; return c })
			sessions := session.NewServer(sessiontest.Config(), session.NewSIDs("g", []byte("k")), guests{}, socketio.Names{}, st, log)
			d := &drain{
				window: time.Second, sessions: sessions, sockets: sockets, carried: c.left,
				busy: func(*session.Session) bool { return false }, stats: st, log: log,
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			start := time.Now()
			_ = d.run(ctx)
			if took := time.Since(start); took > 10*time.Second || heeds && took > 3*time.Second {
				t.Errorf("the drain took %v when the other gateway heeds: %v", took, heeds)
			}
			_ = far.Close()
		})
	}
}

// TestLoneGatewayDoesNotSpreadItsDrain: its clients have nowhere to go but to its successor, which starts when it is gone.
func TestLoneGatewayDoesNotSpreadItsDrain(t *testing.T) {
	for _, alone := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			log, st := slog.New(slog.DiscardHandler), sessiontest.Stats()
			sockets := transport.NewServer(transport.Limits{MaxMessage: 1000, SendQueue: 1 << 16, CloseTimeout: time.Second}, log)
			sessions := session.NewServer(sessiontest.Config(), session.NewSIDs("g", []byte("k")), guests{}, socketio.Names{}, st, log)
			for range 10 {
				_, _ = sessiontest.Open(sessions, session.Headers{})
			}
			d := &drain{
				window: 10 * time.Second, alone: func() bool { return alone }, sessions: sessions, sockets: sockets,
				carried: func() []carried { return nil }, busy: func(*session.Session) bool { return false }, stats: st, log: log,
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			start := time.Now()
			_ = d.run(ctx)
			if took := time.Since(start); alone && took > time.Second || !alone && took < 8*time.Second {
				t.Errorf("alone: %v, the drain took %v of a window of 10s", alone, took)
			}
		})
	}
}

// TestDrainAwaitsLastPolls: a client on long polling that is not there when its session ends has its answers with its next GET, if that
// comes soon.
func TestDrainAwaitsLastPolls(t *testing.T) {
	for comes, want := range map[time.Duration]time.Duration{
		busyPatience + busyPatience/2: busyPatience + busyPatience/2,
		time.Hour:                     2 * busyPatience,
	} {
		synctest.Test(t, func(t *testing.T) {
			log, st := slog.New(slog.DiscardHandler), sessiontest.Stats()
			sockets := transport.NewServer(transport.Limits{MaxMessage: 1000, SendQueue: 1 << 16, CloseTimeout: time.Second}, log)
			sessions := session.NewServer(sessiontest.Config(), session.NewSIDs("g", []byte("k")), guests{}, socketio.Names{}, st, log)
			p := sessiontest.OpenPolling(t, sessions, sockets)
			p.Post("40")
			d := &drain{
				sessions: sessions, sockets: sockets, carried: func() []carried { return nil },
				busy: func(*session.Session) bool { return false }, stats: st, log: log,
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if comes < time.Hour {
				time.AfterFunc(comes, func() {
					p.Post("3") // the client does not know yet
					if got := p.Get(); got[:2] != "40" {
						t.Errorf("GET = %s, want the answer", got)
					}
					if got := p.Get(); got != "1" {
						t.Errorf("GET = %s, want the end", got)
					}
				})
			}
			start := time.Now()
			_ = d.run(ctx)
			if took := time.Since(start); took < want || took > want+2*busyTick {
				t.Errorf("a client that comes after %v: the drain took %v, want %v", comes, took, want)
			}
		})
	}
}
