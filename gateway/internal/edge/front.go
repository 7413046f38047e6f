package edge

import (
	"bufio"
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/starling-chat/starling/gateway/internal/engineio"
)

// front is the listener that net/http accepts from, and takes handshakes of new WebSockets out on the way: net/http leaves 12 KiB of buffers behind for each
// connection that is taken over from it, and reads ahead with a goroutine that has to be stopped first. All others are handed on with what was
// read of them, and so is everything that is unusual, for net/http to judge:
//
//	accept ──► first read ──a plain handshake, whole──► the same handler that net/http calls
//	                 └─────anything else──► Accept ──► net/http
//
// The bounds of connections, of time, and all rules are those of net/http's way: openConns counts a connection once, and headerTimeout
// begins when it is accepted.
type front struct {
	net.Listener // what it accepts from

	// Fixed at birth.
	conns   *openConns
	handler http.Handler
	path    string // of Socket.IO
	log     *slog.Logger
	heads   sync.Pool // *head
	others  chan accepted
	closed  chan struct{}
	started sync.Once
	stopped sync.Once

	taken atomic.Int64   // handshakes that net/http did not see
	tasks sync.WaitGroup // connections that are looked at, or served

	mu     sync.Mutex // guards what follows
	silent map[net.Conn]struct{}
}

// accepted is what Accept gives.
type accepted struct {
	conn net.Conn
	err  error
}

// headRead is how much the first read takes in: longer heads are net/http's.
const headRead = 4 << 10

// head is what one first read needs.
type head struct {
	raw    [headRead]byte
	source bytes.Reader
	buffer *bufio.Reader
}

func newFront(l net.Listener, conns *openConns, handler http.Handler, path string, log *slog.Logger) *front {
	f := &front{
		Listener: l, conns: conns, handler: handler, path: path, log: log,
		others: make(chan accepted), closed: make(chan struct{}), silent: make(map[net.Conn]struct{}),
	}
	f.heads.New = func() any { h := &head{}; h.buffer = bufio.NewReaderSize(&h.source, headRead); return h }
	return f
}

// Accept gives what net/http is to serve.
func (f *front) Accept() (net.Conn, error) {
	f.started.Do(func() { f.tasks.Go(f.accept) })
	select {
	case a := <-f.others:
		return a.conn, a.err
	case <-f.closed:
		return nil, net.ErrClosed
	}
}

// Close stops accepting, and ends the connections that have said nothing yet. Others are served; Wait waits for them.
func (f *front) Close() error {
	err := f.Listener.Close()
	f.stopped.Do(func() { close(f.closed) })
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.silent {
		_ = c.Close()
	}
	return err
}

// Wait returns when nothing is looked at or served here any more.
func (f *front) Wait() { f.tasks.Wait() }

func (f *front) accept() {
	for {
		conn, err := f.Listener.Accept()
		if tcp, ok := conn.(*net.TCPConn); err == nil && ok {
			f.tasks.Go(func() { f.look(tcp) })
			continue
		}
		if !f.handOn(accepted{conn, err}) { // net/http waits a little after an error, and so does this
			return
		}
	}
}

// handOn gives something to net/http, if that is still there.
func (f *front) handOn(a accepted) bool {
	select {
	case f.others <- a:
		return true
	case <-f.closed:
		if a.conn != nil {
			_ = a.conn.Close()
		}
		return false
	}
}

// look reads once, and decides who serves a connection.
func (f *front) look(conn *net.TCPConn) {
	accepted := time.Now()
	open, refused := f.conns.add(conn)
	if refused != "" {
		_ = conn.Close() // there is nobody to tell
		f.conns.refused(refused)
		return
	}
	open.waits(true)
	h := f.heads.Get().(*head)
	defer f.heads.Put(h)
	n := f.first(conn, h, accepted)
	if n == 0 {
		_ = conn.Close()
		f.conns.state(conn, http.StateClosed)
		return
	}
	open.waits(false)
	if r, early := f.plain(h, n); r != nil {
		f.taken.Add(1)
		f.serve(conn, open, r, early)
		return
	}
	other := &aheadConn{Conn: conn, open: open, ahead: bytes.Clone(h.raw[:n]), latest: accepted.Add(headerTimeout)}
	if !f.handOn(acceptedConn(other)) {
		f.conns.state(conn, http.StateClosed)
	}
}

