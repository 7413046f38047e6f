package transport

import (
	"errors"
	"io"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// parkedConn is the driver that has a goroutine of its own wait, parked in the read without a buffer. A writer is another one, while the
// kernel's buffer is full.
//
// A TLS connection has no descriptor of its own: it takes the portable path of net.Conn, with a buffer.
type parkedConn struct {
	WebSocket

	// Fixed at birth.
	conn net.Conn
	raw  syscall.RawConn // nil: the portable path

	resume chan struct{} // guarded by mu; non-nil while the reader waits
}

func newParkedConn(s *Server, conn net.Conn) *WebSocket {
	c := &parkedConn{conn: conn}
	c.server, c.driver = s, c
	if sc, ok := conn.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			c.raw = raw
		}
	}
	return &c.WebSocket
}

// start implements driver.
func (c *parkedConn) start(pending []byte) { go c.run(pending) }

// run is the reader: it takes in what there is, until nothing is left, and then leaves the waiting to a fresh goroutine.
// Receiving grows a stack, which a goroutine that waited afterwards would keep.
//
//	run ──nothing left──► go wait ──readable──► run …
func (c *parkedConn) run(pending []byte) {
	err := c.receive(pending)
	for err == nil {
		err = c.readOnce()
	}
	if errors.Is(err, errNothing) {
		c.rest()
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
func (c *parkedConn) wait() {
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
func (c *parkedConn) receive(data []byte) error {
	if len(data) > 0 {
		if err := c.feed(data); err != nil {
			return err
		}
	}
	for {
		waited, goOn := c.waitResumed()
		if c.in == nil {
			return nil // nothing has begun
		}
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
func (c *parkedConn) linger() {
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
func (c *parkedConn) readOnce() error {
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

// boundReadLocked implements driver.
func (c *parkedConn) boundReadLocked(at time.Time) { _ = c.conn.SetReadDeadline(at) }

// waitResumed holds the reader while paused; it tells whether the reader had to wait, and whether it is to go on.
func (c *parkedConn) waitResumed() (waited, goOn bool) {
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

// resumedLocked implements driver.
func (c *parkedConn) resumedLocked() {
	if c.resume != nil {
		close(c.resume)
		c.resume = nil
	}
}

// closingLocked implements driver.
func (c *parkedConn) closingLocked() {
	_ = c.conn.SetWriteDeadline(time.Now().Add(c.server.limits.CloseTimeout))
	_ = c.conn.SetReadDeadline(time.Unix(1, 0)) // wakes the reader, which reports the end
	c.resumedLocked()
}

// disconnectLocked implements driver.
func (c *parkedConn) disconnectLocked() {
	_ = c.conn.Close()
	c.resumedLocked()
}

// endWriteLocked implements driver.
func (c *parkedConn) endWriteLocked() {
	if half, ok := c.conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
		return
	}
	c.shutLocked()
}

// writeLocked implements driver. What the kernel does not take is left to a goroutine.
func (c *parkedConn) writeLocked() {
	if c.raw == nil {
		c.out.stuck = true
		c.server.tasks.Go(c.drain)
		return
	}
	var n int
	var writeErr error
	err := c.raw.Write(func(fd uintptr) bool {
		n, writeErr = ignoringEINTR(func() (int, error) { return syscall.Write(int(fd), c.out.next()) })
		return true
	})
	if err == nil && errors.Is(writeErr, syscall.EAGAIN) {
		n, writeErr = 0, nil
	}
	if err != nil || writeErr != nil {
		c.lostLocked()
		return
	}
	c.wrote(n)
	if !c.out.empty() {
		c.out.stuck = true
		c.server.tasks.Go(c.drain)
	}
}

// drain writes until nothing is queued, then ends. There is one at most, while the queue is stuck.
func (c *parkedConn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.out.empty() && !c.done {
		// What is written without the lock is a copy: Queue may move the buffer meanwhile. It stays in the queue, and counts
		// against the bound, until it is written.
		chunk := c.out.next()
		if len(chunk) > writePart {
			chunk = chunk[:writePart]
		}
		out := append([]byte(nil), chunk...)
		c.mu.Unlock()
		n, err := c.conn.Write(out)
		c.mu.Lock()
		if c.done {
			break
		}
		if err != nil {
			c.lostLocked()
			break
		}
		c.wrote(n)
		if !c.out.empty() {
			c.out.compact()
		}
	}
	if !c.out.empty() {
		c.out.stuck = false
	}
}
