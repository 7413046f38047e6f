package load

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/gobwas/ws"
)

const (
	dialTimeout  = 5 * time.Second // for TCP, the WebSocket handshake and the open packet together
	writeTimeout = 5 * time.Second // a peer that takes nothing for so long is gone
	maxFrame     = 64 << 20        // far above what the gateway may send
	slowBuffer   = 4 << 10         // kernel buffer of a slow client: its sender feels it soon
)

// link carries Engine.IO packets. read belongs to one goroutine; write, reset and close may be called by any.
type link interface {
	// read gives the next packet; its bytes are good until the next call. It fails at the deadline.
	read(deadline time.Time) ([]byte, error)
	write(packet []byte) error
	// reset drops the transport at once, by TCP reset; close says goodbye where that is possible.
	reset()
	close()
}

// webSocket is a link by WebSocket.
type webSocket struct {
	conn   net.Conn
	reader *bufio.Reader
	buf    []byte

	mu sync.Mutex // guards writing
}

func dialWebSocket(ctx context.Context, gateway string, slow bool) (*webSocket, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	dialer := ws.Dialer{
		NetDial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			var d net.Dialer
			if slow {
				d.Control = smallBuffer
			}
			return d.DialContext(ctx, network, addr)
		},
	}
	conn, reader, _, err := dialer.Dial(ctx, "ws://"+gateway+"/socket.io/?EIO=4&transport=websocket")
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	if reader == nil {
		reader = bufio.NewReader(conn)
	}
	return &webSocket{conn: conn, reader: reader}, nil
}

func (w *webSocket) read(deadline time.Time) ([]byte, error) {
	if err := w.conn.SetReadDeadline(deadline); err != nil {
		return nil, err
	}
	for {
		header, err := ws.ReadHeader(w.reader)
		if err != nil {
			return nil, err
		}
		if header.Masked || header.Rsv != 0 || !header.Fin || header.Length > maxFrame {
			return nil, fmt.Errorf("unexpected frame: %+v", header)
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
			if err := w.frame(ws.NewPongFrame(w.buf)); err != nil {
				return nil, err
			}
		case ws.OpPong:
		case ws.OpClose:
			return nil, closedByServer(w.buf)
		default:
			return nil, fmt.Errorf("unexpected opcode %d", header.OpCode)
		}
	}
}

// smallBuffer comes before the connection: the window that is offered then follows from it.
func smallBuffer(_, _ string, raw syscall.RawConn) error {
	var failed error
	if err := raw.Control(func(fd uintptr) {
		failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, slowBuffer)
	}); err != nil {
		return err
	}
	return failed
}

func closedByServer(payload []byte) error {
	if len(payload) < 2 {
		return errors.New("closed by the server")
	}
	return fmt.Errorf("closed by the server: %d %s", binary.BigEndian.Uint16(payload), payload[2:])
}

func (w *webSocket) write(packet []byte) error { return w.frame(ws.NewTextFrame(packet)) }

func (w *webSocket) frame(f ws.Frame) error {
	b, err := ws.CompileFrame(ws.MaskFrame(f))
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	_, err = w.conn.Write(b)
	return err
}

func (w *webSocket) reset() { resetTCP(w.conn) }

func (w *webSocket) close() {
	_ = w.frame(ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusNormalClosure, "")))
	_ = w.conn.Close()
}

// resetTCP ends a connection without a goodbye.
func resetTCP(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
