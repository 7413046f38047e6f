package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
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

type ports struct {
	mu   sync.Mutex
	next int
}

func newPorts() *ports {
	return &ports{next: firstPort + os.Getpid()%((lastPort-firstPort)/portStep)*portStep}
}

// take returns "127.0.0.1:port" of a port where nobody listens.
func (p *ports) take() (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for range lastPort - firstPort {
		if p.next++; p.next >= lastPort {
			p.next = firstPort
		}
		address := fmt.Sprintf("127.0.0.1:%d", p.next)
		listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: p.next})
		if err != nil {
			continue
		}
		_ = listener.Close()
		return address, nil
	}
	return "", errors.New("no free port")
}

// listening reports whether something accepts connections at the address.
func listening(ctx context.Context, address string) bool {
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}
