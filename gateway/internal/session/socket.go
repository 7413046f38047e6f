package session

import (
	"github.com/starling-chat/starling/gateway/internal/engineio"
	"github.com/starling-chat/starling/gateway/internal/socketio"
	"github.com/starling-chat/starling/gateway/internal/transport"
)

// Socket is a session attached to a namespace.
type Socket struct {
	ID        string // public; never the session's sid
	Namespace string
	UserID    string
	State     any // the App's
	// Offsets is non-nil when the socket can be recovered.
	Offsets *Offsets
	// Registered is when the socket was registered, in Unix milliseconds; the registry's.
	Registered int64

	session *Session
	alone   [1]*Socket // itself
	left    bool       // guarded by session.mu: the namespace is left
}

// Alone is the list that has this socket alone. It takes no memory of its own, and must not be changed.
func (s *Socket) Alone() []*Socket { return s.alone[:] }

// Session gives the session that the socket belongs to.
func (s *Socket) Session() *Session { return s.session }

// Queue appends a message to the conn's send queue; Flush sends it. It flushes by itself when much is queued, or the queue has
// overflowed.
func (s *Socket) Queue(m *transport.Message) bool {
	taken := s.Append(m)
	s.flushIfDue()
	return taken
}

// QueueDurable is Queue for a durable event of a room: index is the room's number in the socket's offsets.
func (s *Socket) QueueDurable(m *transport.Message, index uint32, seq uint64) bool {
	taken := s.AppendRun(index, []Outgoing{{m, seq}})
	s.flushIfDue()
	return taken > 0
}

func (s *Socket) flushIfDue() {
	if conn := s.session.conn; conn.FlushDue() {
		conn.Flush()
	}
}

// Append is Queue for callers that hold a lock: it never writes. They flush once they have given the lock back.
func (s *Socket) Append(m *transport.Message) bool {
	if m.WithOffset() && s.Offsets != nil {
		return s.AppendRun(0, []Outgoing{{Message: m}}) > 0
	}
	return s.session.conn.Queue(m)
}

// Outgoing is an event on its way to a socket.
type Outgoing struct {
	Message *transport.Message
	Seq     uint64 // in the room's sequence; 0 = the event is ephemeral
}

// AppendRun is Append for events of one room in turn: index is the room's number in the socket's offsets, taken how many were taken.
func (s *Socket) AppendRun(index uint32, events []Outgoing) (taken int) {
	if s.Offsets != nil {
		return s.Offsets.queueRun(s.session.conn, index, events)
	}
	for _, e := range events {
		if s.session.conn.Queue(e.Message) {
			taken++
		}
	}
	return taken
}

// Flush writes what is queued.
func (s *Socket) Flush() { s.session.conn.Flush() }

// Conn gives the conn, to flush it once after several messages.
func (s *Socket) Conn() transport.Conn { return s.session.conn }

// PauseRead stops reading from the client; ResumeRead goes on.
func (s *Socket) PauseRead() {
	s.session.heldBack.Add(1)
	s.session.conn.PauseRead()
}

// ResumeRead goes on reading after PauseRead, once every socket of the session agrees.
func (s *Socket) ResumeRead() {
	if s.session.heldBack.Add(-1) == 0 {
		s.session.conn.ResumeRead()
	}
}

// Close ends the whole session, all its namespaces.
func (s *Socket) Close(code transport.Code, reason transport.Reason) { s.session.Close(code, reason) }

// Disconnect takes the socket out of its namespace for good: official clients do not come back by themselves. When it was
// the session's last socket, the session ends.
func (s *Socket) Disconnect(reason transport.Reason) {
	b := transport.NewBuilder(24)
	s.Queue(b.Message(socketio.AppendDisconnect(append(b.Buffer(), byte(engineio.Message)), s.Namespace), nil))
	s.session.drop(s, reason)
	s.session.mu.Lock()
	last := !s.session.awaitedLocked()
	for _, other := range s.session.sockets {
		last = last && other.left
	}
	s.session.mu.Unlock()
	if last {
		s.Close(transport.CodeNormal, reason)
		return
	}
	s.Flush()
}
