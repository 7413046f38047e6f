package session_test

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/starling-chat/starling/gateway/internal/engineio"
	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/gateway/internal/socketio"
	"github.com/starling-chat/starling/gateway/internal/transport"
)

// slowly runs a test with a server whose pings have to be answered within 20 s, in the clock of synctest.
func slowly(t *testing.T, test func(t *testing.T, server *session.Server, sockets *transport.Server)) {
	synctest.Test(t, func(t *testing.T) {
		log := slog.New(slog.DiscardHandler)
		cfg := sessiontest.Config()
		cfg.PingInterval, cfg.PingTimeout, cfg.ConnectTimeout = 25*time.Second, 20*time.Second, time.Hour
		server := session.NewServer(cfg, session.NewSIDs("test", []byte("key")), newApp(), socketio.Names{}, sessiontest.Stats(), log)
		sockets := transport.NewServer(transport.Limits{
			MaxMessage: 1 << 20, SendQueue: 1 << 16, FrameTimeout: 10 * time.Second, CloseTimeout: time.Second,
		}, log)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = server.Run(ctx) }()
		test(t, server, sockets)
		sockets.Wait()
		cancel()
		<-done
	})
}

// TestPongBehindALongMessage: while a message takes longer than a pong may, the client is there: its pong waits behind the message.
// Afterwards it has to pong as ever.
func TestPongBehindALongMessage(t *testing.T) {
	slowly(t, func(t *testing.T, server *session.Server, sockets *transport.Server) {
		near, far := net.Pipe()
		sockets.Serve(near, nil, func(c transport.Conn) transport.Receiver { return server.Open(c, session.Headers{}) })
		var ended time.Time
		read := make(chan struct{})
		go func() {
			defer close(read)
			for {
				f, err := ws.ReadFrame(far)
				if err != nil || f.Header.OpCode == ws.OpClose {
					ended = time.Now()
					_ = far.Close()
					return
				}
			}
		}()
		if err := ws.WriteFrame(far, ws.MaskFrame(ws.NewTextFrame([]byte("40")))); err != nil {
			t.Fatal(err)
		}
		frame, err := ws.CompileFrame(ws.MaskFrame(ws.NewTextFrame([]byte(`42["long","` + strings.Repeat("x", 100_000) + `"]`))))
		if err != nil {
			t.Fatal(err)
		}
		for len(frame) > 0 { // 100 s
			n := min(1000, len(frame))
			if _, err := far.Write(frame[:n]); err != nil {
				t.Fatalf("the conn is closed with %d bytes to come: %v", len(frame), err)
			}
			frame = frame[n:]
			time.Sleep(time.Second)
		}
		whole := time.Now()
		<-read
		if took := ended.Sub(whole); took < 10*time.Second || took > 50*time.Second {
			t.Errorf("a client without pongs is closed %v after its message, want within a heartbeat", took)
		}
	})
}

// TestPongBehindALongBody: the same on polling.
func TestPongBehindALongBody(t *testing.T) {
	slowly(t, func(t *testing.T, server *session.Server, sockets *transport.Server) {
		p := sessiontest.OpenPolling(t, server, sockets)
		arrived := server.Arriving(p.SID)
		time.Sleep(100 * time.Second)
		arrived()
		p.Post("3")
		for range 3 {
			server.Arriving(p.SID)() // bodies that take no time are no pongs
			time.Sleep(24 * time.Second)
		}
		r := server.Poll(t.Context(), session.PollRequest{Method: http.MethodGet, Query: engineio.Query{Transport: engineio.TransportPolling, SID: p.SID}})
		if r.Status != http.StatusBadRequest {
			t.Errorf("a GET without pongs = %d %s, want 400", r.Status, r.Body)
		}
	})
}

// TestPongBehindABodyThatArrivesElsewhere: the same where another gateway takes the body in, and tells of it now and then.
func TestPongBehindABodyThatArrivesElsewhere(t *testing.T) {
	slowly(t, func(t *testing.T, server *session.Server, sockets *transport.Server) {
		server.ArrivesElsewhere("nobody's")
		p := sessiontest.OpenPolling(t, server, sockets)
		for range 10 {
			time.Sleep(10 * time.Second)
			server.ArrivesElsewhere(p.SID)
		}
		p.Post("3")
		time.Sleep(50 * time.Second)
		r := server.Poll(t.Context(), session.PollRequest{Method: http.MethodGet, Query: engineio.Query{Transport: engineio.TransportPolling, SID: p.SID}})
		if r.Status != http.StatusBadRequest {
			t.Errorf("a GET without pongs = %d %s, want 400", r.Status, r.Body)
		}
	})
}
