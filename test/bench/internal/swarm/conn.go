//go:build linux

package swarm

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"github.com/starling-chat/starling/test/internal/sioclient"
)

var errTruncation = errors.New("the server closed the connection")

// phase is how far a conn has come.
type phase uint8

const (
	idle        phase = iota
	connecting        // TCP
	upgrading         // the HTTP request is out
	opening           // waits for the Engine.IO open packet
	connectSent       // waits for the reply to CONNECT
	established
	closed
)

// Conn is one connection. All methods but Do and Loop belong to its loop.
type Conn struct {
	// Fixed at birth.
	Index   int // as given to Dial
	token   string
	handler Handler
	loop    *loop

	// Owned by the loop.
	dialed  time.Time
	partial []byte // an incomplete frame, nil in between
	out     []byte // not yet written, nil in between
	fd      int32
	phase   phase
	dirty   bool // out is to be flushed by the loop
	blocked bool // the kernel's buffer was full; waits for EPOLLOUT
	paused  bool // reads nothing
}

// Handler is told what happens to conns, on the loop of each.
type Handler interface {
	// Opened tells that the server let the conn in; took is the time since it was dialled.
	Opened(c *Conn, took time.Duration)
	// Event gives an event, Ack an ack. The packet's bytes are good during the call.
	Event(c *Conn, p sioclient.Packet)
	Ack(c *Conn, p sioclient.Packet)
	// Closed tells the end of a conn, or of the attempt to connect it, by anything but the swarm itself.
	Closed(c *Conn, opened bool, err error)
}

// Loop is the number of the conn's loop.
func (c *Conn) Loop() int { return c.loop.number }

// Do runs f on the conn's loop, soon; not any more once the swarm is closed.
func (c *Conn) Do(f func()) { _ = c.loop.do(f) }

// Open tells whether the conn is established.
func (c *Conn) Open() bool { return c.phase == established }

// Scratch is an empty buffer for building one packet; it is good until the next call on the same loop.
func (c *Conn) Scratch() []byte { return c.loop.scratch[:0] }

// Send sends one text frame: an Engine.IO packet. On a conn that is not open it does nothing.
func (c *Conn) Send(packet []byte) {
	if c.phase != established && c.phase != opening {
		return
	}
	c.send(ws.OpText, packet)
}

func (c *Conn) send(op ws.OpCode, payload []byte) {
	if c.out == nil {
		c.out = c.loop.spare()
	}
	c.out = sioclient.AppendFrame(c.out, op, payload, c.loop.mask())
	c.loop.counters.BytesOut.Add(int64(len(payload)))
	c.markDirty()
}

func (c *Conn) markDirty() {
	if !c.dirty && !c.blocked {
		c.dirty = true
		c.loop.dirty = append(c.loop.dirty, c)
	}
}

// flush writes what is queued.
func (c *Conn) flush() {
	c.dirty = false
	for len(c.out) > 0 && c.phase != closed {
		n, err := unix.Write(int(c.fd), c.out)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			c.wantWrite(true)
			return
		case err != nil:
			c.end(fmt.Errorf("write: %w", err))
			return
		}
		c.out = c.out[:copy(c.out, c.out[n:])]
	}
	if c.out != nil {
		c.loop.giveBack(c.out)
		c.out = nil
	}
	if c.blocked {
		c.wantWrite(false)
	}
}

func (c *Conn) wantWrite(want bool) {
	c.blocked = want
	c.watch()
}

// watch has epoll tell what the conn wants to hear of.
func (c *Conn) watch() {
	events := uint32(0)
	if !c.paused {
		events |= unix.EPOLLIN
	}
	if c.blocked {
		events |= unix.EPOLLOUT
	}
	if err := c.loop.control(unix.EPOLL_CTL_MOD, c, events); err != nil {
		c.end(fmt.Errorf("watch the socket: %w", err))
	}
}

// pausedBuffer is what the kernel is to keep for a conn that does not read, in bytes, as far as it has not taken in more already.
const pausedBuffer = 4 << 10

// Pause has an open conn read nothing until Resume, as a client would whose tab sleeps.
func (c *Conn) Pause() {
	if c.phase != established {
		return
	}
	_ = unix.SetsockoptInt(int(c.fd), unix.SOL_SOCKET, unix.SO_RCVBUF, pausedBuffer)
	c.paused = true
	c.watch()
}

// Resume reads on. The connection may have ended meanwhile.
func (c *Conn) Resume() {
	if c.paused {
		c.paused = false
		if c.phase == established {
			c.watch()
		}
	}
}

// ready handles what epoll reported.
func (c *Conn) ready(events uint32) {
	if c.phase == connecting {
		c.connected()
		return
	}
	if events&unix.EPOLLOUT != 0 && c.blocked {
		c.blocked = false
		c.flush()
		if c.phase != closed && !c.blocked {
			c.wantWrite(false)
		}
	}
	if events&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR) != 0 && c.phase != closed {
		c.read()
	}
}

