package session_test

import (
	"context"
	"log/slog"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/gateway/internal/socketio"
	"github.com/starling-chat/starling/gateway/internal/transport"
	"github.com/starling-chat/starling/proto/fault/faulttest"
)

// TestConnectTimeoutOnPolling: a client that polls and pongs as it should, and never sends a CONNECT, is closed in time.
func TestConnectTimeoutOnPolling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := slog.New(slog.DiscardHandler)
		cfg := sessiontest.Config()
		cfg.PingInterval, cfg.PingTimeout, cfg.ConnectTimeout = 25*time.Second, 20*time.Second, 45*time.Second
		server := session.NewServer(cfg, session.NewSIDs("test", []byte("key")), newApp(), socketio.Names{}, sessiontest.Stats(), log)
		sockets := transport.NewServer(transport.Limits{MaxMessage: 1 << 20, SendQueue: 1 << 16}, log)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = server.Run(ctx) }()
		p, start := sessiontest.OpenPolling(t, server, sockets), time.Now()
		for {
			r := p.Request(t.Context(), http.MethodGet, "")
			if r.Status != http.StatusOK || string(r.Body) == "1" {
				break
			}
			if string(r.Body) == "2" {
				p.Post("3")
			}
		}
		if took := time.Since(start); took < 44*time.Second || took > 47*time.Second {
			t.Errorf("closed after %v, want 45 s", took)
		}
		cancel()
		<-done
	})
}

// TestWhoMakesRoom: a session makes room until a namespace has let its client in, but not while its CONNECT is being decided; the log
// says it.
func TestWhoMakesRoom(t *testing.T) {
	var log faulttest.Log
	cfg := sessiontest.Config()
	cfg.FirstPayload, cfg.Strangers = 1000, new(transport.Strangers)
	a := newApp()
	server := session.NewServer(cfg, session.NewSIDs("test", []byte("key")), a, socketio.NewNames("/"), sessiontest.Stats(), log.Logger())
	open := func(packets ...string) (*sessiontest.Conn, *session.Session) {
		c, s := sessiontest.Open(server, session.Headers{RemoteIP: "192.0.2.9"})
		c.Say(packets...)
		return c, s
	}
	silent, _ := open()
	pending, deciding := open("40/later,")
	connected, _ := open("40")
	refused, _ := open("40/no,")
	left, _ := open("40", "41")
	for _, next := range []*sessiontest.Conn{refused, silent} {
		if !cfg.Strangers.Displace() {
			t.Fatal("nobody makes room, want a stranger")
		}
		if code, reason := next.WaitEnded(t); code != transport.CodeTryAgainLater || reason != transport.ReasonDisplaced {
			t.Errorf("closed with %d, %s, want 1013, displaced", code, reason)
		}
	}
	if cfg.Strangers.Displace() {
		t.Error("somebody makes room, want nobody: one waits for the gateway, the others have shown who they are")
	}
	deciding.Refuse("/later", "no", nil)
	if !cfg.Strangers.Displace() {
		t.Error("a client whose CONNECT was refused in the end stays, want it gone")
	}
	pending.WaitEnded(t)
	for _, c := range []*sessiontest.Conn{connected, left} {
		if _, reason, ended := c.Ended(); ended {
			t.Errorf("a client that was let in is closed for %s", reason)
		}
	}
	lines := logged(t, &log, "security event")
	if len(lines) != 1 || lines[0]["event"] != "admission" || lines[0]["result"] != "displaced" || lines[0]["address"] != "192.0.2.9" {
		t.Errorf("records %v, want one of the first that had to go", lines)
	}
}
