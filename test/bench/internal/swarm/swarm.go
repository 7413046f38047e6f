//go:build linux

package swarm

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/starling-chat/starling/test/internal/sioclient"
)

// The same key for every handshake makes the expected answer a constant; RFC 6455, section 1.3, has both.
const (
	keyValue    = "dGhlIHNhbXBsZSBub25jZQ=="
	acceptValue = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

// ErrNotLoopback refuses servers on other machines: this is a load generator.
var ErrNotLoopback = errors.New("not a loopback address")

// Config says where conns go.
type Config struct {
	Addresses []netip.AddrPort // of the gateways, loopback; conns take turns
	Loops     int              // at least 1
	Pending   int              // handshakes at once
	Inbox     bool             // conns ask for the inbox of their users
	Sources   []netip.Addr     // that conns come from, loopback, IPv4; they take turns. None leaves it to the kernel
}

// Swarm is a set of conns.
type Swarm struct {
	addresses []netip.AddrPort
	requests  [][]byte
	sources   []netip.Addr
	pending   int // handshakes of one loop
	inbox     bool
	loops     []*loop

	done sync.WaitGroup
	fail atomic.Pointer[error]
}

// New starts the loops.
func New(cfg Config) (*Swarm, error) {
	if len(cfg.Addresses) == 0 {
		return nil, errors.New("no address to connect to")
	}
	s := &Swarm{pending: max(1, cfg.Pending/max(1, cfg.Loops)), sources: cfg.Sources, inbox: cfg.Inbox}
	for _, a := range cfg.Sources {
		if !a.IsLoopback() || !a.Is4() {
			return nil, fmt.Errorf("%s: %w of IPv4", a, ErrNotLoopback)
		}
	}
	for _, a := range cfg.Addresses {
		if !a.Addr().IsLoopback() {
			return nil, fmt.Errorf("%s: %w", a, ErrNotLoopback)
		}
		s.addresses = append(s.addresses, netip.AddrPortFrom(a.Addr().Unmap(), a.Port()))
		s.requests = append(s.requests, fmt.Appendf(nil,
			"GET %swebsocket HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
				"Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n", sioclient.Path, a, keyValue))
	}
	for i := range max(1, cfg.Loops) {
		l, err := newLoop(s, i)
		if err != nil {
			for _, started := range s.loops {
				started.release()
			}
			return nil, err
		}
		s.loops = append(s.loops, l)
	}
	for _, l := range s.loops {
		s.done.Go(func() {
			if err := l.run(); err != nil {
				s.fail.Store(&err)
			}
		})
	}
	return s, nil
}

// Loops is how many loops there are.
func (s *Swarm) Loops() int { return len(s.loops) }

// Err tells why a loop failed, if one did.
func (s *Swarm) Err() error {
	if err := s.fail.Load(); err != nil {
		return *err
	}
	return nil
}

// Dial connects conn number index as the user of token, as soon as fewer than Pending handshakes are under way.
func (s *Swarm) Dial(index int, token string, h Handler) *Conn {
	c := &Conn{Index: index, token: token, handler: h, loop: s.loops[index%len(s.loops)]}
	c.Do(func() { c.loop.waiting = append(c.loop.waiting, c) })
	return c
}

// Redial connects a closed conn again; call it on the conn's loop.
func (s *Swarm) Redial(c *Conn) {
	if c.phase != closed {
		return
	}
	c.phase, c.dirty, c.blocked = idle, false, false
	c.loop.waiting = append(c.loop.waiting, c)
	c.Do(func() {})
}

// Sync returns when every loop has done what it was told before.
func (s *Swarm) Sync() {
	var all sync.WaitGroup
	for _, l := range s.loops {
		all.Add(1)
		if !l.do(all.Done) {
			all.Done()
		}
	}
	all.Wait()
}

// Totals are the counters of all loops.
type Totals struct{ Open, Frames, BytesIn, BytesOut int64 }

// Totals may be called at any time.
func (s *Swarm) Totals() (t Totals) {
	for _, l := range s.loops {
		t.Open += l.counters.Open.Load()
		t.Frames += l.counters.Frames.Load()
		t.BytesIn += l.counters.BytesIn.Load()
		t.BytesOut += l.counters.BytesOut.Load()
	}
	return t
}

// Close drops all conns and waits for the loops to end.
func (s *Swarm) Close() {
	for _, l := range s.loops {
		l.stop()
	}
	s.done.Wait()
}
