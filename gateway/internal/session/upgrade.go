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

// Upgrade binds a WebSocket to the session that it is to carry on. A session that is not there, or not on polling any more,
// gets it closed at once.
func (s *Server) Upgrade(sid string, conn transport.Conn) transport.Receiver {
	session := s.session(sid)
	u := &upgrade{session: session, conn: conn}
	if session == nil || session.polling() == nil || session.upgraded() {
		u.session, u.ended = nil, true
		conn.Close(transport.CodeNormal, transport.ReasonRefused)
		return u
	}
	session.probing.Add(1)
	u.timer = time.AfterFunc(upgradeTimeout, u.expire)
	return u
}

// Receive implements transport.Receiver.
func (u *upgrade) Receive(data []byte, binary bool) {
	u.mu.Lock()
	done, probed := u.done, u.probed
	u.mu.Unlock()
	switch {
	case done:
		u.session.Receive(data, binary)
	case u.session == nil || binary:
		u.conn.Close(transport.CodeProtocol, transport.ReasonProtocol)
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
		u.conn.Close(transport.CodeProtocol, transport.ReasonProtocol)
	}
}

// finish moves the session over. A client that is still sending a POST breaks the protocol: the packets of both would be
// taken in at once.
func (u *upgrade) finish() {
	if !u.session.receiving.TryLock() {
		u.conn.Close(transport.CodeProtocol, transport.ReasonProtocol)
		return
	}
	defer u.session.receiving.Unlock()
	u.mu.Lock()
	u.done = true
	u.endLocked()
	u.mu.Unlock()
	if !u.session.polling().Upgrade(u.conn) {
		u.mu.Lock()
		u.done = false
		u.mu.Unlock()
		u.conn.Close(transport.CodeNormal, transport.ReasonRefused)
	}
}

// endLocked ends the probing, once.
func (u *upgrade) endLocked() {
	if !u.ended {
		u.ended = true
		u.timer.Stop()
		u.session.probing.Add(-1)
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
