package session

import (
	"sync"
	"time"

	"github.com/starling-chat/starling/gateway/internal/transport"
)

// upgrade is the receiver of a WebSocket by which a polling session wants to go on.
//
//	client            new WebSocket          polling
//	  │──── 2probe ──────►│                     │
//	  │◄─── 3probe ───────│──── noop ──────────►│ the waiting GET is answered
//	  │──── 5 ───────────►│◄─── the queue ──────│ polling is gone
//	  │◄═══ everything ══►│
type upgrade struct {
	session *Session
	conn    transport.Conn
	timer   *time.Timer

	mu     sync.Mutex // guards what follows
	probed bool
	done   bool
	ended  bool
}

// upgradeTimeout bounds the time from the new WebSocket to its 5.
const upgradeTimeout = 10 * time.Second

// Upgrade binds a WebSocket to the session that it is to carry on. A session that is not there, not on polling any more, or
// trying another WebSocket already, gets it closed at once.
func (s *Server) Upgrade(sid string, conn transport.Conn) transport.Receiver {
	session := s.session(sid)
	u := &upgrade{session: session, conn: conn}
	if session == nil || !session.beginProbing() {
		u.session, u.ended = nil, true
		conn.Close(transport.CodeNormal, transport.ReasonRefused)
		return u
	}
	u.timer = time.AfterFunc(upgradeTimeout, u.expire)
	return u
}

// beginProbing claims the session for one WebSocket. The probing ends after the upgrade, so that none slips in between.
func (s *Session) beginProbing() bool {
	if s.polling() == nil || !s.probing.CompareAndSwap(false, true) {
		return false
	}
	if s.upgraded() {
		s.probing.Store(false)
		return false
	}
	return true
}

// Receive implements transport.Receiver.
func (u *upgrade) Receive(data []byte, binary bool) {
	u.mu.Lock()
	done, probed, ended := u.done, u.probed, u.ended
	u.mu.Unlock()
	switch {
	case done:
		u.session.Receive(data, binary)
	case ended || binary:
		u.fail()
	case !probed && string(data) == "2probe":
		u.mu.Lock()
		u.probed = true
		u.mu.Unlock()
		u.conn.Queue(transport.TextMessage("3probe"))
		u.conn.Flush()
		u.session.polling().Release()
	case probed && string(data) == "5":
		u.finish()
	default:
		u.fail()
	}
}

// BatchEnd implements transport.Receiver.
func (u *upgrade) BatchEnd() {
	u.mu.Lock()
	done := u.done
	u.mu.Unlock()
	if done {
		u.session.BatchEnd()
	}
}

// fail closes a WebSocket that does not keep to the protocol; the session is free for another one at once.
func (u *upgrade) fail() {
	u.mu.Lock()
	u.endLocked()
	u.mu.Unlock()
	u.conn.Close(transport.CodeProtocol, transport.ReasonProtocol)
}

// finish moves the session over. A client that is still sending a POST breaks the protocol: the packets of both would be
// taken in at once.
func (u *upgrade) finish() {
	if !u.session.receiving.TryLock() {
		u.fail()
		return
	}
	defer u.session.receiving.Unlock()
	u.mu.Lock()
	u.done = true
	u.mu.Unlock()
	upgraded := u.session.polling().Upgrade(u.conn)
	u.mu.Lock()
	u.done = upgraded
	u.endLocked()
	u.mu.Unlock()
	if !upgraded {
		u.conn.Close(transport.CodeNormal, transport.ReasonRefused)
	}
}

// endLocked ends the probing, once.
func (u *upgrade) endLocked() {
	if !u.ended {
		u.ended = true
		u.timer.Stop()
		u.session.probing.Store(false)
	}
}

func (u *upgrade) expire() {
	u.mu.Lock()
	late := !u.done && !u.ended
	u.mu.Unlock()
	if late {
		u.conn.Close(transport.CodePolicy, transport.ReasonFrameTime)
	}
}

// Closed implements transport.Receiver: before the 5 polling goes on, afterwards the session has ended.
func (u *upgrade) Closed(reason transport.Reason) {
	u.mu.Lock()
	u.endLocked()
	done := u.done
	u.mu.Unlock()
	if done {
		u.session.Closed(reason)
	}
}
