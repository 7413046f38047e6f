package edge

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
)

func TestTooManyRequests(t *testing.T) {
	t.Parallel()
	serving, finish := make(chan struct{}), make(chan struct{})
	front := httptest.NewServer(bounded(1, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { serving <- struct{}{}; <-finish })))
	defer front.Close()
	first := make(chan int)
	go func() {
		res, _ := ask(t, http.MethodGet, front.URL, "")
		first <- res.StatusCode
	}()
	<-serving
	res, body := ask(t, http.MethodGet, front.URL, "")
	if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") != "1" {
		t.Errorf("second request of one = %d %s, Retry-After %q, want 503 and 1", res.StatusCode, body, res.Header.Get("Retry-After"))
	}
	close(finish)
	if code := <-first; code != http.StatusOK {
		t.Errorf("request within the bound = %d, want 200", code)
	}
}

// TestTooManyConnections: connections beyond what the descriptors allow are closed, and when one ends there is room again.
func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	conns := &openConns{most: 1, sessions: sessiontest.Server(t, silent{}, sessiontest.Config(), sessiontest.Stats()), conns: map[net.Conn]struct{}{}}
	front := httptest.NewUnstartedServer(http.NotFoundHandler())
	ended := make(chan struct{}, spareSockets+2)
	front.Config.ConnState = func(c net.Conn, s http.ConnState) {
		conns.state(c, s)
		if s == http.StateClosed {
			ended <- struct{}{}
		}
	}
	front.Start()
	defer front.Close()
	connect := func() net.Conn {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", front.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	answered := func(conn net.Conn) bool {
		_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: h\r\n\r\n") // it may be closed already
		n, err := conn.Read(make([]byte, 1))
		return n == 1 && err == nil
	}
	open := make([]net.Conn, 0, spareSockets+1)
	for range spareSockets + 1 {
		conn := connect()
		if !answered(conn) {
			t.Fatalf("connection %d is closed, want %d", len(open)+1, spareSockets+1)
		}
		open = append(open, conn)
	}
	if answered(connect()) {
		t.Error("a connection beyond the bound is served, want it closed")
	}
	<-ended
	_ = open[0].Close()
	<-ended
	if !answered(connect()) {
		t.Error("a connection is refused when another one has ended, want it served")
	}
}

// TestSlowBody: a request whose body does not come ends; without the deadline it would hold its goroutine for ever.
func TestSlowBody(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes as long as a body may")
	}
	front, _ := newEdge(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), bodyTimeout+30*time.Second)
	defer cancel()
	reader, writer := io.Pipe()
	defer func() { _ = writer.Close() }()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, front.URL+"/api/v1/rooms/r/messages", reader)
	if err != nil {
		t.Fatal(err)
	}
	r.ContentLength = 10
	r.Header.Set("X-Api-Key", "key")
	if res, err := http.DefaultClient.Do(r); err == nil {
		_ = res.Body.Close()
	}
	if ctx.Err() != nil {
		t.Errorf("request without its body is still open after %v", bodyTimeout+30*time.Second)
	}
}
