package transport

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// crowd are many conns of one server.
type crowd struct {
	t      testing.TB
	server *Server
	front  net.Listener
}

func newCrowd(t testing.TB, limits Limits, by mode) *crowd {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return &crowd{t: t, server: newServer(t, limits, by), front: l}
}

// join adds a conn.
func (w *crowd) join(on func(Conn, []byte)) link {
	w.t.Helper()
	dialed, err := net.Dial("tcp", w.front.Addr().String())
	if err != nil {
		w.t.Fatal(err)
	}
	accepted, err := w.front.Accept()
	if err != nil {
		w.t.Fatal(err)
	}
	k := link{server: w.server, peer: dialed.(*net.TCPConn), session: &session{ended: make(chan struct{}), on: on}}
	w.server.Serve(accepted, nil, func(c Conn) Receiver {
		k.conn, k.session.conn = c.(*WebSocket), c
		return k.session
	})
	return k
}

// ended waits until no conn is left.
func (w *crowd) ended() {
	w.t.Helper()
	done := make(chan struct{})
	go func() { w.server.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(patience):
		w.t.Error("Wait does not return after the end of all conns")
	}
}

// TestBlockedHandler: a handler that blocks holds up its own conn alone, and what its client says meanwhile is received afterwards, in order.
func TestBlockedHandler(t *testing.T) {
	for _, by := range []mode{onLoop, onDescriptor} {
		t.Run(string(by), func(t *testing.T) {
			w := newCrowd(t, testLimits, by)
			let := make(chan struct{})
			blocked := make([]link, 50)
			for i := range blocked {
				blocked[i] = w.join(func(_ Conn, data []byte) {
					if string(data) == "0" {
						<-let
					}
				})
				blocked[i].write(t, text("0"))
			}
			for _, k := range blocked {
				eventually(t, "the handler is at work", func() bool { return len(k.session.got()) == 1 })
			}
			var want []string
			for i := range 20 {
				want = append(want, fmt.Sprint(i))
				if i > 0 {
					for _, k := range blocked {
						k.write(t, text(fmt.Sprint(i)))
					}
				}
			}
			for range 20 {
				k := w.join(echo)
				k.write(t, text("hello"))
				k.expect(t, "1:hello")
				k.conn.Close(CodeNormal, ReasonServer)
				k.expect(t, "close:1000", "EOF")
				_ = k.peer.Close()
			}
			for _, k := range blocked {
				if got := len(k.session.got()); got != 1 {
					t.Errorf("%d messages came while the handler of the first was at work, want 1", got)
				}
			}
			close(let)
			for _, k := range blocked {
				eventually(t, "all messages", func() bool { return len(k.session.got()) == len(want) })
				if diff := cmp.Diff(want, k.session.got()); diff != "" {
					t.Errorf("-want +got\n%s", diff)
				}
				_ = k.peer.Close()
			}
			w.ended()
		})
	}
}

// TestIdleConnsHaveNoGoroutine: not before they have said anything, not after that, and not while they are paused or linger.
func TestIdleConnsHaveNoGoroutine(t *testing.T) {
	before := runtime.NumGoroutine()
	limits := testLimits
	limits.Unfinished = NewUnfinished(0)
	w := newCrowd(t, limits, onLoop)
	const n, most = 200, 20
	few := func(when string) {
		t.Helper()
		eventually(t, when+": few goroutines", func() bool { return runtime.NumGoroutine()-before < most })
	}
	conns := make([]link, n)
	for i := range conns {
		conns[i] = w.join(echo)
	}
	few("silent")
	for _, k := range conns {
		k.write(t, text("a"), text("begun")[:5])
		k.expect(t, "1:a")
		k.conn.PauseRead()
		k.write(t, text("begun")[5:])
	}
	few("paused")
	for _, k := range conns {
		k.conn.ResumeRead()
		k.expect(t, "1:begun")
	}
	eventually(t, "nothing is kept", func() bool { return limits.Unfinished.Bytes() == 0 && w.server.QueuedBytes() == 0 })
	for _, k := range conns {
		k.conn.Close(CodeRestart, ReasonDrain)
		k.expect(t, "close:1012", "EOF")
	}
	few("lingering")
	eventually(t, "all linger", func() bool { return w.server.Lingering() == n })
	for _, k := range conns {
		_ = k.peer.Close()
	}
	w.ended()
	eventually(t, "the loops have ended", func() bool { return runtime.NumGoroutine() <= before })

	k := w.join(echo) // and begin again
	k.write(t, text("again"))
	k.expect(t, "1:again")
	_ = k.peer.Close()
	w.ended()
}

