package edge

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// handshakeWriter answers a handshake that net/http has not seen. Where it is not taken over, the connection ends with the answer, as
// it does after each refused handshake.
type handshakeWriter struct {
	front  *front
	conn   *net.TCPConn
	early  []byte // came behind the request
	header http.Header
	status int
	body   bytes.Buffer
	taken  bool // over, by Hijack
	failed bool // there is no answer
}

var (
	_ http.ResponseWriter = (*handshakeWriter)(nil)
	_ http.Hijacker       = (*handshakeWriter)(nil)
)

// Header implements http.ResponseWriter.
func (w *handshakeWriter) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *handshakeWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

// Write implements http.ResponseWriter. Answers to handshakes are short.
func (w *handshakeWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}

// SetReadDeadline and SetWriteDeadline are for http.ResponseController.
func (w *handshakeWriter) SetReadDeadline(at time.Time) error { return w.conn.SetReadDeadline(at) }

// SetWriteDeadline is the other one.
func (w *handshakeWriter) SetWriteDeadline(at time.Time) error { return w.conn.SetWriteDeadline(at) }

// Hijack implements http.Hijacker. The buffers hold what came behind the request, and nothing else.
func (w *handshakeWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if w.taken || w.status != 0 {
		return nil, nil, http.ErrHijacked
	}
	w.taken = true
	_ = w.conn.SetDeadline(time.Time{})
	w.front.conns.state(w.conn, http.StateHijacked)
	rw := bufio.NewReadWriter(bufio.NewReaderSize(bytes.NewReader(w.early), len(w.early)), bufio.NewWriterSize(w.conn, 1))
	_, _ = rw.Reader.Peek(len(w.early)) // they are there
	return w.conn, rw, nil
}

// closePatience is how long the client may take to see an answer before its connection is closed: closing it with unread bytes resets it, and
// a reset can overtake the answer.
const closePatience = 500 * time.Millisecond

// end sends the answer, unless the connection was taken over.
func (w *handshakeWriter) end() {
	if w.taken {
		return
	}
	defer w.front.conns.state(w.conn, http.StateClosed)
	defer func() { _ = w.conn.Close() }()
	if w.failed {
		return
	}
	w.WriteHeader(http.StatusOK)
	w.header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	answer := http.Response{
		StatusCode: w.status, ProtoMajor: 1, ProtoMinor: 1, Header: w.header, Close: true,
		Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()),
	}
	_ = w.conn.SetWriteDeadline(time.Now().Add(answerPatience))
	var out bytes.Buffer
	_ = answer.Write(&out) // a buffer takes everything
	if _, err := w.conn.Write(out.Bytes()); err != nil {
		return // the client is gone
	}
	_ = w.conn.CloseWrite()
	_ = w.conn.SetReadDeadline(time.Now().Add(closePatience))
	_, _ = io.CopyN(io.Discard, w.conn, maxHeader)
}

// aheadConn is a connection of which something was read before net/http has it.
type aheadConn struct {
	net.Conn // a *net.TCPConn
	open     *openConn
	latest   time.Time // until when the head of the first request is to be there

	mu      sync.Mutex // guards what follows: net/http reads from one goroutine after the other, and bounds the reading from others
	ahead   []byte
	bounded bool
}

// Read implements net.Conn.
func (c *aheadConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	if len(c.ahead) > 0 {
		defer c.mu.Unlock()
		n := copy(p, c.ahead)
		c.ahead = c.ahead[n:]
		return n, nil
	}
	c.mu.Unlock()
	return c.Conn.Read(p)
}

// SetReadDeadline implements net.Conn. The first deadline is that of the first head, whose time began before net/http knew.
func (c *aheadConn) SetReadDeadline(at time.Time) error {
	c.mu.Lock()
	if !c.bounded {
		c.bounded = true
		if !at.IsZero() && at.After(c.latest) {
			at = c.latest
		}
	}
	c.mu.Unlock()
	return c.Conn.SetReadDeadline(at)
}

// CloseWrite tells the peer that nothing more comes; net/http does so before it closes.
func (c *aheadConn) CloseWrite() error { return c.Conn.(*net.TCPConn).CloseWrite() }

// takeOver gives the connection of a WebSocket, with what was read of it: it has to be one that what waits for it knows.
func takeOver(conn net.Conn, early []byte) (net.Conn, []byte) {
	c, ok := conn.(*aheadConn)
	if !ok {
		return conn, early
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.Conn, append(early, c.ahead...)
}
