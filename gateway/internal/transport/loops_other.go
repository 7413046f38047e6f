//go:build !linux

package transport

import (
	"errors"
	"net"
)

// loops are only there where the system has epoll.
type loops struct{}

func newLoops(*Server) (*loops, error) { return nil, errors.ErrUnsupported }

func (*loops) take(net.Conn) *WebSocket { return nil }
