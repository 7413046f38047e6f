package conformance

import (
	"bytes"
	"time"

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/transport"
)

// protocolApp is the Socket.IO side of the protocol suites: it greets with the CONNECT payload and gives back what comes.
type protocolApp struct{}

var _ session.App = protocolApp{}

// Connect implements session.App.
func (protocolApp) Connect(s *session.Session, namespace string, auth []byte) {
	if namespace != "/" && namespace != "/custom" {
		s.Refuse(namespace, "Invalid namespace", nil)
		return
	}
	payload := []byte("[{}]")
	if len(auth) > 0 {
		payload = bytes.Join([][]byte{[]byte("["), auth, []byte("]")}, nil)
	}
	if socket := s.NewSocket("", namespace, "", nil); s.Admit(socket, "", func() {}) {
		time.AfterFunc(greetingDelay, func() { emit(socket, "auth", 0, payload, nil) })
	}
}

// greetingDelay keeps the event apart from the CONNECT reply: the suite waits for one message after the other, and misses
// the second when one read brings both.
const greetingDelay = 10 * time.Millisecond

// BatchEnd implements session.App.
func (protocolApp) BatchEnd(*session.Socket) {}

// Event implements session.App.
func (protocolApp) Event(s *session.Socket, e session.Event) {
	switch args := e.Packet.AppendArgs(nil); e.Name {
	case "message":
		emit(s, "message-back", 0, args, e.Attachments)
	case "message-with-ack":
		acknowledge(s, e.Packet, args, e.Attachments)
	}
}

// Ack implements session.App; the suites send none.
func (protocolApp) Ack(*session.Socket, int64, []byte, [][]byte) {}

// Disconnected implements session.App.
func (protocolApp) Disconnected(*session.Socket, transport.Reason) {}