func acceptedConn(c net.Conn) accepted { return accepted{conn: c} }

// first makes the first read: 0 bytes when the connection ends, or says nothing in time.
func (f *front) first(conn *net.TCPConn, h *head, accepted time.Time) int {
	if !f.setSilent(conn) {
		return 0
	}
	_ = conn.SetReadDeadline(accepted.Add(headerTimeout))
	n, err := conn.Read(h.raw[:])
	f.mu.Lock()
	delete(f.silent, conn)
	f.mu.Unlock()
	if err != nil {
		return 0
	}
	return n
}

// setSilent notes that a connection has said nothing yet; it reports false after Close.
func (f *front) setSilent(conn net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.closed:
		return false
	default:
		f.silent[conn] = struct{}{}
		return true
	}
}

// plain is the request that n bytes of a head hold, if that is a whole handshake of a new WebSocket as clients and proxies usually write it, and
// what came behind it.
func (f *front) plain(h *head, n int) (r *http.Request, early []byte) {
	const end = "\r\n\r\n"
	at := bytes.Index(h.raw[:n], []byte(end))
	if at < 0 || !usual(h.raw[:at]) {
		return nil, nil
	}
	h.source.Reset(h.raw[:at+len(end)])
	h.buffer.Reset(&h.source)
	r, err := http.ReadRequest(h.buffer)
	switch {
	case err != nil, r.Method != http.MethodGet, r.Proto != "HTTP/1.1", r.ContentLength != 0, len(r.TransferEncoding) > 0:
		return nil, nil
	case !strings.HasPrefix(r.RequestURI, "/"), r.URL.Path != f.path, r.Header.Get("Expect") != "", !isUpgrade(r):
		return nil, nil
	case engineio.ParseQuery(r.URL.RawQuery).SID != "": // of a session that there is, maybe at another gateway
		return nil, nil
	}
	return r, bytes.Clone(h.raw[at+len(end) : n])
}

// usual tells whether the lines of a head have nothing about them that servers see differently: printed bytes alone, names that are tokens, no line
// that goes on in the next one, and one host, of what names and addresses consist of.
func usual(raw []byte) bool {
	hosts, first := 0, true
	for line := range bytes.SplitSeq(raw, []byte("\r\n")) {
		for _, c := range line {
			if c < ' ' || c >= 0x7f {
				return false
			}
		}
		if first { // the request's
			first = false
			continue
		}
		name, value, found := bytes.Cut(line, []byte(":"))
		if !found || !isToken(string(name)) {
			return false
		}
		if bytes.EqualFold(name, []byte("host")) {
			hosts++
			if host := bytes.TrimSpace(value); len(host) == 0 || bytes.ContainsFunc(host, notOfHost) {
				return false
			}
		}
	}
	return hosts == 1
}

func notOfHost(c rune) bool {
	return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune(".-:[]_", c)
}

// serve has the handler answer a handshake.
func (f *front) serve(conn *net.TCPConn, open *openConn, r *http.Request, early []byte) {
	ctx, cancel := context.WithCancel(context.WithValue(r.Context(), openConnKey{}, open)) // that of a request which was just read: no other's
	defer cancel()
	r = r.WithContext(ctx)
	r.RemoteAddr = conn.RemoteAddr().String()
	_ = conn.SetReadDeadline(time.Time{})
	w := &handshakeWriter{front: f, conn: conn, early: early, header: make(http.Header)}
	defer w.end()
	defer func() {
		if p := recover(); p != nil {
			w.failed = true
			f.log.LogAttrs(ctx, slog.LevelError, "panic in a handshake", slog.Any("panic", p))
		}
	}()
	f.handler.ServeHTTP(w, r)
}
