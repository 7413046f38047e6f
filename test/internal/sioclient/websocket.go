package sioclient

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/gobwas/ws"
)

// webSocket is a Link by WebSocket.
type webSocket struct {
	conn net.Conn

	// Owned by the goroutine that reads.
	reader *bufio.Reader
	buf    []byte

	mu  sync.Mutex // guards writing
	out []byte     // guarded by mu: the frame that is being written
}

var _ Link = (*webSocket)(nil)

// DialWebSocket opens a WebSocket to host:port. A receiveBuffer above 0 is the size of the kernel's buffer in bytes: the sender
// feels it soon when nothing is read.
func DialWebSocket(ctx context.Context, address string, receiveBuffer int) (Link, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	dialer := ws.Dialer{
		NetDial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			var d net.Dialer
			if receiveBuffer > 0 {
				d.Control = limitBuffer(receiveBuffer)
			}
			return d.DialContext(ctx, network, addr)
		},
	}
	conn, reader, _, err := dialer.Dial(ctx, "ws://"+address+Path+"websocket")
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	if reader == nil {
		reader = bufio.NewReader(conn)
	}
	return &webSocket{conn: conn, reader: reader}, nil
}

// limitBuffer sets the kernel's buffer before the connection exists: the window that TCP offers follows from it.
func limitBuffer(size int) func(network, address string, raw syscall.RawConn) error {
	return func(_, _ string, raw syscall.RawConn) error {
		var failed error
		if err := raw.Control(func(fd uintptr) {
			failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, size)
		}); err != nil {
			return err
		}
		return failed
	}
}

// Read implements Link. It answers WebSocket pings itself.
func (w *webSocket) Read(deadline time.Time) ([]byte, error) {
	if err := w.conn.SetReadDeadline(deadline); err != nil {
		return nil, err
	}
	for {
		header, err := ws.ReadHeader(w.reader)
		if err != nil {
			return nil, err
		}
		switch {
		case header.Masked:
			return nil, errMasked
		case header.Rsv != 0 || !header.Fin:
			return nil, errFragment
		case header.Length > maxFrame:
			return nil, errFrameSize
		}
		if int64(cap(w.buf)) < header.Length {
			w.buf = make([]byte, header.Length)
		}
		w.buf = w.buf[:header.Length]
		if _, err := io.ReadFull(w.reader, w.buf); err != nil {
			return nil, err
		}
		switch header.OpCode {
		case ws.OpText:
			return w.buf, nil
		case ws.OpPing:
			if err := w.write(ws.OpPong, w.buf); err != nil {
				return nil, err
			}
		case ws.OpPong:
		case ws.OpClose:
			return nil, CloseError(w.buf)
		default:
			return nil, fmt.Errorf("unexpected opcode %d", header.OpCode)
		}
	}
}

// Write implements Link.
func (w *webSocket) Write(packet []byte) error { return w.write(ws.OpText, packet) }

func (w *webSocket) write(op ws.OpCode, payload []byte) error {
	var mask [4]byte
	binary.NativeEndian.PutUint32(mask[:], rand.Uint32()) //nolint:gosec // a mask hides nothing
	w.mu.Lock()
	defer w.mu.Unlock()
	w.out = AppendFrame(w.out[:0], op, payload, mask)
	if err := w.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	_, err := w.conn.Write(w.out)
	return err
}

// Reset implements Link.
func (w *webSocket) Reset() { resetTCP(w.conn) }

// Close implements Link.
func (w *webSocket) Close() {
	_ = w.write(ws.OpClose, ws.NewCloseFrameBody(ws.StatusNormalClosure, ""))
	_ = w.conn.Close()
}
