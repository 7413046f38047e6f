package pg

import (
	"context"
	"net"
	"time"
)

// A host that vanishes answers no packet. Its connections end after about 6 s without an answer: idle ones by keepalives (3 s,
// then 3 of them 1 s apart), and, where the system can, those on which something was sent by the timeout for its receipt.
const (
	dialTimeout       = 3 * time.Second
	keepaliveIdle     = 3 * time.Second
	keepaliveInterval = time.Second
	keepaliveCount    = 3
	userTimeout       = 6 * time.Second
)

// dial replaces pgconn's dialer, which waits two minutes also when it only tells the server to cancel a statement; the
// pool's place is taken so long.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{
		Timeout: dialTimeout,
		KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: keepaliveIdle, Interval: keepaliveInterval, Count: keepaliveCount,
		},
		Control: setUserTimeout,
	}
	return dialer.DialContext(ctx, network, address)
}
