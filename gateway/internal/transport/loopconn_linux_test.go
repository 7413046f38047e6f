package transport

import (
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// TestEndBehindARead: what the loop tells while a read is under way is about bytes that the read has not seen. A peer that says something and
// closes just then would not be noticed otherwise.
func TestEndBehindARead(t *testing.T) {
	again, said, end := errors.New("again"), errors.New("said"), errors.New("end")
	for name, tc := range map[string]struct {
		reads []error // what each gives
		told  int     // after which the loop tells that the peer has said something and closed
	}{
		"nothing was there":      {[]error{again, said, end}, 1},
		"something was there":    {[]error{said, said, end}, 1},
		"the end is far":         {[]error{said, said, said, said, end}, 1},
		"told before every read": {[]error{said, end}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c := &loopConn{}
			c.driver = c
			c.state.Store(bitRunning | bitReadable)
			told := func(after int) {
				if after == tc.told {
					c.happened(unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP)
				}
			}
			told(0)
			var got error
			reads := 0
			for ; c.step() == stepRead; reads++ {
				_, got = c.noting(1024, func() (int, error) {
					outcome := tc.reads[min(reads, len(tc.reads)-1)]
					told(reads + 1)
					switch {
					case errors.Is(outcome, again):
						return -1, unix.EAGAIN
					case errors.Is(outcome, said):
						return 5, nil
					}
					return 0, nil
				})
				if got != nil {
					break
				}
			}
			if !errors.Is(got, io.EOF) || reads != len(tc.reads)-1 {
				t.Errorf("after %d reads: %v, want the end of the stream after %d", reads, got, len(tc.reads)-1)
			}
		})
	}
}

// TestFullReadGoesOn: a read that filled its buffer may have left something, one that did not has not.
func TestFullReadGoesOn(t *testing.T) {
	for n, want := range map[int]step{1: stepNone, 1023: stepNone, 1024: stepRead} {
		c := &loopConn{}
		c.driver = c
		c.state.Store(bitRunning | bitReadable)
		if _, err := c.noting(1024, func() (int, error) { return n, nil }); err != nil {
			t.Fatal(err)
		}
		if got := c.step(); got != want {
			t.Errorf("after a read of %d of 1024 bytes: step %v, want %v", n, got, want)
		}
	}
}

// TestNewsHoldTheReader: who has news while the reader is about to end starts no other one, and relies on this one to look again.
func TestNewsHoldTheReader(t *testing.T) {
	c := &loopConn{}
	c.state.Store(bitRunning | bitFull)
	c.wake(bitReadable)
	if want := bitRunning | bitNews | bitReadable | bitFull; c.letGo() || c.state.Load() != want {
		t.Errorf("state = %b after a reader that has not seen the news wanted to end, want %b", c.state.Load(), want)
	}
	c.state.And(^(bitNews | bitReadable))
	if !c.letGo() || c.state.Load() != bitFull {
		t.Errorf("state = %b after the reader ended, want %b", c.state.Load(), bitFull)
	}
}

// TestFullKernelIsAskedTwice: between the write that found the kernel full and the conn saying that it waits for room there may come some,
// of which the loop tells nobody. So there is one more write after that.
func TestFullKernelIsAskedTwice(t *testing.T) {
	near, far := sockets(t)
	defer func() { _ = far.Close() }()
	fd, ok := detach(near)
	if !ok {
		t.Fatal("the socket has no descriptor")
	}
	defer func() { _ = unix.Close(fd) }()
	c := &loopConn{fd: int32(fd)}
	c.server, c.driver = newServer(t, testLimits, onLoop), c
	c.state.Store(bitRunning)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out.begin(&c.server.out)
	c.out.append(make([]byte, 8<<20))
	for range 1000 {
		if more := c.writePartLocked(); !more || c.out.stuck {
			t.Fatalf("writePartLocked() = %v, stuck %v before the conn has said that it waits", more, c.out.stuck)
		}
		if c.state.Load()&bitFull != 0 {
			break
		}
	}
	if more := c.writePartLocked(); more || !c.out.stuck || c.state.Load()&bitFull == 0 {
		t.Errorf("writePartLocked() = %v, stuck %v afterwards, want it to wait for the loop", more, c.out.stuck)
	}
	c.out.drop()
	c.out.begin(&c.server.out)
	c.out.append(make([]byte, 1000))
	if more, got := c.writePartLocked(), c.server.QueuedBytes(); more || !c.out.stuck || got != 1000 {
		t.Errorf("writePartLocked() = %v, QueuedBytes() = %d with 1000 bytes that the kernel does not take", more, got)
	}
	c.out.drop()
}

