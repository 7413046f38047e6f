package cluster

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/starling-chat/starling/test/internal/launch"
)

func TestDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "disk")
	disk, err := mountDisk(dir, 8<<20)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() {
		if err := disk.unmount(); err != nil {
			t.Error(err)
		}
	})
	file := filepath.Join(dir, "file")
	megabyte := make([]byte, 1<<20)
	write := func() error { return os.WriteFile(file, megabyte, 0o600) }
	if err := write(); err != nil {
		t.Fatal(err)
	}
	megabyte = append(megabyte, megabyte...)
	if err := disk.Fill(); err != nil {
		t.Fatal(err)
	}
	if err := write(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("write to a full disk = %v, want ENOSPC", err)
	}
	if err := disk.Free(); err != nil {
		t.Fatal(err)
	}
	if err := write(); err != nil {
		t.Errorf("write after Free = %v, want nil", err)
	}
}

// echo answers every connection with what it says.
func echo(t *testing.T) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(conn, conn)
				_ = conn.Close()
			}()
		}
	}()
	return listener.Addr().String()
}

// TestStall: nothing arrives meanwhile, and all of it afterwards; another link is not touched.
func TestStall(t *testing.T) {
	links := newLinks(launch.NewPorts())
	t.Cleanup(func() { _ = links.stop(t.Context()) })
	upstream := echo(t)
	var conns []net.Conn
	for _, from := range []string{"a", "b"} {
		address, err := links.add(from, "echo", upstream)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		conns = append(conns, conn)
	}
	say := func(conn net.Conn, wait time.Duration) error {
		word := []byte("hello")
		if _, err := conn.Write(word); err != nil {
			return err
		}
		return hear(conn, word, wait)
	}
	for _, conn := range conns {
		if err := say(conn, 30*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	heal, err := links.Disturb("a>*", Toxic{Type: "stall"})
	if err != nil {
		t.Fatal(err)
	}
	if err := say(conns[0], 200*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("echo over a stalled link = %v, want none", err)
	}
	if err := say(conns[1], 30*time.Second); err != nil {
		t.Errorf("echo over the other link = %v, want nil", err)
	}
	heal()
	if err := hear(conns[0], []byte("hello"), 30*time.Second); err != nil {
		t.Errorf("echo after the stall = %v, want nil", err)
	}
	if _, err := links.Disturb("c>*", Toxic{Type: "stall"}); err == nil {
		t.Error("Disturb of no link = nil, want an error")
	}
}

func hear(conn net.Conn, want []byte, wait time.Duration) error {
	if err := conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return err
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return errors.New("heard something else: " + string(got))
	}
	return nil
}
