package transport

// flushLong is how many queued bytes make a flush due: what a batch of events adds up to is kept small enough for the
// borrowed buffers.
const flushLong = 32 << 10

// Queue implements Conn.
func (c *WebSocket) Queue(m *Message) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	taken := c.queueLocked(m)
	c.dueLocked()
	return taken
}

func (c *WebSocket) queueLocked(m *Message) bool {
	if !c.admitLocked(len(m.frames), m) {
		return false
	}
	c.out.append(m.frames)
	if m.more != (c.unended != nil) {
		c.frameEndsLocked(!m.more)
	}
	return true
}

// QueueRun implements Conn. To every member of a large room many events go at once: the lock is taken once for all of them.
func (c *WebSocket) QueueRun(run []Suffixed) (taken int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range run {
		if c.queueSuffixedLocked(run[i].Message, run[i].Suffix) {
			taken++
		}
	}
	c.dueLocked()
	return taken
}

func (c *WebSocket) queueSuffixedLocked(m *Message, suffix []byte) bool {
	if suffix == nil {
		return c.queueLocked(m)
	}
	if !c.admitLocked(m.suffixedLen(len(suffix)), m) {
		return false
	}
	c.out.appendSuffixed(m, suffix)
	return true
}

// unendedFrame is what a conn keeps while the frame that was queued last goes on in the next message.
type unendedFrame struct {
	pong []byte // to be sent after it; nil for none
}

// frameEndsLocked notes whether the frame that was queued last has ended. The answer to a ping waits for that.
func (c *WebSocket) frameEndsLocked(ended bool) {
	if !ended {
		c.unended = &unendedFrame{}
		return
	}
	if pong := c.unended.pong; len(pong) > 0 {
		c.out.begin(&c.server.out)
		c.out.append(pong)
	}
	c.unended = nil
}

// answerPing queues the answer to a ping, between two frames. An earlier one that still waits need not be sent (RFC 6455 §5.5.3).
func (c *WebSocket) answerPing(pong []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.unended != nil:
		c.unended.pong = pong
	case c.admitLocked(len(pong), &Message{}):
		c.out.append(pong)
	}
}

// admitLocked tells whether a message is taken. After one that finds the peer slow nothing more is, and Flush closes the conn.
func (c *WebSocket) admitLocked(size int, m *Message) bool {
	if c.closing || c.slow {
		return false
	}
	c.out.begin(&c.server.out) // an empty queue takes everything, so that something will be in it
	verdict := c.out.admit(size, m.volatile, m.answer)
	if verdict == slow {
		c.slow = true
		c.marks.set(markDue)
	}
	return verdict == taken
}

// dueLocked notes that a flush is due. While what is queued does not go out anyway none is.
func (c *WebSocket) dueLocked() {
	if !c.out.empty() && c.out.waiting >= flushLong && !c.out.stuck {
		c.marks.set(markDue)
	}
}

// FlushDue implements Conn.
func (c *WebSocket) FlushDue() bool { return c.marks.has(markDue) }

// QueuedBytes implements Conn.
func (c *WebSocket) QueuedBytes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.size()
}

// Flush implements Conn.
func (c *WebSocket) Flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.marks.has(markDue) {
		c.marks.clear(markDue)
	}
	c.flushLocked()
	if c.slow || !c.out.empty() && c.out.over() {
		c.closeLocked(CodePolicy, ReasonSlow)
	}
}

// writePart is how much of a queue that is stuck is written at once, in bytes.
const writePart = 64 << 10

// flushLocked writes without waiting; what the kernel does not take is left to the driver.
func (c *WebSocket) flushLocked() {
	if !c.done && !c.out.empty() && !c.out.stuck {
		c.driver.writeLocked()
	}
}

// lostLocked ends a conn to which nothing can be written.
func (c *WebSocket) lostLocked() {
	c.closeLocked(CodeNormal, ReasonLost)
	c.shutLocked()
}

// wrote forgets n written bytes; after the last ones of a closing conn nothing more comes.
func (c *WebSocket) wrote(n int) {
	c.out.wrote(n)
	if c.out.empty() && c.closing {
		c.driver.endWriteLocked()
	}
}
