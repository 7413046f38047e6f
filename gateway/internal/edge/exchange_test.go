package edge

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// pipes is a listener in memory, for synctest: there a slow link takes no time.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.done); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// addressed is a conn of an address; a pipe has none.
type addressed struct{ net.Conn }

func (addressed) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1} }

// serve runs a handler inside a synctest bubble; dial connects to it.
func serve(t *testing.T, handler http.Handler) (dial func() net.Conn) {
	t.Helper()
	l := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	server := &http.Server{Handler: exchanges(handler), ReadHeaderTimeout: headerTimeout, IdleTimeout: time.Minute}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() {
		_ = server.Close()
		time.Sleep(3 * time.Hour) // of the bubble: whoever sleeps goes on, and ends
	})
	return func() net.Conn {
		near, far := net.Pipe()
		l.conns <- addressed{near}
		t.Cleanup(func() { _ = far.Close() })
		return far
	}
}

// send writes data so many bytes at a time.
func send(conn net.Conn, data []byte, bytes int, every time.Duration) error {
	for len(data) > 0 {
		n := min(bytes, len(data))
		if _, err := conn.Write(data[:n]); err != nil {
			return err
		}
		if data = data[n:]; len(data) > 0 {
			time.Sleep(every)
		}
	}
	return nil
}

// TestSlowBody: a body from an honest slow link arrives, however long it takes; one that trickles or stops ends with 408.
func TestSlowBody(t *testing.T) {
	for name, tc := range map[string]struct {
		size, bytes int
		every       time.Duration
		status      int
		within      time.Duration
	}{
		"750 KB at 40 KB/s":  {750_000, 4000, 100 * time.Millisecond, http.StatusRequestEntityTooLarge, time.Minute},
		"250 KB at 10 KB/s":  {250_000, 1000, 100 * time.Millisecond, http.StatusOK, time.Minute},
		"3 KB at 1 KB/s":     {3000, 1024, time.Second, http.StatusOK, time.Minute},
		"a byte each 3 s":    {200_000, 1, 3 * time.Second, http.StatusRequestTimeout, 13 * time.Second},
		"all but one byte":   {100_000, 99_999, time.Hour, http.StatusRequestTimeout, 11 * time.Second},
		"nothing at all":     {100_000, 0, time.Hour, http.StatusRequestTimeout, 11 * time.Second},
		"half a KB a second": {200_000, 512, time.Second, http.StatusRequestTimeout, 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dial := serve(t, bodyFirst(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if n, err := io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, bodyAhead)); err != nil {
						w.WriteHeader(http.StatusRequestEntityTooLarge)
					} else if n != int64(tc.size) {
						t.Errorf("%d bytes came, want %d", n, tc.size)
					}
				})))
				conn := dial()
				start := time.Now()
				_, _ = fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", tc.size)
				go func() {
					if tc.bytes > 0 {
						_ = send(conn, make([]byte, tc.size), tc.bytes, tc.every)
					}
				}()
				res, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					t.Fatalf("no answer: %v", err)
				}
				if took := time.Since(start); res.StatusCode != tc.status || took > tc.within {
					t.Errorf("status %d after %v, want %d within %v", res.StatusCode, took, tc.status, tc.within)
				}
				_ = conn.Close()
			})
		})
	}
}

