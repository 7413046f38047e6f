package conformance

import (
	"bytes"

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
	if socket := s.Accept(namespace, "", nil, func(*session.Socket) error { return nil }); socket != nil {
		emit(socket, "auth", -1, payload, nil)
	}
}

// Event implements session.App.
func (protocolApp) Event(s *session.Socket, e session.Event) {
	switch args := e.Packet.AppendArgs(nil); e.Name {
	case "message":
		emit(s, "message-back", -1, args, e.Attachments)
	case "message-with-ack":
		acknowledge(s, e.Packet, args, e.Attachments)
	}
}

// Ack implements session.App; the suites send none.
func (protocolApp) Ack(*session.Socket, int64, []byte, [][]byte) {}

// Disconnected implements session.App.
func (protocolApp) Disconnected(*session.Socket, transport.Reason) {}
