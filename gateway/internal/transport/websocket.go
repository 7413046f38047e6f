package transport

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"
)

// Limits are the bounds of WebSocket conns.
type Limits struct {
	MaxMessage   int           // bytes of one message
	FirstMessage int           // the same, before the peer has shown who it is; 0 = no less
	Unfinished   *Unfinished   // of all conns; nil sets no bound
	SendQueue    int           // bytes queued to one conn
	FrameTimeout time.Duration // patience with a message that has begun (ArrivalDeadline)
	CloseTimeout time.Duration // for what is queued when a conn closes
}

// Server makes WebSocket conns that share buffers and limits.
type Server struct {
	limits Limits
	born   time.Time
	log    *slog.Logger
	out    sendBuffers
	in     sync.Pool      // *[]byte of readSize
	begun  sync.Pool      // *inbound
	tasks  sync.WaitGroup // readers, writers that wait for the kernel, ends of polling conns

	lingering atomic.Int64
}

// readSize is how much one read takes in; the buffer is borrowed for the duration of the read and its parsing only.
const readSize = 16 << 10

// NewServer makes a server.
func NewServer(limits Limits, log *slog.Logger) *Server {
	if limits.FirstMessage == 0 || limits.FirstMessage > limits.MaxMessage {
		limits.FirstMessage = limits.MaxMessage
	}
	s := &Server{limits: limits, born: time.Now(), log: log}
	s.in.New = func() any { buf := make([]byte, readSize); return &buf }
	s.begun.New = func() any { return new(inbound) }
	s.out.bound = limits.SendQueue
	return s
}

// Lingering tells how many conns have ended for their owners, and wait for the peer to close.
func (s *Server) Lingering() int { return int(s.lingering.Load()) }

// QueuedBytes tells how much waits in the send queues of all WebSockets, without what a flush has not been tried for.
func (s *Server) QueuedBytes() int64 { return s.out.waiting.Load() }

// Wait returns when every conn has ended.
func (s *Server) Wait() { s.tasks.Wait() }

// WebSocket is a Conn over a hijacked TCP connection. A goroutine is parked in the read without a buffer; writes are made
// by whoever flushes, and by a goroutine only while the kernel's buffer is full.
//
// A TLS connection has no descriptor of its own: it takes the portable path of net.Conn, with a buffer.
type WebSocket struct {
	// Fixed at birth.
	server *Server
	conn   net.Conn
	raw    syscall.RawConn // nil: the portable path
	owner  Receiver

	in      *inbound  // owned by the reader, like the next; nil while it waits and nothing has begun
	control Allowance // of frames that no message comes of

	arriving atomic.Bool // bounded, for others to see
	known    atomic.Bool // the peer has shown who it is

	due atomic.Bool // Flush is to be called before more is queued; set under mu

	mu      sync.Mutex    // guards what follows
	out     frameQueue    // stuck while a drain goroutine is at work
	unended *unendedFrame // nil save between two messages of one frame, of another gateway's session
	reason  Reason
	resume  chan struct{} // non-nil while the reader waits
	slow    bool          // a message did not fit: Flush closes the conn
	closing bool          // nothing more is queued; the link ends when out is written
	done    bool          // the descriptor is closed, or about to be
	paused  bool
}

var _ Conn = (*WebSocket)(nil)

// Serve reads from an upgraded connection until it ends, in a goroutine of its own, and calls the owner that bind makes.
// pending are bytes that came together with the handshake.
func (s *Server) Serve(conn net.Conn, pending []byte, bind func(Conn) Receiver) {
	s.Accept(conn, nil, pending, bind)
}

// Accept is Serve for a connection whose handshake is still to be answered. The answer goes out together with what bind queues.
func (s *Server) Accept(conn net.Conn, answer, pending []byte, bind func(Conn) Receiver) {
	c := &WebSocket{server: s, conn: conn}
	if sc, ok := conn.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			c.raw = raw
		}
	}
	if len(answer) > 0 {
		c.out.begin(&s.out)
		c.out.append(answer)
	}
	c.owner = bind(c)
	if len(answer) > 0 {
		c.Flush()
	}
	s.tasks.Add(1)
	go c.run(pending)
}

