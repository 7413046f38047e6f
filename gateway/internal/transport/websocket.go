package transport

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gobwas/ws"

	"github.com/starling-chat/starling/gateway/internal/eventloop"
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
	loops  *loops // nil: a goroutine waits for each conn
	out    sendBuffers
	in     sync.Pool      // *[]byte of readSize
	begun  sync.Pool      // *inbound
	tasks  sync.WaitGroup // conns, writers that wait for the kernel, loops, ends of polling conns

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
	if alwaysLoops {
		_ = s.UseLoops() // tests on a system without them have a goroutine wait
	}
	return s
}

// CheckLoops tells why this system has no event loops.
func CheckLoops() error { return eventloop.Check() }

// UseLoops has event loops wait for the conns that come from now on, save for those without a descriptor of their own. It fails where the
// system has none. It is called before the first conn.
func (s *Server) UseLoops() error {
	l, err := newLoops(s)
	if err != nil {
		return fmt.Errorf("make event loops: %w", err)
	}
	s.loops = l
	return nil
}

// OnLoops tells whether event loops wait for conns.
func (s *Server) OnLoops() bool { return s.loops != nil }

// Lingering tells how many conns have ended for their owners, and wait for the peer to close.
func (s *Server) Lingering() int { return int(s.lingering.Load()) }

// QueuedBytes tells how much waits in the send queues of all WebSockets, without what a flush has not been tried for.
func (s *Server) QueuedBytes() int64 { return s.out.waiting.Load() }

// Wait returns when every conn has ended.
func (s *Server) Wait() { s.tasks.Wait() }

// WebSocket is a Conn over an upgraded TCP connection. Whoever flushes writes; the rest is its driver's: to wait until there is something to
// read, and until the kernel takes what it did not take at once.
type WebSocket struct {
	// Fixed at birth.
	server *Server
	driver driver
	owner  Receiver

	in      *inbound  // owned by the reader, like the next; nil while it waits and nothing has begun
	control Allowance // of frames that no message comes of

	marks marks // for those to see who do not hold mu

	mu      sync.Mutex    // guards what follows, and what the driver says
	slow    bool          // a message did not fit: Flush closes the conn
	closing bool          // nothing more is queued; the link ends when out is written
	done    bool          // the TCP connection has ended, or is about to
	paused  bool          // they stand here because they fit
	out     frameQueue    // stuck while the driver waits for the kernel
	unended *unendedFrame // nil save between two messages of one frame, of another gateway's session
	reason  *Reason       // nil until it closes: a pointer is half the size
}

var _ Conn = (*WebSocket)(nil)

// marks are bits of a WebSocket in one word: each conn has it.
type marks struct{ bits atomic.Uint32 }

const (
	markArriving uint32 = 1 << iota // a message has begun
	markKnown                       // the peer has shown who it is
	markDue                         // Flush is to be called before more is queued; set under mu
)

func (m *marks) has(bit uint32) bool { return m.bits.Load()&bit != 0 }

func (m *marks) set(bit uint32)   { m.bits.Or(bit) }
func (m *marks) clear(bit uint32) { m.bits.And(^bit) }

// driver waits for the TCP connection of one WebSocket: with a goroutine (parkedConn), or in an event loop with others (loopConn). It reads,
// and calls the owner from one goroutine at a time. Methods whose names end in Locked are called under the WebSocket's mu, and do not
// wait.
type driver interface {
	// start begins to read; pending are bytes that have been read already.
	start(pending []byte)
	// writeLocked writes what the kernel takes of the queue. The rest is stuck, and is written when the kernel takes more.
	writeLocked()
	// boundReadLocked has reading fail with os.ErrDeadlineExceeded from then on; the zero time: never.
	boundReadLocked(at time.Time)
	// resumedLocked has reading go on that was paused.
	resumedLocked()
	// closingLocked has the reader end, and what is still to be written have CloseTimeout.
	closingLocked()
	// endWriteLocked tells the peer that nothing more comes.
	endWriteLocked()
	// disconnectLocked ends the TCP connection.
	disconnectLocked()
}

