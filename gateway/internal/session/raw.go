package session

import (
	"github.com/starling-chat/starling/gateway/internal/engineio"
	"github.com/starling-chat/starling/gateway/internal/transport"
)

// RawApp takes Engine.IO messages as they are, without Socket.IO. It is for tests of the lower protocol (Config.Raw): no
// namespaces, no ConnectTimeout, no App. Its calls come from the session's reader, in order, and must not block.
type RawApp interface {
	// Opened tells that a session began; its open packet is queued.
	Opened(s *Session)
	// Message takes one message; content is valid during the call only.
	Message(s *Session, content []byte, binary bool)
}

// SID is the session's secret id. It must not reach other clients, logs or metrics.
func (s *Session) SID() string { return s.server.sids.text(s.sid) }

// Send sends one Engine.IO message to a session of a RawApp.
func (s *Session) Send(content []byte, binary bool) {
	if binary {
		s.conn.Queue(transport.BinaryMessage(content))
	} else {
		b := transport.NewBuilder(len(content) + 1)
		s.conn.Queue(b.Message(append(append(b.Buffer(), byte(engineio.Message)), content...), nil))
	}
	s.conn.Flush()
}

func (s *Session) rawOpened() {
	if raw := s.server.cfg.Raw; raw != nil {
		raw.Opened(s)
	}
}
