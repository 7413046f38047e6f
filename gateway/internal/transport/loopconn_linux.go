package transport

import (
	"errors"
	"io"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// loopConn is the driver of a conn for which an event loop waits. Who has news for it (the loop, a Close, a ResumeRead, a deadline) starts
// a goroutine that reads, unless one is at it, which then sees the news before it ends:
//
//	                 news                   news: look again
//	no goroutine ───────────► running ◄──────────────────────┐
//	     ▲                       │ read, parse, receive … ───┘
//	     └──── nothing to do ────┴──── the conn has ended ───► for good
//
// So there is one reader at most, and what it receives is in order. It may block in a handler: the loop and other conns go on.
//
// The reader alone closes the descriptor, when it is out of the loop's table and nobody writes any more. Others end the connection
// (disconnectLocked), and write, under mu, not after done is set.
type loopConn struct {
	WebSocket

	// Fixed when the loop has it.
	loop       *loop
	fd         int32
	generation int32

	state    atomic.Uint32 // bits
	finished bool          // owned by the reader: the owner has heard of the end, and what still comes is discarded

	// Guarded by mu.
	resumed bool   // reading was paused since the reader has looked
	clock   *clock // nil: nothing is awaited
}

var _ driver = (*loopConn)(nil)

// The bits of a loopConn's state.
const (
	bitRunning  uint32 = 1 << iota // a goroutine reads, or the conn has ended
	bitNews                        // the reader is to look again before it ends
	bitReadable                    // something has come since the last read
	bitHungUp                      // the peer has closed: reading is to go on up to that
	bitFull                        // the kernel took no more; whoever clears it when it does is to write
)

// clock tells the reader of a conn that what is awaited has not come in time. Deadlines that move on do not touch the timer: when it
// rings early, it is set again.
type clock struct {
	timer *time.Timer
	at    time.Time // the deadline
	rings time.Time // when the timer rings, at at or before; zero: it has rung
}

// start implements driver.
func (c *loopConn) start(pending []byte) {
	if err := c.loop.add(c); err != nil {
		c.Close(CodeNormal, ReasonLost)
	}
	if len(pending) > 0 || !c.state.CompareAndSwap(bitRunning, 0) {
		go c.run(pending)
	}
}

// happened notes what epoll tells of the descriptor. It never waits.
func (c *loopConn) happened(events uint32) {
	if events&unix.EPOLLOUT != 0 && c.state.Load()&bitFull != 0 && c.state.And(^bitFull)&bitFull != 0 {
		c.server.tasks.Go(c.writeOn)
	}
	switch {
	case events&(unix.EPOLLRDHUP|unix.EPOLLHUP) != 0:
		c.wake(bitReadable | bitHungUp)
	case events&(unix.EPOLLIN|unix.EPOLLERR) != 0:
		c.wake(bitReadable)
	}
}

// wake has the reader look what there is to do.
func (c *loopConn) wake(why uint32) {
	if c.state.Or(why|bitNews|bitRunning)&bitRunning == 0 {
		go c.run(nil)
	}
}

// step is what the reader does next.
type step int

const (
	stepNone step = iota // let go of the conn
	stepRead
	stepGoOn    // with what was kept back while reading was paused
	stepExpire  // what was awaited has not come in time
	stepFinish  // the conn closes
	stepDiscard // what still comes
	stepEnd     // the TCP connection has ended
)

// run is the reader.
func (c *loopConn) run(pending []byte) {
	var err error
	if len(pending) > 0 {
		err = c.take(pending)
	}
	for {
		if err != nil {
			c.conclude(err)
			err = nil
		}
		switch c.next() {
		case stepNone:
			return
		case stepRead:
			err = c.readOnce()
		case stepGoOn:
			kept := c.in.parser.rest
			c.in.parser.rest = nil
			err = c.take(kept)
		case stepExpire:
			err = os.ErrDeadlineExceeded
		case stepFinish:
			c.conclude(errNothing)
		case stepDiscard:
			c.discard()
		case stepEnd:
			c.end()
			return
		}
	}
}

// next decides what the reader does. When that is nothing, the conn has no reader any more.
func (c *loopConn) next() step {
	for {
		c.state.And(^bitNews)
		if s := c.step(); s != stepNone {
			return s
		}
		c.rest()
		if c.letGo() {
			return stepNone
		}
	}
}

// letGo has the conn have no reader any more, unless there are news that the reader has not looked at.
func (c *loopConn) letGo() bool {
	state := c.state.Load()
	return state&bitNews == 0 && c.state.CompareAndSwap(state, state&^bitRunning)
}

func (c *loopConn) step() step {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.resumed && c.in != nil {
		c.in.boundedAt = anew // the time that was not read is not the peer's
	}
	c.resumed = false
	toRead := c.state.Load()&(bitReadable|bitHungUp) != 0
	switch {
	case c.finished && c.done:
		return stepEnd
	case c.finished && toRead:
		return stepDiscard
	case c.finished:
		return stepNone
	case c.closing:
		return stepFinish
	case c.paused:
		return stepNone
	case c.clock.late():
		return stepExpire
	case c.in != nil && c.in.parser.stopped:
		return stepGoOn
	case toRead:
		return stepRead
	}
	return stepNone
}

// readOnce reads once and takes in what came.
func (c *loopConn) readOnce() error {
	buf := c.borrow()
	defer c.server.in.Put(buf)
	n, err := c.readInto(*buf)
	if err != nil || n == 0 {
		return err
	}
	return c.take((*buf)[:n])
}

// readInto reads what there is, 0 bytes if there is nothing after all; the end of the stream is io.EOF.
func (c *loopConn) readInto(buf []byte) (int, error) {
	return c.noting(len(buf), func() (int, error) { return unix.Read(int(c.fd), buf) })
}

// noting makes a read of at most so many bytes, and keeps the bits true. It takes them away before the read: what the loop tells from then
// on may be about bytes that the read has not seen, and stays. What did not fit is still to be read, and after a peer has closed so is
// everything up to that.
func (c *loopConn) noting(most int, read func() (int, error)) (int, error) {
	hungUp := c.state.And(^(bitReadable | bitHungUp)) & bitHungUp
	n, err := ignoringEINTR(read)
	switch {
	case errors.Is(err, unix.EAGAIN):
		return 0, nil
	case err != nil:
		return 0, os.NewSyscallError("read", err)
	case n == 0:
		return 0, io.EOF
	}
	if n == most {
		hungUp |= bitReadable
	}
	if hungUp != 0 {
		c.state.Or(hungUp)
	}
	return n, nil
}

// take takes in what was read, or kept back.
func (c *loopConn) take(data []byte) error {
	if err := c.feed(data); err != nil {
		return err
	}
	if !c.in.parser.stopped {
		c.boundFrame()
	}
	return nil
}

// conclude tells the owner of the end. From here on what comes is discarded, until the peer closes, too: closing a TCP connection with
// unread bytes resets it, and a reset can overtake the close frame on its way to the peer.
func (c *loopConn) conclude(err error) {
	if c.finished { // while discarding
		return
	}
	c.server.lingering.Add(1) // before its session is counted no longer: it has its descriptor still
	c.finish(err)
	c.finished = true
	if c.in != nil {
		*c.in = inbound{}
		c.rest()
	}
}

// discard reads what nobody wants.
func (c *loopConn) discard() {
	var buf [512]byte
	if _, err := c.readInto(buf[:]); err != nil {
		c.mu.Lock()
		c.shutLocked()
		c.mu.Unlock()
	}
}

// end closes the descriptor. The conn stays running for good: nobody else reads.
func (c *loopConn) end() {
	c.loop.remove(c)
	c.mu.Lock()
	c.unboundLocked()
	_ = unix.Close(int(c.fd))
	c.mu.Unlock()
	c.server.lingering.Add(-1)
	c.server.tasks.Done()
}

// writeLocked implements driver.
func (c *loopConn) writeLocked() {
	for c.writePartLocked() {
		continue
	}
}

// writeOn writes what was stuck, now that the kernel takes more.
func (c *loopConn) writeOn() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.writePartLocked() {
		c.mu.Unlock() // whoever queues meanwhile does not wait for all of it
		c.mu.Lock()
	}
}

