package transport

import (
	"log/slog"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// loops are a few event loops. A conn belongs to one of them for its life: to that of its descriptor.
type loops []loop

// maxLoops is how many loops there are at most: all that a loop does is to start goroutines.
const maxLoops = 4

// newLoops makes loops, or tells why this system has none.
func newLoops(s *Server) (*loops, error) {
	probe, err := newPoller()
	if err != nil {
		return nil, err
	}
	probe.close()
	all := make(loops, min(max(1, runtime.GOMAXPROCS(0)/2), maxLoops))
	for i := range all {
		all[i] = loop{server: s, of: len(all)}
	}
	return &all, nil
}

// take makes a WebSocket of a connection that has a descriptor of its own. It gives nil for others, and leaves them alone, and where the process
// can have no more descriptors.
func (l loops) take(conn net.Conn) *WebSocket {
	fd, ok := detach(conn)
	if !ok {
		return nil
	}
	of := &l[fd%len(l)]
	c := &loopConn{loop: of, fd: int32(fd)} //nolint:gosec // a descriptor is small
	c.server, c.driver = of.server, c
	c.state.Store(bitRunning) // nobody else is to read before start
	return &c.WebSocket
}

// detach takes the descriptor out of the hands of package net, which keeps several hundred bytes for one: of the two that there are for a
// moment the copy stays. A type that stands on one of package net's may have read ahead, or speak TLS, and is left alone.
func detach(conn net.Conn) (fd int, ok bool) {
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
	err = raw.Control(func(of uintptr) { fd, refused = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0) })
	if err != nil || refused != nil {
		return 0, false
	}
	_ = conn.Close()
	return fd, true
}

// loop waits for its conns, and has them told when they can be read or written. It does nothing else: neither a handler nor a slow peer
// can hold it up. It runs while it has conns.
type loop struct {
	// Fixed at birth.
	server *Server
	of     int // the number of loops

	mu         sync.Mutex  // guards what follows
	conns      []*loopConn // by descriptor, divided by of
	count      int
	generation int32   // of the conn that was added last
	poller     *poller // nil while there are no conns
}

// place is where the conn with a descriptor stands among conns.
func (l *loop) place(fd int32) int { return int(fd) / l.of }

// interest is what a conn wants to hear of, for its whole life: each change once.
const interest = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET

// add has the loop wait for a conn.
func (l *loop) add(c *loopConn) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.poller
	if p == nil {
		var err error
		if p, err = newPoller(); err != nil {
			return err
		}
		l.poller = p
		l.server.tasks.Go(func() { l.run(p) })
	}
	at := l.place(c.fd)
	for len(l.conns) <= at {
		l.conns = append(l.conns, nil)
	}
	l.generation++
	c.generation = l.generation
	l.conns[at] = c
	l.count++
	return unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, int(c.fd), &unix.EpollEvent{Events: interest, Fd: c.fd, Pad: c.generation})
}

// remove forgets a conn, whose descriptor is closed next: from then on another conn may have its number.
func (l *loop) remove(c *loopConn) {
	l.mu.Lock()
	var idle *poller
	if at := l.place(c.fd); at < len(l.conns) && l.conns[at] == c {
		l.conns[at] = nil
		if l.count--; l.count == 0 {
			idle, l.poller = l.poller, nil
		}
	}
	l.mu.Unlock()
	if idle != nil {
		idle.close()
	}
}

// run waits until its poller is closed.
func (l *loop) run(p *poller) {
	for {
		events, err := p.wait()
		if err != nil {
			if l.waitsWith(p) {
				l.server.log.Error("event loop ends", slog.Any("error", err))
			}
			return
		}
		l.tell(events)
		if len(events) == cap(p.events) {
			runtime.Gosched() // those who were started read and end, before as many are started again
		}
	}
}

// waitsWith tells whether a poller is in use: remove closes one that is not, which ends its wait with an error.
func (l *loop) waitsWith(p *poller) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.poller == p
}

// tell tells the conns of their events. An event of a conn that has gone finds none, or one of another generation.
func (l *loop) tell(events []unix.EpollEvent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range events {
		e := &events[i]
		if c := l.conns[l.place(e.Fd)]; c != nil && c.generation == e.Pad {
			c.happened(e.Events)
		}
	}
}

// poller is an epoll instance. The runtime's own poller waits for it, so that whoever waits occupies no thread.
type poller struct {
	fd     int
	file   *os.File // owns fd
	raw    syscall.RawConn
	events []unix.EpollEvent
	look   func(fd uintptr) bool // is find, made once
	n      int                   // how many of events the last look found
	err    error                 // of it
}

// mostEvents is how many events one look takes.
const mostEvents = 128

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // os.NewFile looks at it
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	p := &poller{fd: fd, file: os.NewFile(uintptr(fd), "epoll"), events: make([]unix.EpollEvent, mostEvents)}
	p.look = p.find
	if p.raw, err = p.file.SyscallConn(); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *poller) close() { _ = p.file.Close() }

// wait gives the next events, one at least. They are valid until the next wait.
func (p *poller) wait() ([]unix.EpollEvent, error) {
	if err := p.raw.Read(p.look); err != nil {
		return nil, err
	}
	return p.events[:p.n], p.err
}

// find takes the events that there are.
func (p *poller) find(fd uintptr) (found bool) {
	p.n, p.err = ignoringEINTR(func() (int, error) { return unix.EpollWait(int(fd), p.events, 0) })
	return p.n > 0 || p.err != nil
}
