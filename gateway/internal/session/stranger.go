package session

import (
	"log/slog"
	"time"

	"github.com/starling-chat/starling/gateway/internal/transport"
)

// A session is a stranger's until a namespace has let its client in. While a CONNECT is being decided it is the client who waits.

var _ transport.Stranger = (*Session)(nil)

// admit notes that the client has shown who it is.
func (s *Session) admit() {
	if !s.admitted.Swap(true) {
		s.conn.Admitted()
	}
	s.server.cfg.Strangers.Leave(&s.place)
}

// awaitLocked notes whether the client is waited for, after a CONNECT has come or was answered.
func (s *Session) awaitLocked() {
	switch strangers := s.server.cfg.Strangers; {
	case s.admitted.Load(), s.closed:
	case s.pending != nil:
		strangers.Leave(&s.place)
	default:
		strangers.Wait(s, &s.place, true)
	}
}

// Displace implements transport.Stranger: another client needs the place.
func (s *Session) Displace() bool {
	s.mu.Lock()
	stranger := !s.admitted.Load() && s.pending == nil && !s.closed
	s.mu.Unlock()
	if !stranger {
		return false
	}
	s.server.forget(s) // now: whoever needs the place counts
	s.Close(transport.CodeTryAgainLater, transport.ReasonDisplaced)
	if skipped, ok := s.server.refusals.Take(string(transport.ReasonDisplaced), time.Now()); ok {
		s.server.log.Warn("security event",
			slog.String("event", "admission"), slog.String("result", "displaced"), slog.String("cause", "max_connections"),
			slog.String("address", s.headers.RemoteIP), slog.Int("skipped", skipped))
	}
	return true
}
