package session_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/gateway/internal/socketio"
	"github.com/starling-chat/starling/gateway/internal/transport"
)

const (
	twoAttachments = `452-["e",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`
	packetTimeout  = 10 * time.Second
)

// inFakeTime runs a test with a session that is in "/", in the clock of synctest.
func inFakeTime(t *testing.T, test func(t *testing.T, c *sessiontest.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		cfg := sessiontest.Config()
		cfg.PacketTimeout = packetTimeout
		server := session.NewServer(cfg, session.NewSIDs("test", []byte("key")), newApp(), socketio.Names{}, sessiontest.Stats(), slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = server.Run(ctx) }()
		c, _ := sessiontest.Open(server, session.Headers{})
		c.Say("40")
		test(t, c)
		cancel()
		<-done
	})
}

// TestAttachmentsThatDoNotCome: one deadline for a packet and its attachments, which moves on while they come.
func TestAttachmentsThatDoNotCome(t *testing.T) {
	closed := func(t *testing.T, c *sessiontest.Conn) {
		t.Helper()
		synctest.Wait()
		if code, reason, ended := c.Ended(); !ended || code != transport.CodePolicy || reason != transport.ReasonFrameTime {
			t.Errorf("closed with %d, %s, %v, want 1008, frame_time", code, reason, ended)
		}
	}
	open := func(t *testing.T, c *sessiontest.Conn) {
		t.Helper()
		synctest.Wait()
		if code, reason, ended := c.Ended(); ended {
			t.Errorf("closed with %d, %s, want it open", code, reason)
		}
	}
	for name, test := range map[string]func(t *testing.T, c *sessiontest.Conn){
		"never": func(t *testing.T, c *sessiontest.Conn) {
			c.Say(twoAttachments)
			time.Sleep(packetTimeout / 2)
			c.Say("3") // shows that the client is there, not that the packet comes
			time.Sleep(packetTimeout/2 + time.Second)
			closed(t, c)
		},
		"the second never": func(t *testing.T, c *sessiontest.Conn) {
			c.Say(twoAttachments)
			time.Sleep(packetTimeout - time.Second)
			c.SayBinary([]byte("a few bytes"))
			time.Sleep(3 * time.Second)
			closed(t, c)
		},
		"one after the other": func(t *testing.T, c *sessiontest.Conn) {
			for range 3 {
				c.Say(twoAttachments)
				for range 2 {
					time.Sleep(packetTimeout - time.Second)
					open(t, c)
					c.SayBinary(make([]byte, 20_000)) // 20 s at the least rate
				}
			}
			time.Sleep(time.Minute)
			open(t, c)
		},
		"on its way": func(t *testing.T, c *sessiontest.Conn) {
			c.Say(twoAttachments)
			c.Incomplete.Store(true)
			time.Sleep(time.Minute)
			open(t, c)
			c.SayBinary(make([]byte, 1000))
			c.Incomplete.Store(false)
			time.Sleep(packetTimeout + 2*time.Second)
			closed(t, c)
		},
		"on its way for ever": func(t *testing.T, c *sessiontest.Conn) {
			c.Say(twoAttachments)
			c.Incomplete.Store(true)
			time.Sleep(time.Hour)
			closed(t, c)
		},
	} {
		t.Run(name, func(t *testing.T) { inFakeTime(t, test) })
	}
}

// TestBytesOfAllSessions: what sessions keep of packets without all of their attachments has a bound, and is given back.
func TestBytesOfAllSessions(t *testing.T) {
	cfg := sessiontest.Config()
	cfg.Unfinished = transport.NewUnfinished(100_000)
	server := sessiontest.Server(t, newApp(), cfg, sessiontest.Stats())
	connect := func() *sessiontest.Conn {
		c, _ := sessiontest.Open(server, session.Headers{})
		c.Say("40", twoAttachments)
		return c
	}
	big := make([]byte, 40_000)
	first, second, third := connect(), connect(), connect()
	first.SayBinary(big)
	second.SayBinary(big)
	third.SayBinary(big)
	if code, reason := third.WaitEnded(t); code != transport.CodeTryAgainLater || reason != transport.ReasonOverload {
		t.Errorf("closed with %d, %s, want 1013, overload", code, reason)
	}
	first.SayBinary([]byte("x")) // and it is whole
	second.Close(transport.CodeNormal, transport.ReasonLost)
	second.WaitEnded(t)
	if _, reason, ended := first.Ended(); ended || cfg.Unfinished.Bytes() != 0 {
		t.Errorf("%d bytes are kept in the end, the first closed as %q; want none, and it open", cfg.Unfinished.Bytes(), reason)
	}
}

// TestBeforeTheFirstConnect: a client that has not shown who it is may send little, and nothing is kept for it.
func TestBeforeTheFirstConnect(t *testing.T) {
	cfg := sessiontest.Config()
	cfg.FirstPayload = 1000
	a := newApp()
	server := sessiontest.Server(t, a, cfg, sessiontest.Stats())
	c, _ := sessiontest.Open(server, session.Headers{})
	c.Say("40/later,", twoAttachments)
	if code, reason := c.WaitEnded(t); code != transport.CodeProtocol || reason != transport.ReasonProtocol {
		t.Errorf("closed with %d, %s after a binary event, want 1002, protocol", code, reason)
	}
	long := `42["e","` + strings.Repeat("x", 2000) + `"]`
	early := openPolling(t, server)
	if got := server.MaxBody(early.sid); got != 1000 {
		t.Errorf("MaxBody = %d before the first CONNECT, want 1000", got)
	}
	early.post(t, "40\x1e"+long, "413 ")
	p := openPolling(t, server)
	p.post(t, "40", "200 ok")
	if got := server.MaxBody(p.sid); got != cfg.MaxPayload {
		t.Errorf("MaxBody = %d after it, want %d", got, cfg.MaxPayload)
	}
	p.post(t, long, "200 ok")
	if got := server.MaxBody("unknown"); got != 0 {
		t.Errorf("MaxBody = %d of no session, want 0", got)
	}
}
