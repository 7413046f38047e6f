//go:build linux

package swarm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	readBuffer  = 1 << 20 // bytes; also the largest frame
	maxHeader   = 10      // bytes, of a frame
	spareSize   = 2 << 10 // bytes of a fresh output buffer
	maxSpares   = 1024
	maxSpare    = 64 << 10 // bytes; larger buffers are not kept
	eventsBatch = 1024
)

// Counters are what a loop has seen since the start.
type Counters struct {
	Open     atomic.Int64 // established conns now
	Frames   atomic.Int64
	BytesIn  atomic.Int64
	BytesOut atomic.Int64 // payloads
	_        [4]int64     // keeps two loops' counters on different cache lines
}

// loop is one epoll instance with the conns that it watches.
type loop struct {
	// Fixed at birth.
	swarm  *Swarm
	number int
	epoll  int
	wake   int // the eventfd that ends a wait

	counters Counters // read by anybody

	// Owned by run.
	conns   []*Conn // by descriptor
	in      []byte
	scratch []byte
	spares  [][]byte
	dirty   []*Conn
	waiting []*Conn // to be dialled
	pending int     // dialled, not established
	rng     *rand.Rand

	mu     sync.Mutex // guards what follows
	jobs   []func()
	over   bool
	signal bool // wake was written
}

func newLoop(s *Swarm, number int) (*loop, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create an epoll instance: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(epoll)
		return nil, fmt.Errorf("create an eventfd: %w", err)
	}
	l := &loop{
		swarm: s, number: number, epoll: epoll, wake: wake,
		in: make([]byte, readBuffer), scratch: make([]byte, 0, spareSize),
		rng: rand.New(rand.NewPCG(uint64(number), 7)), //nolint:gosec // masks and spreading, not secrets
	}
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(wake)} //nolint:gosec // a descriptor
	if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, wake, &event); err != nil {
		l.release()
		return nil, fmt.Errorf("watch the eventfd: %w", err)
	}
	return l, nil
}

func (l *loop) release() {
	_ = unix.Close(l.wake)
	_ = unix.Close(l.epoll)
}

// do has f run on the loop; after the end it refuses.
func (l *loop) do(f func()) (accepted bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return false
	}
	l.jobs = append(l.jobs, f)
	l.notifyLocked()
	return true
}

func (l *loop) notifyLocked() {
	if l.signal {
		return
	}
	l.signal = true
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(l.wake, one[:])
}

// run is the loop; it ends when stop was called.
func (l *loop) run() error {
	events := make([]unix.EpollEvent, eventsBatch)
	for {
		n, err := unix.EpollWait(l.epoll, events, -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			l.stop()
			l.runJobs()
			l.finish()
			return fmt.Errorf("wait for events: %w", err)
		}
		for _, e := range events[:max(n, 0)] {
			if int(e.Fd) == l.wake {
				if over := l.runJobs(); over {
					l.finish()
					return nil
				}
				continue
			}
			if c := l.conns[e.Fd]; c != nil {
				c.ready(e.Events)
			}
		}
		l.dial()
		for _, c := range l.dirty {
			if c.dirty {
				c.flush()
			}
		}
		l.dirty = l.dirty[:0]
	}
}

func (l *loop) runJobs() (over bool) {
	var count [8]byte
	_, _ = unix.Read(l.wake, count[:])
	l.mu.Lock()
	jobs := l.jobs
	l.jobs, l.signal = nil, false
	over = l.over
	l.mu.Unlock()
	for _, f := range jobs {
		f()
	}
	return over
}

// stop ends the loop and its conns.
func (l *loop) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	l.notifyLocked()
}

func (l *loop) finish() {
	for _, c := range l.conns {
		if c != nil {
			c.Reset()
		}
	}
	l.release()
}

// dial opens as many of the waiting conns as may be under way at once.
func (l *loop) dial() {
	for len(l.waiting) > 0 && l.pending < l.swarm.pending {
		c := l.waiting[0]
		l.waiting[0] = nil
		l.waiting = l.waiting[1:]
		if len(l.waiting) == 0 {
			l.waiting = nil
		}
		if c.phase != idle {
			continue // reset while it waited
		}
		if err := l.open(c); err != nil {
			c.phase = closed
			c.handler.Closed(c, false, err)
		}
	}
}

func (l *loop) open(c *Conn) error {
	family, address := socketAddress(l.swarm.addresses[c.Index%len(l.swarm.addresses)])
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open a socket: %w", err)
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if n := len(l.swarm.sources); n > 0 {
		if err := bind(fd, l.swarm.sources[c.Index%n]); err != nil {
			_ = unix.Close(fd)
			return err
		}
	}
	c.fd, c.phase, c.dialed = int32(fd), connecting, time.Now() //nolint:gosec // a descriptor
	if err := unix.Connect(fd, address); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		_ = unix.Close(fd)
		return fmt.Errorf("connect: %w", err)
	}
	for len(l.conns) <= fd {
		l.conns = append(l.conns, nil)
	}
	if err := l.control(unix.EPOLL_CTL_ADD, c, unix.EPOLLIN|unix.EPOLLOUT); err != nil {
		_ = unix.Close(fd)
		return fmt.Errorf("watch a socket: %w", err)
	}
	l.conns[fd] = c
	l.pending++
	return nil
}

// bind has a socket come from an address. The kernel chooses the port when it knows where the socket goes, so that there are as many ports as
// to each address that listens.
func bind(fd int, source netip.Addr) error {
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
		return fmt.Errorf("leave the port to the kernel: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: source.As4()}); err != nil {
		return fmt.Errorf("come from %s: %w", source, err)
	}
	return nil
}

// socketAddress makes a new address for each call: Connect writes into it.
func socketAddress(a netip.AddrPort) (family int, address unix.Sockaddr) {
	if a.Addr().Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// handshakeEnded tells that a dialled conn is established or has failed.
func (l *loop) handshakeEnded() { l.pending-- }

func (l *loop) control(op int, c *Conn, events uint32) error {
	event := unix.EpollEvent{Events: events, Fd: c.fd}
	return unix.EpollCtl(l.epoll, op, int(c.fd), &event)
}

func (l *loop) mask() (m [4]byte) {
	binary.NativeEndian.PutUint32(m[:], l.rng.Uint32()|1)
	return m
}

func (l *loop) spare() []byte {
	if n := len(l.spares); n > 0 {
		b := l.spares[n-1]
		l.spares = l.spares[:n-1]
		return b
	}
	return make([]byte, 0, spareSize)
}

func (l *loop) giveBack(b []byte) {
	if cap(b) <= maxSpare && len(l.spares) < maxSpares {
		l.spares = append(l.spares, b[:0])
	}
}
