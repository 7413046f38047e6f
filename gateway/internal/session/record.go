package session

import (
	"log/slog"
	"time"

	"github.com/starling-chat/starling/gateway/internal/transport"
)

// refusalInterval is between two records of refused CONNECTs with one reason; the counter has all of them.
const refusalInterval = time.Second

// LogRefusal counts a refused CONNECT by its reason, and logs it, at most once a second for each.
func (s *Session) LogRefusal(namespace, reason string) {
	s.server.stats.Refusals.WithLabelValues(reason).Inc()
	skipped, ok := s.server.refusals.Take(reason, time.Now())
	if !ok {
		return
	}
	s.server.log.Warn("security event",
		slog.String("event", "connect"), slog.String("result", "refused"), slog.String("cause", reason),
		slog.String("address", s.headers.RemoteIP), slog.String("namespace", namespace[:min(len(namespace), maxLogged)]), slog.Int("skipped", skipped))
}

// maxLogged bounds what a client wrote in a record, in bytes.
const maxLogged = 64

// logEnd writes the one record that every connection has when it ends: whose it was, from where, how long, and why it ended.
func (s *Session) logEnd(reason transport.Reason) {
	var user, socket string
	s.mu.Lock()
	if s.first != nil {
		user, socket = s.first.UserID, s.first.ID
	}
	s.mu.Unlock()
	by := "websocket"
	if p := s.polling(); p != nil {
		by = "polling"
		if s.upgraded() {
			by = "polling, then websocket"
		}
	}
	s.server.log.Info("connection closed",
		slog.String("reason", string(reason)), slog.String("address", s.headers.RemoteIP), slog.String("transport", by),
		slog.String("user_id", user), slog.String("socket_id", socket), slog.Float64("seconds", s.age(time.Now()).Seconds()))
}