// run is the reader: it takes in what there is, until nothing is left, and then leaves the waiting to a fresh goroutine.
// Receiving grows a stack, which a goroutine that waited afterwards would keep.
//
//	run ──nothing left──► go wait ──readable──► run …
func (c *WebSocket) run(pending []byte) {
	if c.in == nil {
		c.in = c.server.begun.Get().(*inbound)
	}
	err := c.receive(pending)
	for err == nil {
		err = c.readOnce()
	}
	if errors.Is(err, errNothing) {
		if !c.in.bounded { // nothing has begun
			*c.in = inbound{}
			c.server.begun.Put(c.in)
			c.in = nil
		}
		go c.wait()
		return
	}
	defer c.server.tasks.Done()
	c.server.lingering.Add(1)
	defer c.server.lingering.Add(-1)
	c.finish(err)
	c.linger()
	c.mu.Lock()
	c.shutLocked()
	c.mu.Unlock()
}

// wait parks until there is something to read, or the reader is woken. Its stack stays on the smallest size.
// raw.Read forgets the readiness that was reported since the last read, so what came meanwhile has to be looked for.
func (c *WebSocket) wait() {
	asked := false
	_ = c.raw.Read(func(fd uintptr) bool { // run finds the error again
		again := asked
		asked = true
		return again || readable(int(fd))
	})
	c.run(nil)
}

// readable tells whether a read would not have to wait. It is poll(2) because that needs little stack.
func readable(fd int) bool {
	fds := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}} //nolint:gosec // a descriptor is small
	n, err := unix.Poll(fds[:], 0)
	return n > 0 || err != nil && !errors.Is(err, syscall.EAGAIN)
}

// errNothing tells that a read would have to wait.
var errNothing = errors.New("nothing to read")

// receive parses what came and, once reading is not paused, what was kept back.
func (c *WebSocket) receive(data []byte) error {
	if len(data) > 0 {
		if err := c.feed(data); err != nil {
			return err
		}
	}
	for {
		waited, goOn := c.waitResumed()
		if waited {
			c.in.boundedAt = anew // the time that was not read is not the peer's
		}
		if !goOn || !c.in.parser.stopped { // reading may go on by now, as far as the conn is concerned
			break
		}
		kept := c.in.parser.rest
		c.in.parser.rest = nil
		if err := c.feed(kept); err != nil {
			return err
		}
	}
	c.boundFrame()
	return nil
}

// linger discards what the peer still sends until it closes too: closing a TCP connection with unread bytes resets it, and
// a reset can overtake the close frame on its way to the peer.
func (c *WebSocket) linger() {
	c.mu.Lock()
	done := c.done
	c.mu.Unlock()
	if done {
		return
	}
	_ = c.conn.SetReadDeadline(time.Now().Add(c.server.limits.CloseTimeout))
	var discarded [512]byte // a gateway that goes away has very many that linger
	for {
		if _, err := c.conn.Read(discarded[:]); err != nil {
			return
		}
	}
}

// readOnce reads and takes in what there is; errNothing tells that it would have to wait. Without a descriptor it waits.
func (c *WebSocket) readOnce() error {
	buf := c.borrow()
	defer c.server.in.Put(buf)
	var n int
	var readErr error
	if c.raw == nil {
		n, readErr = c.conn.Read(*buf)
	} else if err := c.raw.Read(func(fd uintptr) bool {
		n, readErr = ignoringEINTR(func() (int, error) { return syscall.Read(int(fd), *buf) })
		return true
	}); err != nil {
		return err
	}
	if n > 0 {
		err := c.receive((*buf)[:n])
		if err == nil && c.raw != nil && n < len(*buf) {
			err = errNothing // else there would have been more; what has come meanwhile, wait sees
		}
		return err
	}
	switch {
	case errors.Is(readErr, syscall.EAGAIN):
		return errNothing
	case readErr != nil:
		return readErr
	}
	return io.EOF
}

func (c *WebSocket) borrow() *[]byte { return c.server.in.Get().(*[]byte) }

func (c *WebSocket) feed(data []byte) error {
	parser := &c.in.parser
	parser.maxMessage = c.maxMessage()
	err := parser.feed(data, (*receiving)(c), c.holdsBack)
	c.owner.BatchEnd()
	if err == nil {
		err = c.count(parser.held())
	}
	if price := parser.price; price > 0 && err == nil {
		parser.price = 0
		if !c.control.Take(float64(price), ControlRate, ControlBurst, time.Now()) {
			return &closeError{CodePolicy, ReasonFlood, "too many control frames"}
		}
	}
	return err
}

