package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"syscall"

	"github.com/starling-chat/starling/platform/settings"
)

func listen(ctx context.Context, cfg Config) (net.Listener, error) {
	l := cfg.Listener
	if l == nil {
		var err error
		if l, err = settings.Listen(ctx, "LISTEN", cfg.Listen.Addr); err != nil {
			return nil, err
		}
	}
	if err := setSendBuffer(l, cfg.Limits.SendBuffer); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("set KERNEL_SEND_BUFFER_BYTES: %w", err)
	}
	return l, nil
}

// setSendBuffer bounds what the kernel takes for each connection that l accepts: they inherit it. The kernel doubles size for its
// own needs.
func setSendBuffer(l net.Listener, size int) error {
	if size == 0 {
		return nil
	}
	socket, ok := l.(syscall.Conn)
	if !ok {
		return fmt.Errorf("a %T has none", l)
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	var refused error
	err = raw.Control(func(fd uintptr) {
		refused = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF, size)
	})
	return errors.Join(err, refused)
}

// descriptorReserve is kept for everything that is not a client: NATS, gRPC, files, HTTP requests.
const descriptorReserve = 200

// maxConnections takes what the descriptor limit leaves when nothing is set, and warns when a setting is over it.
func maxConnections(set int, log *slog.Logger) int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		log.Warn("descriptor limit unknown", slog.Any("error", err))
		return set
	}
	room := descriptorRoom()
	log.Info("descriptor limit", slog.Uint64("nofile", limit.Cur), slog.Int("connections", room))
	if set == 0 {
		return max(room, 1)
	}
	if set > room {
		log.Warn("max-connections is over the descriptor limit", slog.Int("max_connections", set), slog.Int("possible", room))
	}
	return set
}

// descriptorRoom is how many descriptors are left for clients; 0 where that is unknown.
func descriptorRoom() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return max(int(min(limit.Cur, 1<<30))-descriptorReserve, 1)
}

// perAddress bounds the HTTP connections of one address: no address takes more than a quarter of the descriptors for clients.
func perAddress(set int) int {
	quarter := descriptorRoom() / 4
	if set == 0 || quarter > 0 && set > quarter {
		return quarter
	}
	return set
}