// writePartLocked writes a part of the queue, and tells whether to go on. The queue is stuck when the kernel took nothing in spite of
// bitFull being set: what it takes later, the loop will hear of.
func (c *loopConn) writePartLocked() (more bool) {
	if c.done || c.out.empty() {
		return false
	}
	part := c.out.next()
	n, err := ignoringEINTR(func() (int, error) { return unix.Write(int(c.fd), part[:min(len(part), writePart)]) })
	switch {
	case errors.Is(err, unix.EAGAIN):
		if c.state.Or(bitFull)&bitFull == 0 {
			return true
		}
		c.out.stuck = true
		c.wrote(0)
		c.out.compact()
		return false
	case err != nil:
		c.lostLocked()
		return false
	}
	c.wrote(n)
	return true
}

// endWriteLocked implements driver.
func (c *loopConn) endWriteLocked() { _ = unix.Shutdown(int(c.fd), unix.SHUT_WR) }

// disconnectLocked implements driver. Both ends of the connection see its end now, the descriptor is the reader's to close.
func (c *loopConn) disconnectLocked() {
	_ = unix.Shutdown(int(c.fd), unix.SHUT_RDWR)
	c.wake(0)
}

// resumedLocked implements driver.
func (c *loopConn) resumedLocked() {
	c.resumed = true
	if c.clock != nil && !c.closing {
		c.setClockLocked(time.Now().Add(c.server.limits.FrameTimeout))
	}
	c.wake(0)
}

// closingLocked implements driver.
func (c *loopConn) closingLocked() {
	c.setClockLocked(time.Now().Add(c.server.limits.CloseTimeout))
	c.wake(0)
}

// boundReadLocked implements driver.
func (c *loopConn) boundReadLocked(at time.Time) {
	if at.IsZero() {
		c.unboundLocked()
		return
	}
	c.setClockLocked(at)
}

func (c *loopConn) unboundLocked() {
	if c.clock != nil {
		c.clock.timer.Stop()
		c.clock = nil
	}
}

func (c *loopConn) setClockLocked(at time.Time) {
	k := c.clock
	switch {
	case k == nil:
		c.clock = &clock{at: at, rings: at, timer: time.AfterFunc(time.Until(at), c.rang)}
		return
	case k.rings.IsZero() || at.Before(k.rings):
		k.rings = at
		k.timer.Reset(time.Until(at))
	}
	k.at = at
}

// rang is called by the timer of the clock, or by that of an earlier one.
func (c *loopConn) rang() {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.clock
	switch {
	case k == nil:
	case !k.late():
		k.rings = k.at
		k.timer.Reset(time.Until(k.at))
	case c.closing:
		c.shutLocked() // it has taken too long
	default:
		k.rings = time.Time{}
		c.wake(0)
	}
}

// late tells whether the deadline is over. A nil clock never is.
func (k *clock) late() bool { return k != nil && !time.Now().Before(k.at) }
