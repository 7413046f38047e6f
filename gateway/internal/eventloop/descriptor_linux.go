package eventloop

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// Descriptor is the descriptor of a connection, and says who is at it. Who has news for the reader (a loop, or whoever calls Wake) starts one,
// unless one is at it, which then sees the news before it ends:
//
//	                 news                   news: look again
//	no reader ───────────► running ◄──────────────────────┐
//	     ▲                    │ read, and what follows ───┘
//	     └──── LetGo ─────────┘
//
// So there is one reader at most. The reader alone closes the descriptor, when it is out of the loop's table and nobody writes any more; it
// does not let go after that.
type Descriptor struct {
	number     int32
	generation int32 // set by the loop that has it
	state      atomic.Uint32
}

// The bits of a Descriptor's state.
const (
	bitRunning  uint32 = 1 << iota // somebody reads, or the descriptor is closed
	bitNews                        // the reader is to look again before it lets go
	bitReadable                    // something has come since the last read
	bitHungUp                      // the peer has closed: reading is to go on up to that
	bitFull                        // the kernel took no more; whoever clears it when it does is to write
)

// Detach takes the descriptor out of the hands of package net, which keeps several hundred bytes for one: of the two that there are for a
// moment the copy stays. A type that stands on one of package net's may have read ahead, or speak TLS, and is left alone; so is any
// connection when the process can have no more descriptors.
func Detach(conn net.Conn) (number int, ok bool) {
	var owner syscall.Conn
	switch c := conn.(type) {
	case *net.TCPConn:
		owner = c
	case *net.UnixConn:
		owner = c
	default:
		return 0, false
	}
	raw, err := owner.SyscallConn()
	if err != nil {
		return 0, false
	}
	var refused error
	err = raw.Control(func(of uintptr) { number, refused = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0) })
	if err != nil || refused != nil {
		return 0, false
	}
	_ = conn.Close()
	return number, true
}

// Hold makes it the descriptor with a number, which nobody else is to read before LetGo.
func (d *Descriptor) Hold(number int) {
	d.number = int32(number) //nolint:gosec // a descriptor is small
	d.state.Store(bitRunning)
}

// Happened notes what a loop tells. read asks for a reader to be started, write for what did not fit to be written. It never waits.
func (d *Descriptor) Happened(events uint32) (read, write bool) {
	if events&unix.EPOLLOUT != 0 && d.state.Load()&bitFull != 0 {
		write = d.state.And(^bitFull)&bitFull != 0
	}
	switch {
	case events&(unix.EPOLLRDHUP|unix.EPOLLHUP) != 0:
		read = d.news(bitReadable | bitHungUp)
	case events&(unix.EPOLLIN|unix.EPOLLERR) != 0:
		read = d.news(bitReadable)
	}
	return read, write
}

// Wake has the reader look what there is to do, and asks for one to be started when nobody is at it.
func (d *Descriptor) Wake() (read bool) { return d.news(0) }

func (d *Descriptor) news(why uint32) (read bool) {
	return d.state.Or(why|bitNews|bitRunning)&bitRunning == 0
}

// Look is what the reader calls before it looks at everything that there may be news of.
func (d *Descriptor) Look() { d.state.And(^bitNews) }

// LetGo has nobody be the reader any more, unless there are news that came after Look.
func (d *Descriptor) LetGo() bool {
	state := d.state.Load()
	return state&bitNews == 0 && d.state.CompareAndSwap(state, state&^bitRunning)
}

// Readable tells whether something may have come since the last read.
func (d *Descriptor) Readable() bool { return d.state.Load()&(bitReadable|bitHungUp) != 0 }

// Read reads what there is, 0 bytes if there is nothing after all; the end of the stream is io.EOF.
func (d *Descriptor) Read(buf []byte) (int, error) {
	return d.noting(len(buf), func() (int, error) { return unix.Read(int(d.number), buf) })
}

// noting makes a read of at most so many bytes, and keeps the bits true. It takes them away before the read: what the loop tells from then
// on may be about bytes that the read has not seen, and stays. What did not fit is still to be read, and after a peer has closed so is
// everything up to that. An end stays to be read: the loop does not tell of it again, and whoever reads next looks for it.
func (d *Descriptor) noting(most int, read func() (int, error)) (int, error) {
	hungUp := d.state.And(^(bitReadable | bitHungUp)) & bitHungUp
	n, err := ignoringEINTR(read)
	switch {
	case errors.Is(err, unix.EAGAIN):
		return 0, nil
	case err != nil:
		d.state.Or(bitReadable)
		return 0, os.NewSyscallError("read", err)
	case n == 0:
		d.state.Or(bitReadable)
		return 0, io.EOF
	}
	if n == most {
		hungUp |= bitReadable
	}
	if hungUp != 0 {
		d.state.Or(hungUp)
	}
	return n, nil
}

// Write writes what the kernel takes of p. When that is nothing, Happened will ask for more to be written.
func (d *Descriptor) Write(p []byte) (int, error) {
	return d.asking(func() (int, error) { return unix.Write(int(d.number), p) })
}

// asking makes a write. The kernel may have made room between the write that found it full and the note of that, of which the loop would tell nobody:
// so there is another write after the note.
func (d *Descriptor) asking(write func() (int, error)) (int, error) {
	for {
		n, err := ignoringEINTR(write)
		switch {
		case err == nil:
			return n, nil
		case !errors.Is(err, unix.EAGAIN):
			return 0, os.NewSyscallError("write", err)
		case d.state.Or(bitFull)&bitFull != 0:
			return 0, nil
		}
	}
}

// EndWrite tells the peer that nothing more comes.
func (d *Descriptor) EndWrite() { _ = unix.Shutdown(int(d.number), unix.SHUT_WR) }

// Disconnect ends the connection, which both ends see now. The descriptor stays open.
func (d *Descriptor) Disconnect() { _ = unix.Shutdown(int(d.number), unix.SHUT_RDWR) }

// Close closes the descriptor. From then on another connection may have its number.
func (d *Descriptor) Close() { _ = unix.Close(int(d.number)) }

func ignoringEINTR(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, syscall.EINTR) {
			return max(n, 0), err
		}
	}
}
