package transport

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/google/go-cmp/cmp"
)

// patience is how long a test waits for what must come.
const patience = 5 * time.Second

// session is a Receiver that notes what comes.
type session struct {
	mu       sync.Mutex
	conn     Conn
	received []string
	closed   []Reason
	ended    chan struct{}
	on       func(c Conn, data []byte) // nil: nothing
}

func (s *session) Settled() {}

func (s *session) Receive(data []byte, _ bool) {
	s.mu.Lock()
	if len(s.closed) > 0 {
		s.received = append(s.received, "AFTER CLOSED")
	}
	s.received = append(s.received, string(data))
	s.mu.Unlock()
	if s.on != nil {
		s.on(s.conn, data)
	}
}

func (s *session) Closed(reason Reason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = append(s.closed, reason)
	if len(s.closed) == 1 {
		close(s.ended)
	}
}

func (s *session) got() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.received...)
}

// reason waits for the end and gives why; more than one end is an error.
func (s *session) reason(t *testing.T) Reason {
	t.Helper()
	select {
	case <-s.ended:
	case <-time.After(patience):
		t.Fatal("Closed was not called")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.closed) != 1 {
		t.Fatalf("Closed was called with %v, want once", s.closed)
	}
	return s.closed[0]
}

// portable hides the descriptor, as TLS does, and so takes the path of net.Conn.
type portable struct{ net.Conn }

func (p portable) CloseWrite() error { return p.Conn.(*net.TCPConn).CloseWrite() }

var testLimits = Limits{MaxMessage: 1 << 20, SendQueue: 64 << 10, FrameTimeout: 5 * time.Second, CloseTimeout: time.Second}

type link struct {
	server  *Server
	conn    *WebSocket
	session *session
	peer    *net.TCPConn
}

// modes runs a test on both paths.
func modes(t *testing.T, test func(t *testing.T, connect func(Limits, func(Conn, []byte)) link)) {
	for _, mode := range []string{"descriptor", "portable"} {
		t.Run(mode, func(t *testing.T) {
			test(t, func(limits Limits, on func(Conn, []byte)) link { return connect(t, limits, mode == "portable", on) })
		})
	}
}

