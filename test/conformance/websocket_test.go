package conformance

import (
	"bufio"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// socket is a WebSocket spoken by hand, so that it can say what no client library would.
type socket struct {
	conn    net.Conn
	packets chan string // whole messages; a binary one as "b" and base64, the form that polling has
	ended   chan struct{}
	code    int // the close code, 0 without a close frame; read it after ended
}

// dial opens a WebSocket; it is closed at the end of the test.
func dial(t *testing.T, e endpoint, sid string) *socket {
	t.Helper()
	host, target := e.webSocket(sid)
	s, res := upgrade(t, host, target)
	if s == nil {
		t.Fatalf("upgrade %s = %d, want 101", target, res.status)
	}
	return s
}

// upgrade asks for a WebSocket; without one it gives the answer.
func upgrade(t *testing.T, host, target string) (*socket, answer) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", host, patience)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_, _ = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", target, host)
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatalf("upgrade %s: %v", target, err)
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		body, _ := io.ReadAll(res.Body)
		return nil, answer{res.StatusCode, res.Header, string(body)}
	}
	_ = conn.SetReadDeadline(time.Time{})
	s := &socket{conn: conn, packets: make(chan string, 1000), ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		defer close(s.packets)
		for {
			if err := s.read(in); err != nil {
				return
			}
		}
	}()
	return s, answer{}
}

var errClosed = errors.New("close frame")

// read takes one frame. Servers neither mask nor, here, fragment.
func (s *socket) read(in *bufio.Reader) error {
	var head [2]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return err
	}
	size := uint64(head[1] & 0x7f)
	var long [8]byte
	switch size {
	case 126:
		if _, err := io.ReadFull(in, long[6:]); err != nil {
			return err
		}
		size = binary.BigEndian.Uint64(long[:])
	case 127:
		if _, err := io.ReadFull(in, long[:]); err != nil {
			return err
		}
		size = binary.BigEndian.Uint64(long[:])
	}
	payload := make([]byte, size)
	if _, err := io.ReadFull(in, payload); err != nil {
		return err
	}
	switch head[0] {
	case 0x81:
		s.packets <- string(payload)
	case 0x82:
		s.packets <- "b" + base64.StdEncoding.EncodeToString(payload)
	case 0x88:
		if len(payload) >= 2 {
			s.code = int(binary.BigEndian.Uint16(payload))
		}
		return errClosed
	}
	return nil
}

func (s *socket) send(packets ...string) {
	for _, p := range packets {
		s.frame(0x81, []byte(p))
	}
}

func (s *socket) sendBinary(raw []byte) { s.frame(0x82, raw) }

// frame writes one masked frame; the mask is zero.
func (s *socket) frame(first byte, payload []byte) {
	out := []byte{first}
	switch n := len(payload); {
	case n < 126:
		out = append(out, 0x80|byte(n))
	case n <= 0xffff:
		out = binary.BigEndian.AppendUint16(append(out, 0x80|126), uint16(n))
	default:
		out = binary.BigEndian.AppendUint64(append(out, 0x80|127), uint64(n))
	}
	out = append(append(out, 0, 0, 0, 0), payload...)
	_, _ = s.conn.Write(out) // the reader notices a closed connection
}

// next gives the next message, heartbeats included.
func (s *socket) next(t *testing.T) string {
	t.Helper()
	select {
	case p, ok := <-s.packets:
		if !ok {
			t.Fatalf("socket closed with code %d, want a message", s.code)
		}
		return p
	case <-time.After(patience):
		t.Fatalf("no message within %v", patience)
	}
	return ""
}

// waitClosed waits for the end and gives the close code.
func (s *socket) waitClosed(t *testing.T) int {
	t.Helper()
	for late := time.After(patience); ; {
		select {
		case <-s.ended:
			return s.code
		case <-s.packets:
		case <-late:
			t.Fatalf("socket still open after %v", patience)
		}
	}
}
