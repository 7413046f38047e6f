package eventloop

import (
	"log/slog"
	"os"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Member is a connection in a loop.
type Member interface {
	comparable
	// Descriptor is what the loop waits for.
	Descriptor() *Descriptor
	// Happened is told what epoll says of the descriptor. It must not wait, and calls nobody who has a lock that is held when the loop's
	// methods are called.
	Happened(events uint32)
}

// Loops are a few event loops. A connection belongs to one of them for its life: to that of its descriptor.
type Loops[M Member] []Loop[M]

// maxLoops is how many loops there are at most: all that a loop does is to start goroutines.
const maxLoops = 4

// Check tells why this system has no event loops.
func Check() error {
	probe, err := newPoller()
	if err == nil {
		probe.close()
	}
	return err
}

// New makes loops. They start goroutines by start, which whoever stops waits for, and run while they have members.
func New[M Member](start func(func()), log *slog.Logger) (Loops[M], error) {
	if err := Check(); err != nil {
		return nil, err
	}
	all := make(Loops[M], min(max(1, runtime.GOMAXPROCS(0)/2), maxLoops))
	for i := range all {
		all[i] = Loop[M]{start: start, log: log, of: len(all)}
	}
	return all, nil
}

// Of is the loop of a descriptor.
func (l Loops[M]) Of(number int) *Loop[M] { return &l[number%len(l)] }

// Loop waits for its members, and tells them when they can be read or written. It does nothing else: neither a handler nor a slow peer
// can hold it up. It runs while it has members.
type Loop[M Member] struct {
	// Fixed at birth.
	start func(func())
	log   *slog.Logger
	of    int // the number of loops

	mu         sync.Mutex // guards what follows
	members    []M        // by descriptor, divided by of
	count      int
	generation int32   // of the member that was added last
	poller     *poller // nil while there are no members
}

// place is where the member with a descriptor stands among members.
func (l *Loop[M]) place(number int32) int { return int(number) / l.of }

// interest is what a member wants to hear of, for its whole life: each change once.
const interest = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET

// Add has the loop wait for a member.
func (l *Loop[M]) Add(m M) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.poller
	if p == nil {
		var err error
		if p, err = newPoller(); err != nil {
			return err
		}
		l.poller = p
		l.start(func() { l.run(p) })
	}
	d := m.Descriptor()
	at := l.place(d.number)
	for len(l.members) <= at {
		var none M
		l.members = append(l.members, none)
	}
	l.generation++
	d.generation = l.generation
	l.members[at] = m
	l.count++
	event := unix.EpollEvent{Events: interest, Fd: d.number, Pad: d.generation}
	if err := unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, int(d.number), &event); err != nil {
		return os.NewSyscallError("epoll_ctl", err)
	}
	return nil
}

// Remove forgets a member, also one that could not be added. Its descriptor is closed next.
func (l *Loop[M]) Remove(m M) {
	l.mu.Lock()
	var none M
	var idle *poller
	if at := l.place(m.Descriptor().number); at < len(l.members) && l.members[at] == m {
		l.members[at] = none
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
func (l *Loop[M]) run(p *poller) {
	for {
		events, err := p.wait()
		if err != nil {
			if l.waitsWith(p) {
				l.log.Error("event loop ends", slog.Any("error", err))
			}
			return
		}
		l.tell(events)
		if len(events) == cap(p.events) {
			runtime.Gosched() // those who were started read and end, before as many are started again
		}
	}
}

// waitsWith tells whether a poller is in use: Remove closes one that is not, which ends its wait with an error.
func (l *Loop[M]) waitsWith(p *poller) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.poller == p
}

// tell tells the members of their events. An event of a member that has gone finds none, or one of another generation.
func (l *Loop[M]) tell(events []unix.EpollEvent) {
	var none M
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range events {
		e := &events[i]
		if m := l.members[l.place(e.Fd)]; m != none && m.Descriptor().generation == e.Pad {
			m.Happened(e.Events)
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
