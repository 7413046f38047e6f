package edge

import (
	"bufio"
	"context"
	"crypto/tls"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
)

// TestTLS: a WebSocket and polling work over TLS, and a WebSocket that is closed ends for its client.
func TestTLS(t *testing.T) {
	plain, _ := newEdge(t, nil)
	front := httptest.NewUnstartedServer(nil)
	front.Config = plain.Config // with its limits and its count of connections
	front.StartTLS()
	defer front.Close()
	ctx, cancel := context.WithTimeout(t.Context(), sessiontest.Patience)
	defer cancel()
	dialer := ws.Dialer{TLSConfig: &tls.Config{InsecureSkipVerify: true}}
	conn, early, _, err := dialer.Dial(ctx, "wss"+strings.TrimPrefix(front.URL, "https")+"/socket.io/?EIO=4&transport=websocket")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // a test
	_ = conn.SetDeadline(time.Now().Add(sessiontest.Patience))
	from := reading{conn, early}
	first, _, err := wsutil.ReadServerData(from)
	if err != nil || !strings.HasPrefix(string(first), `0{"sid":`) {
		t.Fatalf("the first packet = %q, %v, want an open packet", first, err)
	}
	if err := wsutil.WriteClientText(conn, []byte("1")); err != nil { // an Engine.IO close
		t.Fatal(err)
	}
	for err == nil {
		_, _, err = wsutil.ReadServerData(from)
	}
	if closed, ok := err.(wsutil.ClosedError); !ok || closed.Code != ws.StatusNormalClosure { //nolint:errorlint // it is not wrapped
		t.Errorf("after the client's close packet: %v, want a close frame with 1000", err)
	}
}

// reading reads first what came together with the answer to the handshake.
type reading struct {
	net.Conn
	early *bufio.Reader
}

func (r reading) Read(b []byte) (int, error) {
	if r.early != nil {
		return r.early.Read(b)
	}
	return r.Conn.Read(b)
}

// TestSecureConnEndsAtOnce: a TLS connection whose peer does not read ends without waiting for it.
func TestSecureConnEndsAtOnce(t *testing.T) {
	files := httptest.NewUnstartedServer(nil)
	files.StartTLS()
	certificate := files.TLS.Certificates[0]
	files.Close()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close() //nolint:errcheck // a test
	for name, end := range map[string]func(c *tls.Conn) error{
		"Close":      func(c *tls.Conn) error { return secureConn{c}.Close() },
		"CloseWrite": func(c *tls.Conn) error { return secureConn{c}.CloseWrite() },
		"tcpOf":      func(c *tls.Conn) error { return tcpOf(c).Close() },
	} {
		client := make(chan net.Conn, 1)
		go func() {
			c, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}).DialContext(t.Context(), "tcp", listener.Addr().String())
			if err != nil {
				t.Error(err)
			}
			client <- c
		}()
		raw, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		full := &counting{Conn: raw}
		conn := tls.Server(full, &tls.Config{Certificates: []tls.Certificate{certificate}})
		if err := conn.Handshake(); err != nil {
			t.Fatal(err)
		}
		peer := <-client
		full.writes = 0
		if err := end(conn); err != nil {
			t.Errorf("%s = %v", name, err)
		}
		if full.writes > 0 {
			t.Errorf("%s writes to the peer, which may not read", name)
		}
		_ = conn.Close()
		_ = peer.Close()
	}
}

// counting counts what is written.
type counting struct {
	net.Conn
	writes int
}

func (c *counting) Write(b []byte) (int, error) {
	c.writes++
	return c.Conn.Write(b)
}

// CloseWrite is that of TCP.
func (c *counting) CloseWrite() error { return c.Conn.(*net.TCPConn).CloseWrite() }
