package eventloop

import (
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// member notes what it is told.
type member struct {
	fd       Descriptor
	happened chan uint32
}

func newMember(number int) *member {
	m := &member{happened: make(chan uint32, 100)}
	m.fd.Hold(number)
	return m
}

func (m *member) Descriptor() *Descriptor { return &m.fd }

func (m *member) Happened(events uint32) { m.happened <- events }

// await waits for an event with all the bits.
func (m *member) await(t *testing.T, bits uint32) {
	t.Helper()
	late := time.After(patience)
	for {
		select {
		case events := <-m.happened:
			if events&bits == bits {
				return
			}
		case <-late:
			t.Fatalf("no event %#x came", bits)
		}
	}
}

// pair gives two connected descriptors.
func pair(t *testing.T) (near, far int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fds[0], fds[1]
}

// newLoops gives loops, what they log, and what waits for their goroutines.
func newLoops(t *testing.T) (all Loops[*member], logged *strings.Builder, running *sync.WaitGroup) {
	t.Helper()
	logged, running = new(strings.Builder), new(sync.WaitGroup)
	all, err := New[*member](running.Go, slog.New(slog.NewTextHandler(logged, nil)))
	if err != nil {
		t.Skipf("no event loops: %v", err)
	}
	return all, logged, running
}

// TestLoopTells: a member hears of what comes, of the end, and nothing after it has gone. A loop without members ends, quietly, and begins again.
func TestLoopTells(t *testing.T) {
	all, logged, running := newLoops(t)
	for range 3 {
		near, far := pair(t)
		m := newMember(near)
		loop := all.Of(near)
		if err := loop.Add(m); err != nil {
			t.Fatal(err)
		}
		m.await(t, unix.EPOLLOUT)
		if _, err := unix.Write(far, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		m.await(t, unix.EPOLLIN)
		_ = unix.Close(far)
		m.await(t, unix.EPOLLRDHUP)
		loop.Remove(m)
		m.fd.Close()
		running.Wait()
	}
	if logged.Len() > 0 {
		t.Errorf("logged:\n%s", logged.String())
	}
}

// TestAddOfAClosedDescriptor: what cannot be waited for is an error, and Remove leaves nothing behind.
func TestAddOfAClosedDescriptor(t *testing.T) {
	all, _, running := newLoops(t)
	near, far := pair(t)
	_, _ = unix.Close(near), unix.Close(far)
	m := newMember(near)
	if err := all.Of(near).Add(m); err == nil {
		t.Error("Add of a closed descriptor succeeded")
	}
	all.Of(near).Remove(m)
	running.Wait()
}

// TestEventOfAnEarlierMember: an event that the kernel told of a descriptor before it changed hands is not its new owner's.
func TestEventOfAnEarlierMember(t *testing.T) {
	l := &Loop[*member]{of: 1, members: make([]*member, 8)}
	m := newMember(5)
	m.fd.generation = 2
	l.members[5] = m
	for _, e := range []unix.EpollEvent{
		{Events: unix.EPOLLIN, Fd: 5, Pad: 1},
		{Events: unix.EPOLLIN, Fd: 4, Pad: 2},
	} {
		l.tell([]unix.EpollEvent{e})
	}
	if len(m.happened) > 0 {
		t.Error("it was told of the events of others")
	}
	l.tell([]unix.EpollEvent{{Events: unix.EPOLLIN, Fd: 5, Pad: 2}})
	if len(m.happened) != 1 {
		t.Error("it was not told of its own event")
	}
}
