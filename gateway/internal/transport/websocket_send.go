package transport

import (
	"errors"
	"syscall"
)

// Queue implements Conn.
func (c *WebSocket) Queue(m *Message) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return false
	}
	if !c.fitsLocked(m, len(m.Frames)) {
		return false
	}
	c.append(m.Frames)
	c.flushLongLocked()
	return true
}

// flushLong is how many queued bytes are written without waiting for Flush: what a batch of events adds up to is kept small
// enough for the lent buffers.
const flushLong = 32 << 10

func (c *WebSocket) flushLongLocked() {
	if c.out != nil && len(*c.out) >= flushLong {
		c.flushLocked()
	}
}

// QueueSuffixed implements Conn.
func (c *WebSocket) QueueSuffixed(m *Message, suffix []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing || !c.fitsLocked(m, m.suffixedLen(len(suffix))) {
		return false
	}
	if c.out == nil {
		c.out = c.server.out.get()
	}
	before := len(*c.out)
	*c.out = m.AppendSuffixed(*c.out, suffix)
	c.server.queued.Add(int64(len(*c.out) - before))
	c.flushLongLocked()
	return true
}

// fitsLocked applies the bound of the send queue: a volatile message is dropped early, any other one closes the conn.
func (c *WebSocket) fitsLocked(m *Message, size int) bool {
	bound := c.server.limits.SendQueue
	if c.waiting()-c.large+size > bound {
		c.flushLocked() // a burst between two flushes is not a slow peer
		if c.closing {
			return false
		}
	}
	backlog := c.waiting() - c.large
	switch {
	case m.Volatile && (backlog > bound/2 || c.waiting() > 0 && backlog+size > bound):
		return false
	case backlog+size <= bound:
	case size > bound && c.large == 0: // a long history: one such message at a time goes out beside the bound
		c.large = size
	default:
		c.closeLocked(CodePolicy, ReasonSlow)
		return false
	}
	return true
}

func (c *WebSocket) append(p []byte) {
	if c.out == nil {
		c.out = c.server.out.get()
	}
	*c.out = append(*c.out, p...)
	c.server.queued.Add(int64(len(p)))
}

func (c *WebSocket) waiting() int {
	if c.out == nil {
		return 0
	}
	return len(*c.out) - c.sent
}

// QueuedBytes implements Conn.
func (c *WebSocket) QueuedBytes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.waiting()
}

// Flush implements Conn.
func (c *WebSocket) Flush() {
	c.mu.Lock()
	c.flushLocked()
	c.mu.Unlock()
}

// flushLocked writes without waiting; what the kernel does not take is left to a goroutine.
func (c *WebSocket) flushLocked() {
	if c.writing || c.done || c.out == nil {
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
		n, writeErr = ignoringEINTR(func() (int, error) { return syscall.Write(int(fd), (*c.out)[c.sent:]) })
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
	if c.out != nil {
		c.writing = true
		c.server.tasks.Go(c.drain)
	}
}

// wrote accounts for n written bytes.
func (c *WebSocket) wrote(n int) {
	c.sent += n
	c.large = max(0, c.large-n)
	c.server.queued.Add(-int64(n))
	if c.sent < len(*c.out) {
		return
	}
	c.server.out.put(c.out)
	c.out, c.sent, c.large = nil, 0, 0
	if c.closing {
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
	for c.out != nil && !c.done {
		// The bytes are taken away while they are written without the lock: Queue appends to a new buffer meanwhile,
		// and the bound counts both.
		chunk := (*c.out)[c.sent:]
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
		c.compact()
	}
	c.writing = false
}

// compact forgets written bytes at the front of a long queue, so that it does not grow with what passes through.
func (c *WebSocket) compact() {
	if c.out != nil && c.sent > 0 && c.sent >= len(*c.out)/2 {
		*c.out = append((*c.out)[:0], (*c.out)[c.sent:]...)
		c.sent = 0
	}
}
