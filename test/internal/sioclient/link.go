package sioclient

import (
	"net"
	"time"
)

const (
	dialTimeout  = 5 * time.Second // for TCP, the WebSocket handshake and the open packet together
	writeTimeout = 5 * time.Second // a peer that reads nothing for so long is gone
	maxFrame     = 64 << 20        // bytes, far above what the gateway may send
)

// Path is the endpoint. The name of the transport follows: "websocket" or "polling".
const Path = "/socket.io/?EIO=4&transport="

// Link carries Engine.IO packets. Read belongs to one goroutine; Write, Reset and Close may be called by any.
type Link interface {
	// Read gives the next packet; its bytes are good until the next call. It fails at the deadline.
	Read(deadline time.Time) ([]byte, error)
	Write(packet []byte) error
	// Reset drops the transport at once, by TCP reset.
	Reset()
	// Close ends the transport and says so to the server, where that is possible.
	Close()
}

// resetTCP ends a connection without a word.
func resetTCP(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
