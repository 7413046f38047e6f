package transport

import (
	"errors"
	"syscall"
)

// Queue implements Conn.
func (c *WebSocket) Queue(m *Message) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing || !c.admitLocked(len(m.frames), m.volatile) {
		return false
	}
	c.out.append(m.frames)
	c.flushLongLocked()
	return true
}

// flushLong is how many queued bytes are written without waiting for Flush: what a batch of events adds up to is kept small
// enough for the lent buffers.
const flushLong = 32 << 10

func (c *WebSocket) flushLongLocked() {
	if c.out.waiting >= flushLong {
		c.flushLocked()
	}
}

// QueueSuffixed implements Conn.
func (c *WebSocket) QueueSuffixed(m *Message, suffix []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing || !c.admitLocked(m.suffixedLen(len(suffix)), m.volatile) {
		return false
	}
	c.out.grow(func(buf []byte) []byte { return m.AppendSuffixed(buf, suffix) })
	c.flushLongLocked()
	return true
}

// admitLocked tells whether a message is taken; one that finds the peer slow closes the conn.
func (c *WebSocket) admitLocked(size int, volatile bool) bool {
	if !c.out.fits(size) {
		c.flushLocked() // a burst between two flushes is not a slow peer
		if c.closing {
			return false
		}
	}
	verdict := c.out.admit(size, volatile)
	if verdict == slow {
		c.closeLocked(CodePolicy, ReasonSlow)
	}
	return verdict == taken
}

// QueuedBytes implements Conn.
func (c *WebSocket) QueuedBytes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.waiting
}

// Flush implements Conn.
func (c *WebSocket) Flush() {
	c.mu.Lock()
	c.flushLocked()
	c.mu.Unlock()
}

// flushLocked writes without waiting; what the kernel does not take is left to a goroutine.
func (c *WebSocket) flushLocked() {
	if c.writing || c.done || c.out.empty() {
		return
	}
	if c.raw == nil {
		c.writing = true
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
		c.closeLocked(CodeNormal, ReasonLost)
		c.shutLocked()
		return
	}
	c.wrote(n)
	if !c.out.empty() {
		c.writing = true
		c.server.tasks.Go(c.drain)
	}
}

// wrote forgets n written bytes; after the last ones of a closing conn nothing more comes.
func (c *WebSocket) wrote(n int) {
	c.out.wrote(n)
	if c.out.empty() && c.closing {
		c.endWriteLocked()
	}
}

// endWriteLocked tells the peer that nothing more comes.
func (c *WebSocket) endWriteLocked() {
	if half, ok := c.conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
		return
	}
	c.shutLocked()
}

// drain writes until nothing is queued, then ends. It owns the writing flag, so there is one at most.
func (c *WebSocket) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.out.empty() && !c.done {
		// The bytes are taken away while they are written without the lock: Queue appends to a new buffer meanwhile,
		// and the bound counts both.
		chunk := c.out.next()
		if len(chunk) > 64<<10 {
			chunk = chunk[:64<<10]
		}
		out := append([]byte(nil), chunk...)
		c.mu.Unlock()
		n, err := c.conn.Write(out)
		c.mu.Lock()
		if c.done {
			break
		}
		if err != nil {
			c.closeLocked(CodeNormal, ReasonLost)
			c.shutLocked()
			break
		}
		c.wrote(n)
		c.out.compact()
	}
	c.writing = false
}