// TestDescriptorsAreReused: conns come and go at once, so that descriptors change hands while events of those who had them are on their way.
// Everybody gets what is theirs.
func TestDescriptorsAreReused(t *testing.T) {
	w := newCrowd(t, testLimits, onLoop)
	var joining sync.Mutex
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := range 100 {
				joining.Lock()
				k := w.join(echo)
				joining.Unlock()
				name := fmt.Sprintf("%d of %d", i, g)
				k.write(t, text(name))
				k.expect(t, "1:"+name)
				if i%2 == 0 { // the reader may be about to read what the next owner of the descriptor is sent
					_, _ = k.peer.Write(text("last"))
					k.conn.Close(CodeNormal, ReasonLost)
				}
				if i%3 == 0 {
					_ = k.peer.SetLinger(0)
				}
				_ = k.peer.Close()
				k.session.reason(t)
				if got := k.session.got(); got[0] != name || len(got) > 2 || len(got) == 2 && got[1] != "last" {
					t.Errorf("%s received %q", name, got)
				}
			}
		})
	}
	all.Wait()
	w.ended()
}

// TestLoopsEndQuietly: a loop whose last conn has gone ends, and that is no error to be logged. Nothing keeps a descriptor.
func TestLoopsEndQuietly(t *testing.T) {
	descriptors := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	w := newCrowd(t, testLimits, onLoop)
	var logged strings.Builder // Wait comes after the last line
	w.server = NewServer(testLimits, slog.New(slog.NewTextHandler(&logged, nil)))
	if err := w.server.UseLoops(); err != nil {
		t.Fatal(err)
	}
	before := descriptors()
	for range 3 {
		k := w.join(echo)
		k.write(t, text("a"))
		k.expect(t, "1:a")
		_ = k.peer.Close()
		w.ended()
		eventually(t, "no descriptor is left", func() bool { return descriptors() <= before })
	}
	if logged.Len() > 0 {
		t.Errorf("logged:\n%s", logged.String())
	}
}

// TestClockOfALoopConn: a deadline that moves on is kept to exactly, the time of a pause is not counted, and an end that takes too long is
// made short.
func TestClockOfALoopConn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &loopConn{}
		c.server = &Server{limits: Limits{FrameTimeout: 10 * time.Second, CloseTimeout: 2 * time.Second}}
		c.driver = c
		c.fd.Hold(-1) // no reader is started: the test looks itself
		start := time.Now()
		bound := func(after time.Duration) {
			c.mu.Lock()
			c.boundReadLocked(start.Add(after))
			c.mu.Unlock()
		}
		at := func(after time.Duration, want step) {
			t.Helper()
			time.Sleep(time.Until(start.Add(after)))
			synctest.Wait()
			rang := !letsGo(c)
			if got := c.step(); got != want || rang != (want == stepExpire) {
				t.Errorf("after %v: step = %v, rang = %v, want %v", after, got, rang, want)
			}
		}
		bound(10 * time.Second)
		at(5*time.Second, stepNone)
		bound(15 * time.Second) // bytes came
		at(10*time.Second, stepNone)
		at(15*time.Second-1, stepNone)
		at(15*time.Second, stepExpire)
		bound(20 * time.Second) // they came just then
		at(20*time.Second-1, stepNone)
		c.mu.Lock()
		c.boundReadLocked(time.Time{})
		c.mu.Unlock()
		at(30*time.Second, stepNone)
		bound(32 * time.Second)
		c.PauseRead()
		time.Sleep(time.Minute)
		synctest.Wait()
		c.fd.Look() // the timer has rung
		at(100*time.Second, stepNone)
		c.ResumeRead()
		c.fd.Look()
		at(110*time.Second-1, stepNone)
		at(110*time.Second, stepExpire)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.closing = true
		c.closingLocked()
		for _, wait := range []time.Duration{2*time.Second - 1, 1} {
			c.mu.Unlock()
			time.Sleep(wait)
			synctest.Wait()
			c.mu.Lock()
			if want := wait == 1; c.done != want {
				t.Errorf("done = %v %v later, want %v after CloseTimeout", c.done, wait, want)
			}
		}
		c.unboundLocked()
	})
}

// letsGo tells whether a reader that is about to end would do so, for no news have come since the last time.
func letsGo(c *loopConn) bool {
	let := c.fd.LetGo()
	if let {
		c.fd.Hold(-1)
	}
	c.fd.Look()
	return let
}

