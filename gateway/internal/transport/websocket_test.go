package transport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/google/go-cmp/cmp"
)

// portable hides the descriptor, as TLS does, and so takes the path of net.Conn.
type portable struct{ net.Conn }

func (p portable) CloseWrite() error { return p.Conn.(*net.TCPConn).CloseWrite() }

// testLimits end nothing by time: a test that wants an end sets its own.
var testLimits = Limits{MaxMessage: 1 << 20, SendQueue: 64 << 10, FrameTimeout: patience, CloseTimeout: patience}

type link struct {
	server  *Server
	conn    *WebSocket
	session *session
	peer    *net.TCPConn
}

// mode is who waits for a conn.
type mode string

const (
	onLoop       mode = "loop"
	onDescriptor mode = "descriptor" // a goroutine
	onPortable   mode = "portable"   // a goroutine, and package net
)

// newServer makes a server whose conns are waited for in the given way.
func newServer(t testing.TB, limits Limits, by mode) *Server {
	t.Helper()
	s := NewServer(limits, slog.New(slog.DiscardHandler))
	s.loops = nil
	if by == onLoop {
		if err := s.UseLoops(); err != nil {
			t.Skipf("no event loops: %v", err)
		}
	}
	return s
}

// modes runs a test on all ways to wait.
func modes(t *testing.T, test func(t *testing.T, connect func(Limits, func(Conn, []byte)) link)) {
	for _, by := range []mode{onLoop, onDescriptor, onPortable} {
		t.Run(string(by), func(t *testing.T) {
			test(t, func(limits Limits, on func(Conn, []byte)) link { return connect(t, limits, by, on) })
		})
	}
}

// connect gives both ends of a TCP connection over loopback; small kernel buffers make a full one soon.
func connect(t *testing.T, limits Limits, by mode, on func(Conn, []byte)) link {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	dialed, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	peer := dialed.(*net.TCPConn)
	t.Cleanup(func() { _ = peer.Close() })
	_ = peer.SetReadBuffer(64 << 10)
	_ = peer.SetWriteBuffer(64 << 10)
	_ = accepted.(*net.TCPConn).SetWriteBuffer(64 << 10)
	_ = accepted.(*net.TCPConn).SetReadBuffer(64 << 10)
	s := newServer(t, limits, by)
	k := link{server: s, peer: peer, session: &session{ended: make(chan struct{}), on: on}}
	conn := accepted
	if by == onPortable {
		conn = portable{accepted}
	}
	s.Serve(conn, nil, func(c Conn) Receiver {
		k.conn = c.(*WebSocket)
		k.session.conn = c
		return k.session
	})
	t.Cleanup(func() { // nothing is left behind, whatever the test did
		_ = peer.Close()
		k.conn.Close(CodeNormal, ReasonServer)
		done := make(chan struct{})
		go func() { s.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(patience):
			t.Error("Wait does not return after the end")
		}
		if n := s.QueuedBytes(); n != 0 {
			t.Errorf("QueuedBytes() = %d after the end, want 0", n)
		}
		k.session.reason(t)
	})
	return k
}

func (k link) write(t *testing.T, parts ...[]byte) {
	t.Helper()
	_ = k.peer.SetWriteDeadline(time.Now().Add(patience))
	if _, err := k.peer.Write(join(parts...)); err != nil {
		t.Fatalf("peer cannot write: %v", err)
	}
}

// next reads a frame of the server; close frames come as "close:<code>", the end as "EOF" and anything else as the error.
func (k link) next() string {
	_ = k.peer.SetReadDeadline(time.Now().Add(patience))
	f, err := ws.ReadFrame(k.peer)
	switch {
	case errors.Is(err, io.EOF):
		return "EOF"
	case err != nil:
		return "error: " + err.Error()
	case f.Header.OpCode == ws.OpClose:
		return fmt.Sprintf("close:%d", binary.BigEndian.Uint16(f.Payload))
	}
	return fmt.Sprintf("%d:%s", f.Header.OpCode, f.Payload)
}

func (k link) expect(t *testing.T, want ...string) {
	t.Helper()
	for _, w := range want {
		if got := k.next(); got != w {
			t.Fatalf("peer got %.80q, want %.80q", got, w)
		}
	}
}

func echo(c Conn, data []byte) {
	c.Queue(TextMessage(string(data)))
	c.Flush()
}

