//go:build linux

package launch

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// Ports are taken below the range that the kernel gives to outgoing connections: a process that is down for a while must find
// its port free.
const (
	firstPort = 12000
	lastPort  = 31900
	portStep  = 600 // between rigs that run at the same time
)

// Ports gives out ports of 127.0.0.1. It gives none twice before it has gone through all of them.
type Ports struct {
	mu   sync.Mutex
	next int // guarded by mu
}

// reserved are the first ports of the stretches that this process has begun. Rigs that run at the same time see by them which stretches are
// taken: a port that was given out is free until the process that is to have it listens, or while that process is down.
var reserved struct { //nolint:gochecknoglobals // ports are the process's
	sync.Mutex
	listeners []net.Listener
}

// NewPorts begins a stretch of portStep ports that no other rig has begun, as long as there is one.
func NewPorts() *Ports {
	const stretches = (lastPort - firstPort) / portStep
	begin := os.Getpid()
	for i := range stretches {
		first := firstPort + (begin+i)%stretches*portStep
		listener, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(Loopback(first)))
		if err != nil {
			continue
		}
		reserved.Lock()
		reserved.listeners = append(reserved.listeners, listener) // until the process ends
		reserved.Unlock()
		return &Ports{next: first}
	}
	return &Ports{next: firstPort + begin%stretches*portStep}
}

// Take gives the address of a port where nobody listens.
func (p *Ports) Take() (address string, err error) {
	first, err := p.TakeRow(1)
	return Loopback(first).String(), err
}

// TakeRow gives the first of n ports in a row where nobody listens.
func (p *Ports) TakeRow(n int) (first int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for range lastPort - firstPort {
		if p.next+n >= lastPort {
			p.next = firstPort
		}
		first, p.next = p.next+1, p.next+1
		if allFree(first, n) {
			p.next += n - 1
			return first, nil
		}
	}
	return 0, fmt.Errorf("no %d free ports in a row", n)
}

func allFree(first, n int) bool {
	for port := first; port < first+n; port++ {
		listener, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(Loopback(port)))
		if err != nil {
			return false
		}
		_ = listener.Close()
	}
	return true
}

// Loopback is 127.0.0.1:port.
func Loopback(port int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port)) //nolint:gosec // a port
}

// Listening fails unless something accepts connections at the address within a second.
func Listening(ctx context.Context, address string) error {
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}
