package session

import (
	"errors"
	"log/slog"
	"time"

	"github.com/starling-chat/starling/gateway/internal/engineio"
	"github.com/starling-chat/starling/platform/obs"
)

// The likely causes of a session that ended because its client does not speak Socket.IO as this gateway does. A client is told no
// more than that the connection is closed, so that its developer has to find these words in the log.
const (
	causeOldEngine = "the client sends pings, as Engine.IO 3 does: it needs a client for Socket.IO 3 or newer"
	causeParser    = "the client's first message is binary: it uses a MessagePack parser or another custom one, and needs the default parser"
	causeNoPackets = "the client's first message is no Socket.IO packet: it uses a custom parser, or no Socket.IO at all"
)

// suspicionInterval is the time between two lines with the same likely cause.
const suspicionInterval = time.Minute

// newSuspicions makes a sampler for each likely cause.
func newSuspicions() map[string]*obs.Sampler {
	samplers := make(map[string]*obs.Sampler)
	for _, cause := range []string{causeOldEngine, causeParser, causeNoPackets} {
		samplers[cause] = obs.NewSampler(suspicionInterval)
	}
	return samplers
}

// suspect logs what is likely wrong with a client whose packet ends the session.
func (s *Session) suspect(packet engineio.Packet, err error) {
	if cause := s.likelyCause(packet, err); cause != "" {
		if held, ok := s.server.suspicions[cause].Take(time.Now()); ok {
			s.server.log.Warn("client does not speak this protocol", slog.String("likely_cause", cause),
				slog.String("remote_ip", s.headers.RemoteIP), slog.Int("more_since_the_last_line", held))
		}
	}
}

// likelyCause guesses what is wrong with a client; "" where what it sent says nothing about that.
func (s *Session) likelyCause(packet engineio.Packet, err error) string {
	switch {
	case errors.Is(err, errClientPing):
		return causeOldEngine
	case packet.Type != engineio.Message || s.server.cfg.Raw != nil || s.everConnected():
		return ""
	case packet.Binary:
		return causeParser
	case errors.Is(err, errBeforeConnect):
		return ""
	}
	return causeNoPackets
}

// everConnected tells whether the client has sent a CONNECT that is pending or was granted.
func (s *Session) everConnected() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sockets)+len(s.pending) > 0
}
