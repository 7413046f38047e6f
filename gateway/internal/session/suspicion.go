package session

import (
	"errors"
	"log/slog"
	"time"

	"github.com/starling-chat/starling/gateway/internal/engineio"
)

// Cause is what is likely wrong with a client that does not speak Socket.IO as this gateway does. A client is told no more than a short
// message, or that the connection is closed, so that its developer has to find these words in the log.
type Cause string

// The causes: of a refused handshake, and of a session that its client's packets end.
const (
	CauseEngine3   Cause = "the client speaks Engine.IO 3: it needs a client for Socket.IO 3 or newer (EIO=4)"
	CauseNoVersion Cause = "the query has no EIO=4: it is no Socket.IO client, or a proxy has cut the query"
	CauseTransport Cause = "the query's transport is neither polling nor websocket: it is a client for Socket.IO 0.9, no Socket.IO client, or one set to another transport"
	CausePings     Cause = "the client sends pings, as Engine.IO 3 does: it needs a client for Socket.IO 3 or newer"
	CauseParser    Cause = "the client's first message is binary: it uses a MessagePack parser or another custom one, and needs the default parser"
	CauseNoPackets Cause = "the client's first message is no Socket.IO packet: it uses a custom parser, or no Socket.IO at all"
)

// suspicionInterval is the time between two lines with the same likely cause.
const suspicionInterval = time.Minute

// Suspect logs what is likely wrong with a client, once in a while for each cause; "" = nothing is known.
func (s *Server) Suspect(cause Cause, remoteIP string) {
	if cause == "" {
		return
	}
	if skipped, ok := s.suspicions.Take(string(cause), time.Now()); ok {
		s.log.Warn("client does not speak this protocol", slog.String("likely_cause", string(cause)),
			slog.String("remote_ip", remoteIP), slog.Int("more_since_the_last_line", skipped))
	}
}

// RefusalCause guesses what is wrong with a client whose handshake was refused; "" where the refusal says enough.
func RefusalCause(query engineio.Query, refusal *engineio.RequestError) Cause {
	switch {
	case refusal.Code == engineio.ErrUnsupportedVersion.Code && query.EIO == "3":
		return CauseEngine3
	case refusal.Code == engineio.ErrUnsupportedVersion.Code:
		return CauseNoVersion
	case refusal.Code == engineio.ErrUnknownTransport.Code:
		return CauseTransport
	}
	return ""
}

// likelyCause guesses what is wrong with a client whose packet ends the session; "" where the packet says nothing about that.
func (s *Session) likelyCause(packet engineio.Packet, err error) Cause {
	switch {
	case errors.Is(err, errClientPing):
		return CausePings
	case packet.Type != engineio.Message || s.server.cfg.Raw != nil || s.everConnected():
		return ""
	case packet.Binary:
		return CauseParser
	case errors.Is(err, errBeforeConnect):
		return ""
	}
	return CauseNoPackets
}

// everConnected tells whether the client has sent a CONNECT that is pending or was granted.
func (s *Session) everConnected() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sockets) > 0 || s.pending != nil
}
