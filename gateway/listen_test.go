package gateway

import (
	"net"
	"syscall"
	"testing"
)

// TestSendBuffer: connections that are accepted have the kernel's send buffer as set, and that of the kernel where nothing is set.
func TestSendBuffer(t *testing.T) {
	t.Parallel()
	const size = 16 << 10
	usual := accepted(t, Config{})
	if got := accepted(t, Config{Limits: Limits{SendBuffer: size}}); got != 2*size || usual == got {
		t.Errorf("send buffer = %d bytes with %d set and %d without, want twice what is set", got, size, usual)
	}
}

// accepted is the send buffer of a connection to a listener with those settings, bytes.
func accepted(t *testing.T, cfg Config) (size int) {
	t.Helper()
	cfg.Listen.Addr = "127.0.0.1:0"
	l, err := listen(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	client, err := new(net.Dialer).DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if e := raw.Control(func(fd uintptr) { size, err = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF) }); e != nil || err != nil {
		t.Fatal(e, err)
	}
	return size
}
