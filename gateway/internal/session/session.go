package session

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/starling-chat/starling/gateway/internal/engineio"
	"github.com/starling-chat/starling/gateway/internal/socketio"
	"github.com/starling-chat/starling/gateway/internal/transport"
)

// maxNamespaces bounds how many namespaces one session enters.
const maxNamespaces = 16

// Session is one client over whatever transport. It is the Receiver of its conn.
type Session struct {
	// Fixed at birth.
	server  *Server
	conn    transport.Conn
	headers Headers
	sid     sid
	opened  time.Duration // since the server's birth

	bodies    atomic.Int32            // POSTs whose body is arriving
	admitted  atomic.Bool             // a namespace has let the client in
	ending    atomic.Bool             // Close was called: what still comes is not taken in
	heldBack  atomic.Int32            // sockets that stop the reading; pongs are not read meanwhile
	probing   atomic.Bool             // while there is a WebSocket by which a polling session wants to go on
	upgrading atomic.Pointer[upgrade] // that WebSocket, from its 5 until the session has gone over

	// Owned by whoever receives: the WebSocket's reader, or the POST that holds receiving, which is held at the upgrade too.
	receiving sync.Mutex
	asm       *assembly           // nil until a binary packet comes
	control   transport.Allowance // of packets that are no events
	connects  transport.Allowance // of CONNECTs
	inBatch   *Socket             // has had an Event since its last BatchEnd
	watched   bool                // the session is one of the server's partials
	gone      bool                // the session has ended

	// Guarded by mu; they stand here because they fit.
	closed bool
	ponged bool // a pong came since the last ping

	mu      sync.Mutex  // guards what follows; the conn's and the client's locks may be taken under it
	sockets []*Socket   // one for each namespace
	pending *connecting // the first CONNECT that is being decided
	pongs   pongs
	place   transport.Place // among the strangers
	first   *Socket         // that was admitted, for the log: it may have left before the session ends
}

var _ transport.Receiver = (*Session)(nil)

// age is how long ago the session was opened.
func (s *Session) age(now time.Time) time.Duration { return now.Sub(s.server.born) - s.opened }

// Headers gives what was kept of the handshake request.
func (s *Session) Headers() Headers { return s.headers }

// Receive implements transport.Receiver.
func (s *Session) Receive(data []byte, binary bool) {
	if s.ending.Load() {
		return
	}
	packet, err := engineio.DecodeFrame(data, binary)
	if err == nil {
		err = s.packet(packet)
	}
	if err != nil {
		s.fail(packet, err)
	}
}

// fail ends the session for a packet of the peer.
func (s *Session) fail(packet engineio.Packet, err error) {
	switch {
	case errors.Is(err, errFlood):
		s.Close(transport.CodePolicy, transport.ReasonFlood)
	case errors.Is(err, errOverload):
		s.Close(transport.CodeTryAgainLater, transport.ReasonOverload)
	default:
		s.server.Suspect(s.likelyCause(packet, err), s.headers.RemoteIP)
		s.Close(transport.CodeProtocol, transport.ReasonProtocol)
	}
}

// maxPayload is how many bytes a packet may have.
func (s *Session) maxPayload() int {
	if s.admitted.Load() {
		return s.server.cfg.MaxPayload
	}
	return min(s.server.cfg.FirstPayload, s.server.cfg.MaxPayload)
}

// takeControl counts a packet that is no event: nothing else bounds how many of them come.
func (s *Session) takeControl(price float64) error {
	if !s.control.Take(price, transport.ControlRate, transport.ControlBurst, time.Now()) {
		return errFlood
	}
	return nil
}

// BatchEnd implements transport.Receiver.
func (s *Session) BatchEnd() {
	if socket := s.inBatch; socket != nil {
		s.inBatch = nil
		s.server.app.BatchEnd(socket)
	}
	if s.asm != nil {
		s.watchPartial()
	}
}

// packet takes one Engine.IO packet; an error is the peer's and ends the session.
func (s *Session) packet(packet engineio.Packet) error {
	if packet.Type != engineio.Message {
		if err := s.takeControl(transport.PriceControl); err != nil {
			return err
		}
	}
	switch packet.Type {
	case engineio.Message:
		return s.message(packet)
	case engineio.Pong:
		s.mu.Lock()
		s.ponged = true
		s.pongs.came(s.age(time.Now()))
		s.mu.Unlock()
	case engineio.Close:
		s.BatchEnd() // what the client said before it went still counts
		s.Close(transport.CodeNormal, transport.ReasonClient)
	case engineio.Ping:
		return errClientPing
	default: // open, upgrade and noop mean nothing from a client; official servers ignore them, and Swift's client sends a noop
	}
	return nil
}

// polling gives the conn of a session that began with polling, nil for others.
func (s *Session) polling() *transport.Polling {
	p, _ := s.conn.(*transport.Polling)
	return p
}

// upgraded tells whether a session that began with polling is on WebSocket now.
func (s *Session) upgraded() bool {
	select {
	case <-s.polling().Upgraded():
		return true
	default:
		return false
	}
}

