package conformance

import (
	"fmt"
	"time"

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/transport"
)

// accept lets a client in: as the socket that it was, if it brings what recovery needs, else as a new one. What a recovered
// one missed goes out before the CONNECT reply. It returns nil when the session ended meanwhile.
func (a *supportApp) accept(s *session.Session, namespace string, auth []byte, shake handshake) *session.Socket {
	v := &visitor{shake: shake}
	r, missed := a.memory.resume(field(auth, "pid"), field(auth, "offset"), namespace)
	id := ""
	if r != nil {
		id = r.id
	}
	socket := s.NewSocket(id, namespace, "", v)
	if r == nil {
		r = a.memory.enter(session.NewID(), socket)
	} else if before := a.memory.occupy(r, socket); before != nil { // the drop was not noticed yet
		before.Close(transport.CodeNormal, transport.ReasonReplaced)
	}
	v.record = r
	for _, e := range missed {
		m, err := session.Emit{Namespace: namespace, Event: e.name, Args: e.args, Attachments: e.attachments}.Encode()
		if err != nil {
			panic(fmt.Sprintf("encode event %q: %v", e.name, err)) // it was encoded once already
		}
		socket.Queue(m)
	}
	if !s.Admit(socket, r.pid, func() {}) {
		a.memory.leave(r, socket, time.Now())
		return nil
	}
	return socket
}

// Disconnected implements session.App. Who left the namespace of its own will does not come back as the same socket.
func (a *supportApp) Disconnected(s *session.Socket, reason transport.Reason) {
	r := s.State.(*visitor).record
	if reason == transport.ReasonLeft {
		a.memory.forget(r)
		return
	}
	a.memory.leave(r, s, time.Now())
}
