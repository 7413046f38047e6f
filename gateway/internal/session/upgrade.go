package session

import (
	"bytes"
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
//
// The probe may be missing, as with .NET's client, and may come again. A POST that is being taken in when the 5 comes is taken in
// to its end first; what the WebSocket brings meanwhile is kept.
type upgrade struct {
	session *Session
	conn    transport.Conn
	timer   *time.Timer
	probes  int // owned by the WebSocket's reader

	mu     sync.Mutex // guards what follows
	phase  upgradePhase
	early  []message        // what came after the 5 and before the session had gone over
	reason transport.Reason // why the WebSocket ended while the session went over; "" = it did not
}

// upgradePhase is how far an upgrade is:
//
//	probing ──5──► waiting ──no POST is under way──► moving ──► done
//	   └──────────────┴──refused, closed, too late──► ended
type upgradePhase int

const (
	probing upgradePhase = iota
	waiting
	moving
	done
	ended
)

// message is a copy of one that was received.
type message struct {
	data   []byte
	binary bool
}

// maxEarly bounds the messages that are kept for a session that goes over; reading stops at the first one, but what a tunnel
// has under way still comes.
const maxEarly = 256

// maxProbes bounds how often a client probes one WebSocket.
const maxProbes = 16

// upgradeTimeout bounds the time from the new WebSocket to its 5.
const upgradeTimeout = 10 * time.Second

// Upgrade binds a WebSocket to the session that it is to carry on. A session that is not there, not on polling any more, or
// trying another WebSocket already, gets it closed at once.
func (s *Server) Upgrade(sid string, conn transport.Conn) transport.Receiver {
	session := s.session(sid)
	u := &upgrade{session: session, conn: conn}
	if session == nil || !session.beginProbing() {
		u.phase = ended
		conn.Close(transport.CodeNormal, transport.ReasonRefused)
		return u
	}
	if session.admitted.Load() {
		conn.Admitted()
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
	phase := u.phase
	early := phase == waiting || phase == moving
	tooMany := early && len(u.early) >= maxEarly
	if early && !tooMany {
		u.early = append(u.early, message{bytes.Clone(data), binary})
	}
	u.mu.Unlock()
	switch {
	case phase == done:
		u.session.Receive(data, binary)
	case tooMany:
		u.conn.Close(transport.CodeProtocol, transport.ReasonProtocol)
	case early:
	case phase == ended, binary:
		u.fail()
	case string(data) == "2probe" && u.probes < maxProbes:
		u.probes++
		u.conn.Queue(transport.TextMessage("3probe"))
		u.conn.Flush()
		u.session.polling().Release()
	case string(data) == "5":
		u.finish()
	default:
		u.fail()
	}
}

// BatchEnd implements transport.Receiver.
func (u *upgrade) BatchEnd() {
	u.mu.Lock()
	phase := u.phase
	u.mu.Unlock()
	if phase == done {
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

// finish moves the session over, now or as soon as the POST that is being taken in lets go of it: the packets of both must not be
// taken in at once.
func (u *upgrade) finish() {
	u.mu.Lock()
	u.phase = waiting
	u.mu.Unlock()
	u.conn.PauseRead()
	u.session.upgrading.Store(u)
	u.session.goOver()
}

// goOver moves the session over to the WebSocket that waits for it, unless a POST is being taken in, which calls goOver itself when
// it has been.
func (s *Session) goOver() {
	if !s.receiving.TryLock() {
		return
	}
	defer s.receiving.Unlock()
	if u := s.upgrading.Load(); u != nil {
		u.move()
	}
}

// move has the session go on over the WebSocket; its caller holds receiving.
func (u *upgrade) move() {
	u.mu.Lock()
	if u.phase != waiting {
		u.mu.Unlock()
		return
	}
	u.phase = moving
	u.mu.Unlock()
	u.conn.ResumeRead() // before the session goes over: it may be paused itself
	upgraded := u.session.polling().Upgrade(u.conn)
	for {
		u.mu.Lock()
		early := u.early
		u.early = nil
		if len(early) == 0 || !upgraded {
			u.endLocked()
			if upgraded {
				u.phase = done
			}
			reason := u.reason
			u.mu.Unlock()
			u.moved(upgraded, reason)
			return
		}
		u.mu.Unlock()
		for _, m := range early {
			u.session.Receive(m.data, m.binary)
		}
		u.session.BatchEnd()
	}
}

// moved deals with what happened while the session went over.
func (u *upgrade) moved(upgraded bool, reason transport.Reason) {
	switch {
	case !upgraded:
		u.conn.Close(transport.CodeNormal, transport.ReasonRefused)
	case reason != "":
		u.session.Closed(reason)
	}
}

// endLocked ends the probing, once.
func (u *upgrade) endLocked() {
	if u.phase < done {
		u.phase = ended
		u.timer.Stop()
		u.session.upgrading.CompareAndSwap(u, nil)
		u.session.probing.Store(false)
	}
}

func (u *upgrade) expire() {
	u.mu.Lock()
	late := u.phase < moving
	u.mu.Unlock()
	if late {
		u.conn.Close(transport.CodePolicy, transport.ReasonFrameTime)
	}
}

// Closed implements transport.Receiver: before the session has gone over it stays on polling, afterwards it has ended.
func (u *upgrade) Closed(reason transport.Reason) {
	u.mu.Lock()
	phase := u.phase
	switch phase {
	case moving: // whoever moves it ends it
		u.reason = reason
	case done:
	default:
		u.endLocked()
	}
	u.mu.Unlock()
	if phase == done {
		u.session.Closed(reason)
	}
}