func TestWebSocket(t *testing.T) {
	modes(t, func(t *testing.T, connect func(Limits, func(Conn, []byte)) link) {
		k := connect(testLimits, echo)
		k.write(t, text("hello"))
		k.expect(t, "1:hello")
		k.write(t, text("a")[:3])
		time.Sleep(20 * time.Millisecond)
		k.write(t, text("a")[3:], text("b"), wire(fin|opPing, []byte("p")))
		k.expect(t, "1:a", "1:b", "10:p")
		eventually(t, "what the peer has read is written", func() bool { return k.conn.QueuedBytes() == 0 })
		b := NewBuilder(0)
		k.conn.Queue(b.Message(append(b.Buffer(), "with"...), [][]byte{{'x'}, {'y'}}))
		k.conn.Queue(TextMessage("next"))
		if got := k.conn.QueuedBytes(); got != 6+3+3+6 {
			t.Errorf("QueuedBytes() = %d before the flush, want 18", got)
		}
		k.conn.Flush()
		k.expect(t, "1:with", "2:x", "2:y", "1:next")
		k.write(t, wire(fin|opClose, []byte{3, 232}))
		k.expect(t, "close:1000", "EOF")
		if got := k.session.reason(t); got != ReasonClient {
			t.Errorf("reason = %q, want %q", got, ReasonClient)
		}
		if k.conn.Queue(TextMessage("late")) {
			t.Error("Queue after the end = true, want false")
		}
	})
}

// TestParkingMissesNothing has the second frame come while the reader goes over to waiting.
func TestParkingMissesNothing(t *testing.T) {
	modes(t, func(t *testing.T, connect func(Limits, func(Conn, []byte)) link) {
		k := connect(testLimits, echo)
		for i := range 5000 {
			k.write(t, text("a"))
			for start := time.Now(); time.Since(start) < time.Duration(i%50)*time.Microsecond; {
				continue
			}
			k.write(t, text("b"))
			k.expect(t, "1:a", "1:b")
			if t.Failed() {
				t.Fatalf("in round %d", i)
			}
		}
	})
}

// TestWebSocketPending covers bytes that came together with the handshake.
func TestWebSocketPending(t *testing.T) {
	ours, theirs := net.Pipe()
	defer func() { _ = theirs.Close() }()
	s := NewServer(testLimits, slog.New(slog.DiscardHandler))
	sess := &session{ended: make(chan struct{})}
	s.Serve(ours, join(text("early"), text("cut")[:4]), func(Conn) Receiver { return sess })
	_, _ = theirs.Write(text("cut")[4:])
	eventually(t, "both messages", func() bool { return cmp.Equal(sess.got(), []string{"early", "cut"}) })
	_ = theirs.Close()
	if got := sess.reason(t); got != ReasonLost {
		t.Errorf("reason = %q, want %q", got, ReasonLost)
	}
	s.Wait()
}

// TestConcurrentUse is for the race detector: everything at once, from many goroutines.
func TestConcurrentUse(t *testing.T) {
	modes(t, func(t *testing.T, connect func(Limits, func(Conn, []byte)) link) {
		for round := range 20 {
			k := connect(testLimits, echo)
			go func() { _, _ = io.Copy(io.Discard, k.peer) }()
			go func() {
				for range 100 {
					if _, err := k.peer.Write(join(text("hello"), wire(fin|opPing, nil))); err != nil {
						return
					}
				}
			}()
			var wg sync.WaitGroup
			for g := range 4 {
				wg.Go(func() {
					for i := range 100 {
						m := TextMessage(strings.Repeat("x", 100*g))
						m.volatile = g%2 == 0
						k.conn.Queue(m)
						if i%3 == 0 {
							k.conn.Flush()
						}
						switch {
						case g == 1 && i%10 == 0:
							k.conn.PauseRead()
						case g == 2 && i%10 == 0:
							k.conn.ResumeRead()
						}
						_ = k.conn.QueuedBytes()
					}
					if g == round%4 {
						k.conn.Close(CodeRestart, ReasonDrain)
					}
				})
			}
			wg.Wait()
			k.conn.ResumeRead()
			k.session.reason(t)
		}
	})
}

func TestNothingLeaks(t *testing.T) {
	before := runtime.NumGoroutine()
	modes(t, func(t *testing.T, connect func(Limits, func(Conn, []byte)) link) {
		for i := range 30 {
			k := connect(testLimits, echo)
			k.write(t, text("a"))
			k.expect(t, "1:a")
			switch i % 4 {
			case 0:
				k.write(t, wire(fin|opClose, nil))
			case 1:
				_ = k.peer.Close()
			case 2:
				k.conn.PauseRead()
			case 3:
				k.conn.Queue(TextMessage("unflushed"))
			}
		}
	})
	for end := time.Now().Add(patience); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			stacks := make([]byte, 1<<16)
			t.Fatalf("%d goroutines, want %d:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

// TestIdleConnHoldsNoBuffer guards the memory of an idle conn.
func TestIdleConnHoldsNoBuffer(t *testing.T) {
	modes(t, func(t *testing.T, connect func(Limits, func(Conn, []byte)) link) {
		k := connect(testLimits, echo)
		k.write(t, text("a"))
		k.expect(t, "1:a")
		eventually(t, "the conn has no buffer and no goroutine that writes", func() bool {
			k.conn.mu.Lock()
			defer k.conn.mu.Unlock()
			return k.conn.out.empty()
		})
	})
}