// Serve reads from an upgraded connection until it ends and calls the owner that bind makes. pending are bytes that came together with the
// handshake.
func (s *Server) Serve(conn net.Conn, pending []byte, bind func(Conn) Receiver) {
	s.Accept(conn, nil, pending, bind)
}

// Accept is Serve for a connection whose handshake is still to be answered. The answer goes out together with what bind queues.
func (s *Server) Accept(conn net.Conn, answer, pending []byte, bind func(Conn) Receiver) {
	c := s.webSocket(conn)
	if len(answer) > 0 {
		c.out.begin(&s.out)
		c.out.append(answer)
	}
	c.owner = bind(c)
	if len(answer) > 0 {
		c.Flush()
	}
	s.tasks.Add(1)
	c.driver.start(pending)
}

// webSocket gives a connection to a driver.
func (s *Server) webSocket(conn net.Conn) *WebSocket {
	if s.loops != nil {
		if c := s.loops.take(conn); c != nil {
			return c
		}
	}
	return newParkedConn(s, conn)
}

// borrow gives a buffer to read into; it goes back into server.in.
func (c *WebSocket) borrow() *[]byte { return c.server.in.Get().(*[]byte) }

// feed takes in what was read.
func (c *WebSocket) feed(data []byte) error {
	if c.in == nil {
		c.in = c.server.begun.Get().(*inbound)
	}
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

// rest gives back what nothing has begun for.
func (c *WebSocket) rest() {
	if in := c.in; in != nil && !in.bounded && !in.parser.stopped {
		*in = inbound{}
		c.server.begun.Put(in)
		c.in = nil
	}
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
	if c.in != nil {
		_ = c.count(0)
	}
	c.Close(code, reason)
	c.mu.Lock()
	reason = *c.reason
	c.mu.Unlock()
	c.owner.Closed(reason)
}

func (c *WebSocket) maxMessage() int {
	if c.marks.has(markKnown) {
		return c.server.limits.MaxMessage
	}
	return c.server.limits.FirstMessage
}

// Admitted implements Conn.
func (c *WebSocket) Admitted() { c.marks.set(markKnown) }

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
	why := reason // on the heap, now that it is needed there
	c.closing, c.reason = true, &why
	if reason == ReasonSlow || reason == ReasonLost || reason == ReasonDisplaced {
		c.shutLocked() // nothing reaches it any more, or its descriptor is needed now
		return
	}
	c.out.begin(&c.server.out)
	c.out.append(closeFrame(code))
	c.driver.closingLocked()
	c.flushLocked()
}

// shutLocked ends the TCP connection; the reader notices and reports.
func (c *WebSocket) shutLocked() {
	if c.done {
		return
	}
	c.done = true
	c.out.drop()
	c.driver.disconnectLocked()
}

func closeFrame(code Code) []byte {
	body := ws.NewCloseFrameBody(ws.StatusCode(code), "")
	return append(appendHeader(make([]byte, 0, 2+len(body)), opClose, len(body)), body...)
}

// Arriving tells whether a message has begun and its end is still to come.
func (c *WebSocket) Arriving() bool { return c.marks.has(markArriving) }

// PauseRead implements Conn.
func (c *WebSocket) PauseRead() {
	c.mu.Lock()
	c.paused = true
	c.mu.Unlock()
}

// ResumeRead implements Conn.
func (c *WebSocket) ResumeRead() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.paused {
		c.paused = false
		c.driver.resumedLocked()
	}
}

// holdsBack tells whether the messages that came are not to be received: while paused, and for good once closing.
func (c *WebSocket) holdsBack() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.paused || c.closing
}

func ignoringEINTR(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, syscall.EINTR) {
			return max(n, 0), err
		}
	}
}
