package session

import (
	"bytes"
	"time"

	"github.com/starling-chat/starling/gateway/internal/engineio"
	"github.com/starling-chat/starling/gateway/internal/socketio"
	"github.com/starling-chat/starling/gateway/internal/transport"
)

// connecting is a CONNECT that the App is asked about, and what the client has said about its namespace meanwhile. Official
// clients say CONNECT twice when a socket of an open connection is told to connect, and DISCONNECT, CONNECT when it is told
// both at once.
//
// Between the two an official client waits until the first has left, or for the answer to its POST, so that the second may come when
// the first is answered. It is ignored then, save where official clients do not say it and official servers close the
// connection: for the main namespace alone.
//
//	CONNECT ──► App.Connect ──Admit───► socket; a second CONNECT has the same answer, once
//	                        ├─Refuse──► CONNECT_ERROR ──────┐
//	                        └─either, after a DISCONNECT ───┴─Answered──► App.Connect for a second CONNECT, if there was one
type connecting struct {
	next      *connecting // of the session
	namespace string
	withdrawn bool   // a DISCONNECT came: the App's answer is not for the client
	answered  bool   // the App has answered; the namespace waits for Answered
	again     bool   // another CONNECT came
	auth      []byte // of that one
}

// maxNextAuth bounds what is kept of a CONNECT that waits for the one before.
const maxNextAuth = 16 << 10

// connect takes a CONNECT packet to the App.
func (s *Session) connect(p socketio.Packet) error {
	cfg := &s.server.cfg
	if cfg.ConnectRate > 0 && !s.connects.Take(1, cfg.ConnectRate, float64(cfg.ConnectBurst), time.Now()) {
		return errFlood
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	if c := s.connectingLocked(p.Namespace); c != nil {
		defer s.mu.Unlock()
		if len(p.Data) > maxNextAuth {
			return errTwice
		}
		c.again, c.auth = true, bytes.Clone(p.Data)
		return nil
	}
	if s.socketLocked(p.Namespace) != nil {
		alone := p.Namespace == socketio.MainNamespace && len(s.sockets) == 1
		s.mu.Unlock()
		if alone {
			return errTwice
		}
		return nil // said before the answer to the first was known
	}
	if len(s.sockets)+s.undecidedLocked() >= maxNamespaces {
		s.mu.Unlock()
		return errNamespaces
	}
	s.pending = &connecting{next: s.pending, namespace: p.Namespace}
	s.awaitLocked()
	s.mu.Unlock()
	s.server.app.Connect(s, p.Namespace, p.Data)
	return nil
}

// withdraw takes back the CONNECTs of a namespace. Without one the DISCONNECT has crossed with the server's.
func (s *Session) withdraw(namespace string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.connectingLocked(namespace); c != nil {
		c.withdrawn, c.again, c.auth = true, false, nil
	}
}

// NewSocket makes a socket for a pending CONNECT. It can be sent to, but the client does not know it before Admit. An empty
// id takes a new one; a recovered socket keeps its old one.
func (s *Session) NewSocket(id, namespace, userID string, state any) *Socket {
	if id == "" {
		id = NewID()
	}
	socket := &Socket{ID: id, Namespace: namespace, UserID: userID, State: state, session: s}
	socket.alone[0] = socket
	return socket
}

// Admit answers a pending CONNECT with its socket; pid, where not empty, is the secret by which the socket can be recovered.
// enter is called when the answer is queued and before it is sent: what the App sends to the socket from there on comes
// after the answer, and nothing that happens once the client knows is missed. It must not call the session. Admit reports
// false when the session ended meanwhile, or the client has taken its CONNECT back.
func (s *Session) Admit(socket *Socket, pid string, enter func()) bool {
	detail := append(append(make([]byte, 0, 72), `{"sid":"`...), socket.ID...)
	if pid != "" {
		detail = append(append(detail, `","pid":"`...), pid...)
	}
	detail = append(detail, `"}`...)
	b := transport.NewBuilder(len(detail) + 24)
	m := b.Message(socketio.AppendConnect(append(b.Buffer(), byte(engineio.Message)), socket.Namespace, detail), nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.connectingLocked(socket.Namespace)
	if c == nil || !c.answer() {
		return false
	}
	s.sockets = append(s.sockets, socket)
	if s.first == nil {
		s.first = socket
	}
	s.admit()
	s.conn.Queue(m)
	s.forgetLocked(socket.Namespace)
	enter()
	s.conn.Flush()
	s.server.stats.Sockets.Inc()
	return true
}

// Refuse answers a pending CONNECT with CONNECT_ERROR; detail is a JSON object for the error's data, or nil.
func (s *Session) Refuse(namespace, message string, detail []byte) {
	b := transport.NewBuilder(96)
	m := b.Message(socketio.AppendConnectError(append(b.Buffer(), byte(engineio.Message)), namespace, message, detail), nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.connectingLocked(namespace)
	if c == nil || !c.answer() {
		return
	}
	if !c.again {
		s.forgetLocked(namespace)
	}
	s.conn.Queue(m)
	s.conn.Flush()
}

// Answered tells that the App is done with a CONNECT that it did not answer at once. If the client has said another one that is
// still to be decided, the App is asked about that now.
func (s *Session) Answered(namespace string) {
	s.mu.Lock()
	c := s.connectingLocked(namespace)
	if c == nil || !c.answered {
		s.mu.Unlock()
		return
	}
	again, auth := c.again, c.auth
	if again {
		*c = connecting{next: c.next, namespace: namespace}
	} else {
		s.forgetLocked(namespace)
	}
	s.mu.Unlock()
	if again {
		s.server.app.Connect(s, namespace, auth)
	}
}

// answer notes that the App has answered, and tells whether that answer is for the client.
func (c *connecting) answer() bool {
	first := !c.answered
	c.answered = true
	return first && !c.withdrawn
}

func (s *Session) connectingLocked(namespace string) *connecting {
	c := s.pending
	for c != nil && c.namespace != namespace {
		c = c.next
	}
	return c
}

// undecidedLocked counts the CONNECTs that are being decided.
func (s *Session) undecidedLocked() (n int) {
	for c := s.pending; c != nil; c = c.next {
		n++
	}
	return n
}

func (s *Session) forgetLocked(namespace string) {
	for at := &s.pending; *at != nil; at = &(*at).next {
		if (*at).namespace == namespace {
			*at = (*at).next
			break
		}
	}
	s.awaitLocked()
}

// awaitedLocked tells whether the client waits for the answer to a CONNECT.
func (s *Session) awaitedLocked() bool {
	for c := s.pending; c != nil; c = c.next {
		if !c.withdrawn || c.again {
			return true
		}
	}
	return false
}