// TestAcceptOfABrokenConnection: what the WebSocket was for ends as with any other.
func TestAcceptOfABrokenConnection(t *testing.T) {
	for _, by := range []mode{onLoop, onDescriptor} {
		w := newCrowd(t, testLimits, by)
		dialed, err := net.Dial("tcp", w.front.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = dialed.Close()
		s := &session{ended: make(chan struct{})}
		w.server.Accept(dialed, []byte("HTTP/1.1 101"), nil, func(Conn) Receiver { return s })
		if got := s.reason(t); got != ReasonLost {
			t.Errorf("%s: reason = %q, want %q", by, got, ReasonLost)
		}
		w.ended()
	}
}

// aheadConn is a connection that has read ahead, as one does that tells TLS from plain text. It has the methods of a TCP connection.
type aheadConn struct {
	*net.TCPConn
	ahead []byte
}

func (c *aheadConn) Read(p []byte) (int, error) {
	if len(c.ahead) > 0 {
		n := copy(p, c.ahead)
		c.ahead = c.ahead[n:]
		return n, nil
	}
	return c.TCPConn.Read(p)
}

// TestLoopsTakeWhatIsADescriptor: others are left to a goroutine, as they are.
func TestLoopsTakeWhatIsADescriptor(t *testing.T) {
	s := newServer(t, testLimits, onLoop)
	near, far := net.Pipe()
	defer func() { _, _ = near.Close(), far.Close() }()
	w := newCrowd(t, testLimits, onLoop)
	k := w.join(nil)
	for name, conn := range map[string]net.Conn{"a pipe": near, "one that has read ahead": &aheadConn{TCPConn: k.peer}} {
		if s.loops.take(conn) != nil {
			t.Errorf("take of %s gives a conn, want nil", name)
		}
		if err := conn.SetDeadline(time.Now()); err != nil {
			t.Errorf("%s is closed: %v", name, err)
		}
	}
	_ = k.peer.Close()
	w.ended()
}

// sockets gives both ends of a stream, the first of which a loop can take.
func sockets(t testing.TB) (near net.Conn, far *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]net.Conn
	for i, fd := range fds {
		file := os.NewFile(uintptr(fd), "socket")
		ends[i], err = net.FileConn(file)
		if err != nil {
			t.Fatal(err)
		}
		_ = file.Close()
	}
	return ends[0], ends[1].(*net.UnixConn)
}

// FuzzReader has a conn on a loop read what FuzzParser parses, in pieces, with pauses: it receives the same, and ends for the same reason.
func FuzzReader(f *testing.F) {
	f.Add(everything(), uint16(7), uint8(0))
	f.Add(join(wire(opText, []byte("a")), text("b")), uint16(1), uint8(1))
	f.Add(join(text("a"), text("b"), wire(fin|opClose, nil), text("c")), uint16(9), uint8(1))
	f.Add([]byte{0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}, uint16(3), uint8(2))
	f.Fuzz(func(t *testing.T, data []byte, step uint16, pauses uint8) {
		if len(data) > 4000 {
			t.Skip("as many control frames may be a flood")
		}
		want, reason := parse(&parser{maxMessage: 1000}, data), ReasonLost
		if n := len(want); n > 0 && want[n-1] == "end" {
			want, reason = want[:n-1], ReasonClient
		} else if n > 0 && strings.HasPrefix(want[n-1], "error:") {
			reason = Reason(want[n-1][strings.LastIndexByte(want[n-1], ':')+1:])
			want = want[:n-1]
		}
		want = slices.DeleteFunc(want, func(e string) bool { return strings.HasPrefix(e, "ping:") })
		for i := range want {
			_, want[i], _ = strings.Cut(want[i], ":")
		}

		limits := testLimits
		limits.MaxMessage, limits.Unfinished = 1000, NewUnfinished(0)
		s := newServer(t, limits, onLoop)
		near, far := sockets(t)
		end := &session{ended: make(chan struct{})}
		if pauses%4 > 0 {
			received := 0
			end.on = func(c Conn, _ []byte) {
				if received++; received%int(pauses%4) == 0 {
					c.PauseRead()
					go c.ResumeRead()
				}
			}
		}
		s.Serve(near, nil, func(c Conn) Receiver { end.conn = c; return end })
		for rest, n := data, int(step%512)+1; len(rest) > 0; rest = rest[min(n, len(rest)):] {
			if _, err := far.Write(rest[:min(n, len(rest))]); err != nil {
				break // it has closed
			}
		}
		_ = far.CloseWrite()
		if got := end.reason(t); got != reason {
			t.Errorf("reason = %q, want %q", got, reason)
		}
		_ = far.Close()
		s.Wait()
		if diff := cmp.Diff(want, end.got()); diff != "" && len(want)+len(end.got()) > 0 {
			t.Errorf("received: -want +got\n%s", diff)
		}
		if limits.Unfinished.Bytes() != 0 || s.QueuedBytes() != 0 {
			t.Errorf("%d and %d bytes are kept after the end, want none", limits.Unfinished.Bytes(), s.QueuedBytes())
		}
	})
}

// TestSizeOfALoopConn is TestSizeOfAConn for what an idle one on a loop has in all.
func TestSizeOfALoopConn(t *testing.T) {
	if got := unsafe.Sizeof(loopConn{}); got > 128 {
		t.Errorf("a loopConn has %d bytes, want 128 at most", got)
	}
}