// connect gives both ends of a TCP connection over loopback; small kernel buffers make a full one soon.
func connect(t *testing.T, limits Limits, isPortable bool, on func(Conn, []byte)) link {
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
	_ = peer.SetDeadline(time.Now().Add(2 * patience))
	s := NewServer(limits, slog.New(slog.DiscardHandler))
	k := link{server: s, peer: peer, session: &session{ended: make(chan struct{}), on: on}}
	conn := accepted
	if isPortable {
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
	if _, err := k.peer.Write(join(parts...)); err != nil {
		t.Fatalf("peer cannot write: %v", err)
	}
}

// next reads a frame of the server; close frames come as "close:<code>", the end as "EOF" and anything else as the error.
func (k link) next() string {
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

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not so after %v: %s", patience, what)
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
	k := connect(t, testLimits, false, echo)
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

// TestCloseReachesThePeer has unread bytes lie in the socket: closing then resets the connection, unless they are read.
func TestCloseReachesThePeer(t *testing.T) {
	modes(t, func(t *testing.T, connect func(Limits, func(Conn, []byte)) link) {
		for name, tc := range map[string]struct {
			paused bool
			frames []byte
			end    func(k link)
			want   []string
			reason Reason
		}{
			"idle":           {false, nil, func(k link) { k.conn.Close(CodeRestart, ReasonDrain) }, []string{"close:1012"}, ReasonDrain},
			"first one wins": {false, nil, func(k link) { k.conn.Close(CodePolicy, ReasonRefused); k.conn.Close(CodeRestart, ReasonDrain) }, []string{"close:1008"}, ReasonRefused},
			"something queued": {false, nil, func(k link) {
				k.conn.Queue(TextMessage("last words"))
				k.conn.Close(CodePolicy, ReasonExpired)
			}, []string{"1:last words", "close:1008"}, ReasonExpired},
			"unread bytes": {true, bytes.Repeat(text("unread"), 300), func(k link) {
				time.Sleep(20 * time.Millisecond)
				k.conn.Close(CodeTryAgainLater, ReasonOverload)
			}, []string{"close:1013"}, ReasonOverload},
			"protocol":  {false, join(text("ok"), []byte{fin | opText, 3, 1, 2, 3}, bytes.Repeat(text("more"), 1000)), nil, []string{"close:1002"}, ReasonProtocol},
			"not UTF-8": {false, text("\xff"), nil, []string{"close:1007"}, ReasonProtocol},
			"too big":   {false, join(wire(fin|opText, make([]byte, testLimits.MaxMessage+1))[:14], make([]byte, 100_000)), nil, []string{"close:1009"}, ReasonTooBig},
		} {
			t.Run(name, func(t *testing.T) {
				k := connect(testLimits, nil)
				if tc.paused {
					k.conn.PauseRead()
				}
				k.write(t, tc.frames)
				if tc.end != nil {
					tc.end(k)
				}
				time.Sleep(10 * time.Millisecond) // a reset, if any, has arrived
				k.expect(t, tc.want...)
				k.expect(t, "EOF")
				if got := k.session.reason(t); got != tc.reason {
					t.Errorf("reason = %q, want %q", got, tc.reason)
				}
			})
		}
	})
}

// TestNothingIsReceivedAfterClose: what stands behind the packet that ended the session is not acted on.
func TestNothingIsReceivedAfterClose(t *testing.T) {
	modes(t, func(t *testing.T, connect func(Limits, func(Conn, []byte)) link) {
		k := connect(testLimits, func(c Conn, data []byte) {
			if string(data) == "bad" {
				c.Close(CodeProtocol, ReasonProtocol)
			}
		})
		k.write(t, text("good"), text("bad"), text("behind"), text("it"))
		k.expect(t, "close:1002", "EOF")
		k.session.reason(t)
		if diff := cmp.Diff([]string{"good", "bad"}, k.session.got()); diff != "" {
			t.Errorf("received: -want +got\n%s", diff)
		}
	})
}

func TestCloseWhilePausedDeliversNothingMore(t *testing.T) {
	modes(t, func(t *testing.T, connect func(Limits, func(Conn, []byte)) link) {
		k := connect(testLimits, func(c Conn, _ []byte) { c.PauseRead() })
		k.write(t, text("first"), text("held"), text("back"))
		eventually(t, "the first", func() bool { return len(k.session.got()) == 1 })
		k.conn.Close(CodePolicy, ReasonExpired)
		k.expect(t, "close:1008", "EOF")
		k.session.reason(t)
		if diff := cmp.Diff([]string{"first"}, k.session.got()); diff != "" {
			t.Errorf("received: -want +got\n%s", diff)
		}
	})
}

func TestPeerThatGoesAway(t *testing.T) {
	modes(t, func(t *testing.T, connect func(Limits, func(Conn, []byte)) link) {
		t.Run("half close", func(t *testing.T) { // what came before the FIN is delivered
			k := connect(testLimits, nil)
			k.write(t, text("a"), text("b"))
			if err := k.peer.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if got := k.session.reason(t); got != ReasonLost {
				t.Errorf("reason = %q, want %q", got, ReasonLost)
			}
			if diff := cmp.Diff([]string{"a", "b"}, k.session.got()); diff != "" {
				t.Errorf("received: -want +got\n%s", diff)
			}
		})
		t.Run("reset", func(t *testing.T) {
			k := connect(testLimits, nil)
			_ = k.peer.SetLinger(0)
			_ = k.peer.Close()
			if got := k.session.reason(t); got != ReasonLost {
				t.Errorf("reason = %q, want %q", got, ReasonLost)
			}
		})
		t.Run("in the middle of a frame", func(t *testing.T) {
			k := connect(testLimits, nil)
			k.write(t, text("cut")[:5])
			_ = k.peer.Close()
			if got := k.session.reason(t); got != ReasonLost || len(k.session.got()) != 0 {
				t.Errorf("reason = %q, received %q, want %q and nothing", got, k.session.got(), ReasonLost)
			}
		})
	})
}

func TestSlowConsumer(t *testing.T) {
	modes(t, func(t *testing.T, connect func(Limits, func(Conn, []byte)) link) {
		k := connect(testLimits, nil)
		message := TextMessage(strings.Repeat("x", 1000))
		volatile := TextMessage(strings.Repeat("v", 1000))
		volatile.Volatile = true
		big := TextMessage(strings.Repeat("v", testLimits.SendQueue-2000))
		big.Volatile = true
		for k.conn.QueuedBytes() <= testLimits.SendQueue/2 { // the kernel's buffers fill first
			if !k.conn.Queue(message) {
				t.Fatal("Queue = false below the bound, want true")
			}
			k.conn.Flush()
		}
		time.Sleep(20 * time.Millisecond)
		for k.conn.QueuedBytes() <= testLimits.SendQueue/2 {
			k.conn.Queue(message)
			k.conn.Flush()
		}
		if k.conn.Queue(volatile) {
			t.Error("Queue(volatile) = true with more than half a queue, want false")
		}
		if k.conn.Queue(big) {
			t.Error("Queue(big volatile) = true over the bound, want false")
		}
		if !k.conn.Queue(message) {
			t.Error("Queue = false below the bound after a volatile one was dropped, want true")
		}
		for range 2 * testLimits.SendQueue / 1000 {
			k.conn.Queue(message)
		}
		if got := k.session.reason(t); got != ReasonSlow {
			t.Errorf("reason = %q, want %q", got, ReasonSlow)
		}
		if got := k.server.QueuedBytes(); got != 0 {
			t.Errorf("QueuedBytes() = %d after a slow consumer is closed, want 0", got)
		}
	})
}

// TestBigVolatileDoesNotCloseTheConn: a volatile message that does not fit is dropped, however little is queued.
func TestBigVolatileDoesNotCloseTheConn(t *testing.T) {
	modes(t, func(t *testing.T, connect func(Limits, func(Conn, []byte)) link) {
		k := connect(testLimits, nil)
		k.conn.Queue(TextMessage("a"))
		big := TextMessage(strings.Repeat("v", 2*testLimits.SendQueue))
		big.Volatile = true
		k.conn.Queue(big)
		if !k.conn.Queue(TextMessage("b")) {
			t.Fatal("Queue after a big volatile message = false, want true")
		}
		k.conn.Flush()
		k.expect(t, "1:a")
		if got := k.next(); got != "1:b" && !strings.HasPrefix(got, "1:vvv") {
			t.Errorf("peer got %.20q, want b, or the volatile message before it", got)
		}
	})
}

// TestBurstToAPeerThatReads: a burst between two flushes that is larger than the queue is no sign of a slow peer.
func TestBurstToAPeerThatReads(t *testing.T) {
	k := connect(t, testLimits, false, nil)
	const n = 400
	read := make(chan int, 1)
	go func() {
		i := 0
		for ; i < n; i++ {
			if got := k.next(); !strings.HasPrefix(got, fmt.Sprintf("1:%d ", i)) {
				break
			}
		}
		read <- i
	}()
	for i := range n {
		if !k.conn.Queue(TextMessage(fmt.Sprintf("%d ", i) + strings.Repeat("x", 1000))) {
			t.Fatalf("Queue(%d) = false, want true", i)
		}
		if i%100 == 99 { // more than the queue holds
			k.conn.Flush()
			eventually(t, "the peer has read", func() bool { return k.conn.QueuedBytes() == 0 })
		}
	}
	if got := <-read; got != n {
		t.Errorf("peer got %d messages in order, want %d", got, n)
	}
}

// TestLongHistory: one message may be larger than the queue, and what follows it while it goes out is queued behind it.
func TestLongHistory(t *testing.T) {
	modes(t, func(t *testing.T, connect func(Limits, func(Conn, []byte)) link) {
		k := connect(testLimits, nil)
		history := strings.Repeat("h", 8*testLimits.SendQueue)
		for _, m := range []string{"before", history, "ack", "live"} {
			if !k.conn.Queue(TextMessage(m)) {
				t.Fatalf("Queue(%.8s) = false, want true", m)
			}
		}
		k.conn.Flush()
		if !k.conn.Queue(TextMessage("live too")) {
			t.Fatal("Queue behind a long history = false, want true")
		}
		k.conn.Flush()
		k.expect(t, "1:before", "1:"+history, "1:ack", "1:live", "1:live too")

		if !k.conn.Queue(TextMessage(history)) { // and a peer that does not read is still slow
			t.Fatal("Queue(history) = false, want true")
		}
		k.conn.Flush()
		for range 2 * testLimits.SendQueue / 1000 {
			k.conn.Queue(TextMessage(strings.Repeat("x", 1000)))
		}
		if got := k.session.reason(t); got != ReasonSlow {
			t.Errorf("reason = %q, want %q", got, ReasonSlow)
		}
	})
}

// TestDrainInOrder has the kernel's buffer fill, so that the drain goroutine and Queue work side by side.
func TestDrainInOrder(t *testing.T) {
	modes(t, func(t *testing.T, connect func(Limits, func(Conn, []byte)) link) {
		limits := testLimits
		limits.SendQueue, limits.CloseTimeout = 8<<20, patience
		k := connect(limits, nil)
		const n = 2000
		go func() {
			for i := range n {
				k.conn.Queue(TextMessage(fmt.Sprintf("%d:%s", i, strings.Repeat("x", i%1500))))
				if i%7 == 0 {
					k.conn.Flush()
				}
				if i%100 == 0 {
					time.Sleep(time.Millisecond)
				}
			}
			k.conn.Close(CodeRestart, ReasonDrain)
		}()
		time.Sleep(50 * time.Millisecond)
		for i := range n {
			k.expect(t, fmt.Sprintf("1:%d:%s", i, strings.Repeat("x", i%1500)))
		}
		k.expect(t, "close:1012", "EOF")
	})
}

// TestCloseOfADeafPeer: the link of a peer that neither reads nor closes ends after CloseTimeout.
func TestCloseOfADeafPeer(t *testing.T) {
	modes(t, func(t *testing.T, connect func(Limits, func(Conn, []byte)) link) {
		limits := testLimits
		limits.SendQueue, limits.CloseTimeout = 8<<20, 100*time.Millisecond
		k := connect(limits, nil)
		k.conn.Queue(TextMessage(strings.Repeat("x", 6<<20)))
		k.conn.Close(CodeRestart, ReasonDrain)
		start := time.Now()
		k.server.Wait()
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("the link ended after %v, want about %v", took, limits.CloseTimeout)
		}
		if got := k.session.reason(t); got != ReasonDrain {
			t.Errorf("reason = %q, want %q", got, ReasonDrain)
		}
	})
}

func TestPauseRead(t *testing.T) {
	modes(t, func(t *testing.T, connect func(Limits, func(Conn, []byte)) link) {
		k := connect(testLimits, func(c Conn, data []byte) {
			if bytes.HasPrefix(data, []byte("0 ")) {
				c.PauseRead()
			}
		})
		const n = 4000
		var written atomic.Int64
		finished := make(chan error, 1)
		go func() {
			for i := range n {
				frame := text(fmt.Sprintf("%d %s", i, strings.Repeat("x", 1000)))
				if _, err := k.peer.Write(frame); err != nil {
					finished <- err
					return
				}
				written.Add(int64(len(frame)))
			}
			finished <- nil
		}()
		eventually(t, "the first message", func() bool { return len(k.session.got()) == 1 })
		before := int64(-1)
		eventually(t, "the peer is held back", func() bool {
			was := before
			time.Sleep(50 * time.Millisecond)
			before = written.Load()
			return before == was
		})
		if before >= n*1000 {
			t.Errorf("peer wrote all %d bytes to a paused conn, want it held back", before)
		}
		if got := len(k.session.got()); got != 1 {
			t.Errorf("%d messages came while paused, want 1", got)
		}
		k.conn.ResumeRead()
		if err := <-finished; err != nil {
			t.Fatalf("peer cannot write: %v", err)
		}
		eventually(t, "all messages", func() bool { return len(k.session.got()) == n })
		for i, m := range k.session.got() {
			if !strings.HasPrefix(m, fmt.Sprintf("%d ", i)) {
				t.Fatalf("message %d is %.10q, want them in order", i, m)
			}
		}
	})
}

// TestPauseAfterEach pauses after every message, with many in one segment.
func TestPauseAfterEach(t *testing.T) {
	modes(t, func(t *testing.T, connect func(Limits, func(Conn, []byte)) link) {
		k := connect(testLimits, func(c Conn, _ []byte) {
			c.PauseRead()
			time.AfterFunc(time.Millisecond, c.ResumeRead)
		})
		var all []byte
		var want []string
		for i := range 50 {
			all = append(all, text(fmt.Sprint(i))...)
			want = append(want, fmt.Sprint(i))
		}
		k.write(t, all[:len(all)-3])
		time.Sleep(10 * time.Millisecond)
		k.write(t, all[len(all)-3:])
		eventually(t, "all messages", func() bool { return len(k.session.got()) == len(want) })
		if diff := cmp.Diff(want, k.session.got()); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	})
}

func TestFrameTimeout(t *testing.T) {
	modes(t, func(t *testing.T, connect func(Limits, func(Conn, []byte)) link) {
		limits := testLimits
		limits.FrameTimeout = 100 * time.Millisecond
		t.Run("part of a frame", func(t *testing.T) {
			k := connect(limits, nil)
			k.write(t, text("never whole")[:5])
			k.expect(t, "close:1008", "EOF")
			if got := k.session.reason(t); got != ReasonFrameTime {
				t.Errorf("reason = %q, want %q", got, ReasonFrameTime)
			}
		})
		t.Run("byte by byte", func(t *testing.T) { // a byte now and then does not prolong it
			k := connect(limits, nil)
			go func() {
				for _, b := range text(strings.Repeat("slow", 20)) {
					if _, err := k.peer.Write([]byte{b}); err != nil {
						return
					}
					time.Sleep(20 * time.Millisecond)
				}
			}()
			k.expect(t, "close:1008", "EOF")
		})
		t.Run("fragments without end", func(t *testing.T) { // nor do fragments and pings
			k := connect(limits, nil)
			k.write(t, wire(opText, []byte("a")))
			go func() {
				for {
					if _, err := k.peer.Write(join(wire(opContinuation, []byte("b")), wire(fin|opPong, nil), wire(fin|opPing, nil)[:3])); err != nil {
						return
					}
					time.Sleep(10 * time.Millisecond)
					if _, err := k.peer.Write(wire(fin|opPing, nil)[3:]); err != nil {
						return
					}
				}
			}()
			for got := k.next(); got != "close:1008"; got = k.next() {
				if got != "10:" {
					t.Fatalf("peer got %q, want pongs and close:1008", got)
				}
			}
		})
		t.Run("idle", func(t *testing.T) {
			k := connect(limits, echo)
			k.write(t, text("a")[:3])
			time.Sleep(30 * time.Millisecond)
			k.write(t, text("a")[3:])
			k.expect(t, "1:a")
			time.Sleep(3 * limits.FrameTimeout)
			k.write(t, text("b"))
			k.expect(t, "1:b")
		})
		t.Run("steady stream", func(t *testing.T) { // every read ends inside a frame, but no frame takes long
			k := connect(limits, nil)
			frame := text("steady")
			k.write(t, frame[:5])
			n := 0
			for end := time.Now().Add(4 * limits.FrameTimeout); time.Now().Before(end); n++ {
				k.write(t, frame[5:], frame[:5])
				time.Sleep(10 * time.Millisecond)
			}
			k.write(t, frame[5:])
			eventually(t, "all messages", func() bool { return len(k.session.got()) == n+1 })
		})
		t.Run("pause", func(t *testing.T) { // the time that we do not read is not the peer's
			k := connect(limits, func(c Conn, data []byte) {
				if string(data) == "first" {
					c.PauseRead()
				}
			})
			k.write(t, text("first")[:5])
			time.Sleep(30 * time.Millisecond)
			k.write(t, text("first")[5:], text("second")[:6])
			eventually(t, "the first", func() bool { return len(k.session.got()) == 1 })
			time.Sleep(3 * limits.FrameTimeout)
			k.conn.ResumeRead()
			time.Sleep(limits.FrameTimeout / 3)
			k.write(t, text("second")[6:])
			eventually(t, "the second", func() bool { return len(k.session.got()) == 2 })
		})
	})
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
						m.Volatile = g%2 == 0
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
	k := connect(t, testLimits, false, echo)
	k.write(t, text("a"))
	k.expect(t, "1:a")
	time.Sleep(10 * time.Millisecond)
	k.conn.mu.Lock()
	defer k.conn.mu.Unlock()
	if k.conn.out != nil || k.conn.writing {
		t.Errorf("an idle conn has out = %v, writing = %v, want none", k.conn.out, k.conn.writing)
	}
}
