package edge

import (
	"crypto/tls"
	"net"
)

// tcpOf is the connection on which c speaks TLS, or that was read ahead, or c itself. It ends at once, where a TLS connection says goodbye first and waits for
// a peer that does not read for up to 5 s.
func tcpOf(c net.Conn) net.Conn {
	switch c := c.(type) {
	case *tls.Conn:
		return c.NetConn()
	case *aheadConn:
		return c.Conn
	}
	return c
}

// secureConn is a WebSocket's TLS connection. It ends as its TCP connection does: conns end under locks that others wait for.
// The WebSocket has said by its close frame that nothing follows.
type secureConn struct{ *tls.Conn }

// Close implements net.Conn.
func (c secureConn) Close() error { return c.NetConn().Close() }

// CloseWrite tells the peer that nothing more comes.
func (c secureConn) CloseWrite() error {
	if half, ok := c.NetConn().(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}
