package transport

import (
	"net"

	"github.com/starling-chat/starling/gateway/internal/eventloop"
)

// loops wait for the conns of a server that have descriptors of their own.
type loops struct {
	server *Server
	all    eventloop.Loops[*loopConn]
}

func newLoops(s *Server) (*loops, error) {
	all, err := eventloop.New[*loopConn](s.tasks.Go, s.log)
	if err != nil {
		return nil, err
	}
	return &loops{server: s, all: all}, nil
}

// take makes a WebSocket of a connection that has a descriptor of its own. It gives nil for others, and leaves them alone, and where the process
// can have no more descriptors.
func (l *loops) take(conn net.Conn) *WebSocket {
	number, ok := eventloop.Detach(conn)
	if !ok {
		return nil
	}
	c := &loopConn{loop: l.all.Of(number)}
	c.server, c.driver = l.server, c
	c.fd.Hold(number) // nobody else is to read before start
	return &c.WebSocket
}