// TestAnswerWithoutTheBody: who is answered before the body is there is answered at once, and the connection ends with it. A small
// body that came with its request lets it stay.
func TestAnswerWithoutTheBody(t *testing.T) {
	for name, tc := range map[string]struct {
		request string
		stays   bool
	}{
		"no body":                {"GET / HTTP/1.1\r\nHost: h\r\n\r\n", true},
		"a body of 5 that came":  {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello", true},
		"chunks that came":       {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", true},
		"a GET with a body":      {"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\nx", false},
		"a preflight with one":   {"OPTIONS / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n", false},
		"a POST":                 {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 300000\r\n\r\n", false},
		"chunks":                 {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe", false},
		"one who asks if it may": {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n", false},
	} {
		for _, writes := range []bool{true, false} {
			t.Run(fmt.Sprint(name, writes), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					dial := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
						if writes {
							_, _ = w.Write([]byte("ok"))
						}
					}))
					conn := dial()
					start := time.Now()
					if _, err := conn.Write([]byte(tc.request)); err != nil {
						t.Fatal(err)
					}
					r := bufio.NewReader(conn)
					res, err := http.ReadResponse(r, nil)
					if err != nil || res.StatusCode != http.StatusOK || time.Since(start) > 0 {
						t.Fatalf("answer %v, %v after %v, want 200 at once", res, err, time.Since(start))
					}
					_, _ = io.Copy(io.Discard, res.Body)
					if res.Close == tc.stays {
						t.Errorf("Connection: close = %v, want %v", res.Close, !tc.stays)
					}
					ended := make(chan error, 1)
					go func() { _, err := r.ReadByte(); ended <- err }()
					time.Sleep(5 * time.Second)
					select {
					case err := <-ended:
						if tc.stays || !errors.Is(err, io.EOF) {
							t.Errorf("the connection ended with %v, want it to stay: %v", err, tc.stays)
						}
					default:
						if !tc.stays {
							t.Error("the connection stays, want it closed")
						}
					}
					_ = conn.Close()
				})
			})
		}
	}
}

// TestSlowAnswer: a client on a slow link gets a long answer whole; one that takes nothing is let go.
func TestSlowAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 2 << 20
		failed := make(chan error, 2)
		dial := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, err := w.Write(bytes.Repeat([]byte("x"), size))
			failed <- err
		}))
		conn := dial()
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		got, buf := 0, make([]byte, 4000)
		for got < size {
			n, err := conn.Read(buf)
			if err != nil {
				t.Fatalf("the answer broke off after %d bytes: %v", got, err)
			}
			got += n
			time.Sleep(100 * time.Millisecond) // 40 KB/s
		}
		if err := <-failed; err != nil {
			t.Errorf("the slow answer failed: %v", err)
		}
		dead := dial()
		start := time.Now()
		_, _ = io.WriteString(dead, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		if err := <-failed; err == nil || time.Since(start) > time.Minute {
			t.Errorf("an answer that nobody takes ended with %v after %v, want an error within a minute", err, time.Since(start))
		}
		_ = conn.Close()
	})
}

// TestBodiesAreBounded: large bodies hold only so much memory together; small ones pass whatever large ones hold.
func TestBodiesAreBounded(t *testing.T) {
	t.Parallel()
	b := &bodies{most: 100 << 10}
	read := func(n int) (func(), error) {
		body, ended, release, err := b.read(strings.NewReader(strings.Repeat("x", n)), int64(n), 1<<20)
		if err == nil && (!ended || len(body) != n) {
			t.Errorf("read(%d) = %d bytes, ended %v", n, len(body), ended)
		}
		return release, err
	}
	first, err := read(80 << 10)
	if err != nil {
		t.Fatalf("read = %v, want the first one in", err)
	}
	if release, err := read(80 << 10); !errors.Is(err, errBodies) {
		t.Errorf("a second large body = %v, want %v", err, errBodies)
	} else {
		release()
	}
	small, err := read(freeBody - 1)
	if err != nil {
		t.Errorf("a small body = %v, want it in", err)
	}
	first()
	again, err := read(80 << 10)
	if err != nil {
		t.Errorf("a large body after the first = %v, want it in", err)
	}
	again()
	small()
	if held := b.held.Load(); held != 0 {
		t.Errorf("%d bytes are held in the end, want none", held)
	}
	for _, size := range []int64{-1, 1000} {
		over := iotest.DataErrReader(strings.NewReader(strings.Repeat("x", 1000))) // tells the end with the last bytes, as net/http
		_, ended, release, err := b.read(over, size, 999)
		if release(); ended || err != nil {
			t.Errorf("a body of a byte too many, announced as %d: ended %v, %v, want not", size, ended, err)
		}
	}
}