// TestPauseInAMessageOfALoopConn: the time of a pause is not the peer's, also when the message that had begun before goes on afterwards.
func TestPauseInAMessageOfALoopConn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 10 * time.Second
		c := &loopConn{fd: -1}
		c.server = &Server{limits: Limits{MaxMessage: 1 << 10, FirstMessage: 1 << 10, FrameTimeout: most}, born: time.Now()}
		c.server.begun.New = func() any { return new(inbound) }
		c.driver, c.owner = c, &session{ended: make(chan struct{})}
		c.state.Store(bitRunning) // no reader is started: the test looks itself
		frame := text("hello")
		take := func(part []byte) {
			t.Helper()
			if err := c.take(append([]byte(nil), part...)); err != nil {
				t.Fatal(err)
			}
		}
		take(frame[:3])
		c.PauseRead()
		time.Sleep(6 * most)
		c.ResumeRead()
		for range 2 {
			if got := c.step(); got != stepNone {
				t.Fatalf("step = %v after a pause that was longer than a message may take, want %v", got, stepNone)
			}
			take(frame[3:4])
			frame = append(frame[:3:3], frame[4:]...)
		}
		time.Sleep(most - 1)
		if got := c.step(); got != stepNone {
			t.Errorf("step = %v before the message has had its whole time again", got)
		}
		time.Sleep(1 + 2*time.Second) // for the bytes that came
		if got := c.step(); got != stepExpire {
			t.Errorf("step = %v when the message has had its time, want %v", got, stepExpire)
		}
		c.mu.Lock()
		c.unboundLocked()
		c.mu.Unlock()
	})
}

// TestIdleReaderGivesBack: what belongs to a message that has begun is given back with its end, and kept before that.
func TestIdleReaderGivesBack(t *testing.T) {
	c := &loopConn{fd: -1}
	c.server = newServer(t, testLimits, onLoop)
	c.driver, c.owner = c, &session{ended: make(chan struct{})}
	frame := text("hello")
	for _, part := range [][]byte{frame[:4], frame[4:]} {
		c.state.Store(bitRunning)
		if err := c.take(append([]byte(nil), part...)); err != nil {
			t.Fatal(err)
		}
		begun := c.in.parser.incomplete()
		if got := c.next(); got != stepNone {
			t.Fatalf("next() = %v, want %v", got, stepNone)
		}
		if kept := c.in != nil; kept != begun {
			t.Errorf("kept: %v, and a message has begun: %v", kept, begun)
		}
	}
}

// TestEndThatIsThereAlready: what a peer said before it closed, and its end, may be one piece of news for the loop.
func TestEndThatIsThereAlready(t *testing.T) {
	w := newCrowd(t, testLimits, onLoop)
	for range 50 {
		dialed, err := net.Dial("tcp", w.front.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		accepted, err := w.front.Accept()
		if err != nil {
			t.Fatal(err)
		}
		peer := dialed.(*net.TCPConn)
		_, _ = peer.Write(text("last words"))
		_ = peer.CloseWrite()
		end := &session{ended: make(chan struct{})}
		w.server.Serve(accepted, nil, func(c Conn) Receiver { end.conn = c; return end })
		if got := end.reason(t); got != ReasonLost || len(end.got()) != 1 {
			t.Fatalf("reason = %q, received %q, want %q after the last words", got, end.got(), ReasonLost)
		}
		_ = peer.Close()
	}
	w.ended()
}
