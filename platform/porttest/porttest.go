// Package porttest gives tests an address for somebody who listens later, who comes back to it, or who is never there.
package porttest

import (
	"net/netip"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
)

// Reserve gives an address of this machine (127.0.0.1:port) at which nobody listens. Whoever names it may listen at it, again and again.
// Until the test ends the kernel gives the port to nobody who asks for any free one, and to no outgoing connection: a port that was
// merely found free may belong to another test by the time it is wanted.
//
// A socket holds it that is bound and does not listen. That another one may be bound beside it is known of Linux; elsewhere the port
// is only found free.
func Reserve(t testing.TB) string {
	t.Helper()
	syscall.ForkLock.RLock()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(os.NewSyscallError("socket", err))
	}
	release := sync.OnceFunc(func() { _ = syscall.Close(fd) })
	t.Cleanup(release)
	// As net.Listen does it: sockets share an address where all of them say so and none of them listens yet.
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		t.Fatal(os.NewSyscallError("setsockopt", err))
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(os.NewSyscallError("bind", err))
	}
	bound, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(os.NewSyscallError("getsockname", err))
	}
	if runtime.GOOS != "linux" {
		release()
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(bound.(*syscall.SockaddrInet4).Port)).String() //nolint:gosec // a port
}
