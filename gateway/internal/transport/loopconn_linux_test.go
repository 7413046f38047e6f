package transport

import (
	"errors"
	"io"
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