// message takes one Engine.IO message; an error is the peer's and ends the session.
func (s *Session) message(packet engineio.Packet) error {
	if raw := s.server.cfg.Raw; raw != nil {
		raw.Message(s, packet.Data, packet.Binary)
		return nil
	}
	if packet.Binary {
		if s.asm == nil {
			return errStrayBinary
		}
		complete, err := s.asm.Binary(packet.Data)
		if err == nil && !complete {
			return s.countPartial(s.asm.Kept())
		}
		_ = s.countPartial(0)
		if err != nil {
			return err
		}
		return s.dispatch(s.asm.Take())
	}
	if s.asm != nil && s.asm.Waiting() {
		_, err := s.asm.Text(socketio.Packet{})
		return err
	}
	decoded, err := socketio.Decode(packet.Data, s.server.limits)
	if err != nil && !errors.Is(err, socketio.ErrTooDeep) {
		return err
	}
	if decoded.Attachments == 0 {
		return s.dispatch(decoded, nil)
	}
	if !s.admitted.Load() { // nothing is kept for it
		return errBeforeConnect
	}
	if s.asm == nil {
		s.asm = &assembly{Assembler: socketio.NewAssembler(s.server.cfg.MaxPayload)}
	}
	if _, err = s.asm.Text(decoded); err != nil {
		return err
	}
	return s.countPartial(s.asm.Kept())
}

var (
	errClientPing    = errors.New("ping outside of an upgrade")
	errStrayBinary   = &socketio.ProtocolError{Reason: socketio.StrayBinary}
	errBeforeConnect = errors.New("packet for a namespace that is not connected")
	errTwice         = errors.New("second CONNECT to a namespace")
	errNotForServer  = errors.New("packet that only servers send")
	errNamespaces    = errors.New("too many namespaces")
	errFlood         = errors.New("too many packets")
	errOverload      = errors.New("too much has begun to arrive")
)

func (s *Session) dispatch(p socketio.Packet, attachments [][]byte) error {
	if p.Type == socketio.Connect {
		return s.connect(p)
	}
	socket := s.socket(p.Namespace)
	if !p.Type.IsEvent() || socket == nil {
		price := float64(transport.PriceAck)
		if !p.Type.IsAck() {
			price = transport.PriceControl
		}
		if err := s.takeControl(price); err != nil {
			return err
		}
	}
	if socket == nil {
		if p.Type == socketio.Disconnect {
			s.withdraw(p.Namespace)
			return nil
		}
		if p.Type.IsAck() || s.left(p.Namespace) {
			return nil // crossed with our own disconnect
		}
		return errBeforeConnect
	}
	switch p.Type {
	case socketio.Event, socketio.BinaryEvent:
		s.server.stats.EventsIn.Inc()
		if s.inBatch != socket {
			s.BatchEnd()
			s.inBatch = socket
		}
		s.server.app.Event(socket, Event{Name: p.Name(), Packet: p, Attachments: attachments})
	case socketio.Ack, socketio.BinaryAck:
		s.server.app.Ack(socket, p.ID, p.Data, attachments)
	case socketio.Disconnect:
		s.BatchEnd() // what the client said before it went still counts
		s.drop(socket, transport.ReasonLeft)
	default:
		return errNotForServer
	}
	return nil
}

// Ended tells whether the session is closed.
func (s *Session) Ended() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// HoldBack stops the reading for good: the session is about to end.
func (s *Session) HoldBack() {
	s.heldBack.Add(1)
	s.conn.PauseRead()
}

// Sockets lists the session's sockets, one for each namespace.
func (s *Session) Sockets() []*Socket {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.sockets)
}

// Conn gives the session's conn.
func (s *Session) Conn() transport.Conn { return s.conn }

func (s *Session) socket(namespace string) *Socket {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.socketLocked(namespace)
}

func (s *Session) socketLocked(namespace string) *Socket {
	for _, socket := range s.sockets {
		if socket.Namespace == namespace && !socket.left {
			return socket
		}
	}
	return nil
}

// left tells whether the server disconnected the socket of a namespace: packets that crossed with it are ignored.
func (s *Session) left(namespace string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, socket := range s.sockets {
		if socket.Namespace == namespace && socket.left {
			return true
		}
	}
	return false
}

// drop takes a socket out of its namespace and tells the App, once.
func (s *Session) drop(socket *Socket, reason transport.Reason) {
	s.mu.Lock()
	first := !socket.left
	socket.left = true
	if first && reason == transport.ReasonLeft {
		s.sockets = slices.DeleteFunc(s.sockets, func(o *Socket) bool { return o == socket })
	}
	s.mu.Unlock()
	if first {
		s.server.stats.Sockets.Dec()
		s.server.app.Disconnected(socket, reason)
	}
}

// Settled tells whether a client on long polling has come for all that was sent to it. A WebSocket carries the rest before it is closed.
func (s *Session) Settled() bool {
	p := s.polling()
	return p == nil || p.Settled()
}

// Close ends the session. The App hears of its sockets when the conn reports the end.
func (s *Session) Close(code transport.Code, reason transport.Reason) {
	s.ending.Store(true)
	s.conn.Close(code, reason)
}

// Closed implements transport.Receiver.
func (s *Session) Closed(reason transport.Reason) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.closed = true
	sockets := s.sockets
	s.sockets, s.pending = nil, nil
	s.server.cfg.Strangers.Leave(&s.place)
	s.mu.Unlock()
	s.dropPartial()
	if p := s.polling(); p != nil && !s.upgraded() {
		s.server.retain(s, p)
	}
	s.server.forget(s)
	s.logEnd(reason)
	s.server.stats.Disconnects.WithLabelValues(string(reason)).Inc()
	if reason == transport.ReasonSlow {
		s.server.stats.SlowCloses.Inc()
	}
	for _, socket := range sockets {
		s.drop(socket, reason)
	}
}