// receiving is the WebSocket as the parser's sink.
type receiving WebSocket

func (r *receiving) message(data []byte, binary bool) {
	c := (*WebSocket)(r)
	c.owner.Receive(data, binary)
	c.in.parser.maxMessage = c.maxMessage() // what it said may have shown who the peer is
}

func (r *receiving) ping(data []byte) {
	c := (*WebSocket)(r)
	c.answerPing(append(appendHeader(make([]byte, 0, 2+len(data)), opPong, len(data)), data...))
	c.Flush()
}

// finish turns the reader's end into the conn's.
func (c *WebSocket) finish(err error) {
	var refusal *closeError
	code, reason := CodeNormal, ReasonLost
	switch {
	case errors.As(err, &refusal):
		code, reason = refusal.code, refusal.reason
	case errors.Is(err, errPeerClosed):
		reason = ReasonClient
	case errors.Is(err, os.ErrDeadlineExceeded):
		code, reason = CodePolicy, ReasonFrameTime
	}
	_ = c.count(0)
	c.Close(code, reason)
	c.mu.Lock()
	reason = c.reason
	c.mu.Unlock()
	c.owner.Closed(reason)
}

func (c *WebSocket) maxMessage() int {
	if c.known.Load() {
		return c.server.limits.MaxMessage
	}
	return c.server.limits.FirstMessage
}

// Admitted implements Conn.
func (c *WebSocket) Admitted() { c.known.Store(true) }

// Close implements Conn.
func (c *WebSocket) Close(code Code, reason Reason) {
	c.mu.Lock()
	c.closeLocked(code, reason)
	c.mu.Unlock()
}

func (c *WebSocket) closeLocked(code Code, reason Reason) {
	if c.closing {
		return
	}
	c.closing, c.reason = true, reason
	if reason == ReasonSlow || reason == ReasonLost || reason == ReasonDisplaced {
		c.shutLocked() // nothing reaches it any more, or its descriptor is needed now
		return
	}
	c.out.begin(&c.server.out)
	c.out.append(closeFrame(code))
	_ = c.conn.SetWriteDeadline(time.Now().Add(c.server.limits.CloseTimeout))
	c.flushLocked()
	_ = c.conn.SetReadDeadline(time.Unix(1, 0)) // wakes the reader, which reports the end
	c.wakeLocked()
}

// shutLocked ends the TCP connection; the reader notices and reports.
func (c *WebSocket) shutLocked() {
	if c.done {
		return
	}
	c.done = true
	c.out.drop()
	_ = c.conn.Close()
	c.wakeLocked()
}

func closeFrame(code Code) []byte {
	body := ws.NewCloseFrameBody(ws.StatusCode(code), "")
	return append(appendHeader(make([]byte, 0, 2+len(body)), opClose, len(body)), body...)
}

// Arriving tells whether a message has begun and its end is still to come.
func (c *WebSocket) Arriving() bool { return c.arriving.Load() }

// PauseRead implements Conn.
func (c *WebSocket) PauseRead() {
	c.mu.Lock()
	c.paused = true
	c.mu.Unlock()
}

// ResumeRead implements Conn.
func (c *WebSocket) ResumeRead() {
	c.mu.Lock()
	c.paused = false
	c.wakeLocked()
	c.mu.Unlock()
}

func (c *WebSocket) wakeLocked() {
	if c.resume != nil {
		close(c.resume)
		c.resume = nil
	}
}

// holdsBack tells whether the messages that came are not to be received: while paused, and for good once closing.
func (c *WebSocket) holdsBack() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.paused || c.closing
}

// waitResumed holds the reader while paused; it tells whether the reader had to wait, and whether it is to go on.
func (c *WebSocket) waitResumed() (waited, goOn bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.paused && !c.closing {
		wait := make(chan struct{})
		c.resume = wait
		c.mu.Unlock()
		<-wait
		c.mu.Lock()
		waited = true
	}
	return waited, !c.closing
}

func ignoringEINTR(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, syscall.EINTR) {
			return max(n, 0), err
		}
	}
}
