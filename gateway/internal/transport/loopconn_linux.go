package transport

import (
	"os"
	"time"

	"github.com/starling-chat/starling/gateway/internal/eventloop"
)

// loopConn is the driver of a conn for which an event loop waits. Who has news for it (the loop, a Close, a ResumeRead, a deadline) starts
// a goroutine that reads, unless one is at it, which then sees the news before it ends:
//
//	                 news                   news: look again
//	no goroutine ───────────► running ◄──────────────────────┐
//	     ▲                       │ read, parse, receive … ───┘
//	     └──── nothing to do ────┴──── the conn has ended ───► for good
//
// So what it receives is in order. The reader may block in a handler: the loop and other conns go on.
//
// The reader alone closes the descriptor. Others end the connection (disconnectLocked), and write, under mu, not after done is set.
type loopConn struct {
	WebSocket

	// Fixed at birth.
	loop *eventloop.Loop[*loopConn]

	fd       eventloop.Descriptor // has no owner: its bits are atomic
	finished bool                 // owned by the reader: the owner has heard of the end, and what still comes is discarded

	// Guarded by mu.
	resumed bool   // reading was paused since the reader has looked
	clock   *clock // nil: nothing is awaited
}

var _ driver = (*loopConn)(nil)

// clock tells the reader of a conn that what is awaited has not come in time. Deadlines that move on do not touch the timer: when it
// rings early, it is set again.
type clock struct {
	timer *time.Timer
	at    time.Time // the deadline
	rings time.Time // when the timer rings, at at or before; zero: it has rung
}

// start implements driver.
func (c *loopConn) start(pending []byte) {
	if err := c.loop.Add(c); err != nil {
		c.Close(CodeNormal, ReasonLost)
	}
	if len(pending) > 0 || !c.fd.LetGo() {
		go c.run(pending)
	}
}

// Descriptor implements eventloop.Member.
func (c *loopConn) Descriptor() *eventloop.Descriptor { return &c.fd }

// Happened implements eventloop.Member.
func (c *loopConn) Happened(events uint32) {
	read, write := c.fd.Happened(events)
	if write {
		c.server.tasks.Go(c.writeOn)
	}
	if read {
		go c.run(nil)
	}
}

// wake has the reader look what there is to do.
func (c *loopConn) wake() {
	if c.fd.Wake() {
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
		c.fd.Look()
		if s := c.step(); s != stepNone {
			return s
		}
		c.rest()
		if c.fd.LetGo() {
			return stepNone
		}
	}
}

func (c *loopConn) step() step {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.resumed && c.in != nil {
		c.in.boundedAt = anew // the time that was not read is not the peer's
	}
	c.resumed = false
	toRead := c.fd.Readable()
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
	n, err := c.fd.Read(*buf)
	if err != nil || n == 0 {
		return err
	}
	return c.take((*buf)[:n])
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
	if _, err := c.fd.Read(buf[:]); err != nil {
		c.mu.Lock()
		c.shutLocked()
		c.mu.Unlock()
	}
}

// end closes the descriptor. The conn stays running for good: nobody else reads.
func (c *loopConn) end() {
	c.loop.Remove(c)
	c.mu.Lock()
	c.unboundLocked()
	c.fd.Close()
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

// writePartLocked writes a part of the queue, and tells whether to go on. When the kernel takes nothing the queue is stuck, and the loop has
// writeOn called.
func (c *loopConn) writePartLocked() (more bool) {
	if c.done || c.out.empty() {
		return false
	}
	part := c.out.next()
	n, err := c.fd.Write(part[:min(len(part), writePart)])
	switch {
	case err != nil:
		c.lostLocked()
		return false
	case n == 0:
		c.out.stuck = true
		c.wrote(0)
		c.out.compact()
		return false
	}
	c.wrote(n)
	return true
}

// endWriteLocked implements driver.
func (c *loopConn) endWriteLocked() { c.fd.EndWrite() }

// disconnectLocked implements driver. Both ends of the connection see its end now, the descriptor is the reader's to close.
func (c *loopConn) disconnectLocked() {
	c.fd.Disconnect()
	c.wake()
}

// resumedLocked implements driver.
func (c *loopConn) resumedLocked() {
	c.resumed = true
	if c.clock != nil && !c.closing {
		c.setClockLocked(time.Now().Add(c.server.limits.FrameTimeout))
	}
	c.wake()
}

// closingLocked implements driver.
func (c *loopConn) closingLocked() {
	c.setClockLocked(time.Now().Add(c.server.limits.CloseTimeout))
	c.wake()
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
		c.wake()
	}
}

// late tells whether the deadline is over. A nil clock never is.
func (k *clock) late() bool { return k != nil && !time.Now().Before(k.at) }