func (c *Conn) connected() {
	code, err := unix.GetsockoptInt(int(c.fd), unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && code != 0 {
		err = unix.Errno(code)
	}
	if err != nil {
		c.end(fmt.Errorf("connect: %w", err))
		return
	}
	c.phase = upgrading
	c.blocked = true // EPOLLOUT is being watched since the dial
	c.out = append(c.loop.spare(), c.loop.swarm.requests[c.Index%len(c.loop.swarm.requests)]...)
	c.flush()
}

// read takes one buffer full; epoll is level-triggered and calls again for more.
func (c *Conn) read() {
	buf := c.loop.in
	have := copy(buf, c.partial)
	n, err := unix.Read(int(c.fd), buf[have:])
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return
	case err != nil:
		c.end(fmt.Errorf("read: %w", err))
		return
	case n == 0:
		c.end(errTruncation)
		return
	}
	c.loop.counters.BytesIn.Add(int64(n))
	rest, err := c.consume(buf[:have+n])
	if err != nil {
		c.end(err)
	}
	if c.phase == closed {
		return
	}
	if len(rest) == 0 {
		c.partial = nil
		return
	}
	c.partial = append(c.partial[:0], rest...)
}

func (c *Conn) consume(b []byte) (rest []byte, err error) {
	if c.phase == upgrading {
		if b, err = c.upgraded(b); err != nil || c.phase == upgrading {
			return b, err
		}
	}
	for c.phase != closed {
		f, rest, ok, err := sioclient.CutFrame(b, readBuffer-maxHeader)
		if err != nil || !ok {
			return rest, err
		}
		b = rest
		c.loop.counters.Frames.Add(1)
		if err := c.frame(f); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

const (
	headerEnd = "\r\n\r\n"
	status101 = "HTTP/1.1 101 "
)

// upgraded reads the answer to the WebSocket handshake.
func (c *Conn) upgraded(b []byte) (rest []byte, err error) {
	before, after, ok := bytes.Cut(b, []byte(headerEnd))
	if !ok {
		return b, nil
	}
	if !bytes.HasPrefix(b, []byte(status101)) {
		line, _, _ := bytes.Cut(b, []byte("\r\n"))
		return nil, fmt.Errorf("handshake refused: %q", line)
	}
	if !bytes.Contains(before, []byte(acceptValue)) {
		return nil, errors.New("handshake refused: wrong Sec-WebSocket-Accept")
	}
	c.phase = opening
	return after, nil
}

func (c *Conn) frame(f sioclient.Frame) error {
	switch f.Op {
	case ws.OpText:
		return c.packet(f.Payload)
	case ws.OpPing:
		c.send(ws.OpPong, f.Payload)
		return nil
	case ws.OpPong:
		return nil
	case ws.OpClose:
		return sioclient.CloseError(f.Payload)
	default:
		return fmt.Errorf("unexpected frame with opcode %d", f.Op)
	}
}

// packet handles one Engine.IO packet. Packets of other namespaces and such with attachments are not of interest.
func (c *Conn) packet(b []byte) error {
	p, err := sioclient.Parse(b)
	if err != nil {
		return err
	}
	switch p.Kind {
	case sioclient.Event:
		c.handler.Event(c, p)
	case sioclient.Ack:
		if len(p.Body) > 0 && p.Body[0] == '[' {
			c.handler.Ack(c, p)
		}
	case sioclient.Ping:
		c.send(ws.OpText, []byte(sioclient.Pong))
	case sioclient.Open:
		if c.phase != opening {
			return errors.New("second Engine.IO open packet")
		}
		c.Send(sioclient.AppendConnect(c.Scratch(), sioclient.Auth{Token: c.token, Inbox: c.loop.swarm.inbox}))
		c.phase = connectSent
	case sioclient.Connect:
		if c.phase == connectSent {
			c.phase = established
			c.loop.handshakeEnded()
			c.loop.counters.Open.Add(1)
			c.handler.Opened(c, time.Since(c.dialed))
		}
	case sioclient.ConnectError:
		return fmt.Errorf("refused: %s", p.Body)
	case sioclient.Disconnect:
		return errors.New("disconnected by the server")
	case sioclient.Close:
		return errors.New("closed by the server: Engine.IO close")
	default:
	}
	return nil
}

// end closes a conn that failed and tells its handler.
func (c *Conn) end(err error) {
	if c.phase == closed {
		return
	}
	opened := c.phase == established
	c.Reset()
	c.handler.Closed(c, opened, err)
}

// Reset drops the connection at once, with a TCP reset so that no port is held in TIME_WAIT. The handler is not told.
func (c *Conn) Reset() {
	if c.phase == closed || c.phase == idle {
		c.phase = closed
		return
	}
	if c.phase == established {
		c.loop.counters.Open.Add(-1)
	} else {
		c.loop.handshakeEnded()
	}
	c.phase = closed
	_ = unix.SetsockoptLinger(int(c.fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	c.loop.conns[c.fd] = nil
	_ = unix.Close(int(c.fd))
	c.partial, c.out, c.paused = nil, nil, false
}
