package session

import "time"

// longArrival is how long a body takes that a pong had to wait for. Others leave the client its time for a pong as it is.
const longArrival = time.Second

// arriving tells whether the client is sending something that takes long: a body, or a message on its WebSocket. Its pong waits behind
// that, and what arrives shows as well as a pong that the client is there. The transport bounds how slowly it may come.
func (s *Session) arriving() bool {
	conn, ok := s.conn.(interface{ Arriving() bool })
	return s.bodies.Load() > 0 || ok && conn.Arriving()
}

// Arriving tells that the body of a POST for a session of this gateway begins to come; done is called when it ends.
func (s *Server) Arriving(sid string) (done func()) {
	session := s.session(sid)
	if session == nil {
		return func() {}
	}
	session.bodies.Add(1)
	began := time.Now()
	return func() {
		session.bodies.Add(-1)
		now := time.Now()
		if now.Sub(began) < longArrival {
			return
		}
		session.mu.Lock()
		defer session.mu.Unlock()
		session.pongs.delayed(session.age(now))
	}
}

// ArrivesElsewhere tells that the body of a POST for a session of this gateway is coming in at another gateway. It is told again and
// again, so that one that was lost does not matter.
func (s *Server) ArrivesElsewhere(sid string) {
	if session := s.session(sid); session != nil {
		session.mu.Lock()
		defer session.mu.Unlock()
		session.pongs.delayed(session.age(time.Now()))
	}
}
