package gateway

import (
	"log/slog"

	"github.com/starling-chat/starling/gateway/internal/transport"
)

// What waits for WebSockets (TRANSPORT), beside auto.
const (
	transportEpoll     = "epoll"
	transportGoroutine = "goroutine"
)

// checkTransport tells why what is set cannot wait for WebSockets on this system.
func (c *Config) checkTransport() error {
	if c.Listen.Transport != transportEpoll {
		return nil
	}
	return transport.CheckLoops()
}

// webSockets makes the server of WebSockets, with what waits for them.
func webSockets(cfg Config, unfinished *transport.Unfinished, log *slog.Logger) *transport.Server {
	sockets, by := transport.NewServer(transportLimits(cfg, unfinished), log), transportGoroutine
	if cfg.Listen.Transport != transportGoroutine {
		if err := sockets.UseLoops(); err != nil {
			log.Warn("there are no event loops: a goroutine waits for each WebSocket", slog.Any("error", err))
		} else {
			by = transportEpoll
		}
	}
	log.Info("transport", slog.String("transport", by))
	return sockets
}
