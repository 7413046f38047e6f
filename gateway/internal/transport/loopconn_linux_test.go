package transport

import (
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// TestStuckWhileTheKernelIsFull: what the kernel does not take is stuck, and counted.
func TestStuckWhileTheKernelIsFull(t *testing.T) {
	near, far := sockets(t)
	defer func() { _ = far.Close() }()
	s := newServer(t, testLimits, onLoop)
	c := s.loops.take(near).driver.(*loopConn)
	defer c.fd.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out.begin(&s.out)
	c.out.append(make([]byte, 8<<20))
	for c.writePartLocked() {
		if c.out.stuck {
			t.Fatal("stuck while the kernel takes more")
		}
	}
	if left := c.out.size(); !c.out.stuck || left == 0 || left == 8<<20 || s.QueuedBytes() != int64(left) {
		t.Errorf("stuck = %v with %d bytes left and %d counted, want it to wait for the loop with a part", c.out.stuck, left, s.QueuedBytes())
	}
	c.out.drop()
	c.out.begin(&s.out)
	c.out.append(make([]byte, 1000))
	if more, got := c.writePartLocked(), s.QueuedBytes(); more || !c.out.stuck || got != 1000 {
		t.Errorf("writePartLocked() = %v, QueuedBytes() = %d with 1000 bytes that the kernel does not take", more, got)
	}
	c.out.drop()
}

// TestPauseInAMessageOfALoopConn: the time of a pause is not the peer's, also when the message that had begun before goes on afterwards.
func TestPauseInAMessageOfALoopConn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 10 * time.Second
		c := &loopConn{}
		c.server = &Server{limits: Limits{MaxMessage: 1 << 10, FirstMessage: 1 << 10, FrameTimeout: most}, born: time.Now()}
		c.server.begun.New = func() any { return new(inbound) }
		c.driver, c.owner = c, &session{ended: make(chan struct{})}
		c.fd.Hold(-1) // no reader is started: the test looks itself
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
	c := &loopConn{}
	c.server = newServer(t, testLimits, onLoop)
	c.driver, c.owner = c, &session{ended: make(chan struct{})}
	frame := text("hello")
	for _, part := range [][]byte{frame[:4], frame[4:]} {
		c.fd.Hold(-1)
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
