package session

import (
	"math/bits"
	"time"

	"github.com/starling-chat/starling/gateway/internal/transport"
)

// pongs is what a session knows of its client's answers to pings; session.mu guards it. Times are distances from the session's
// opening, a third of the size of a time.Time; 0 is never.
//
//	idle ──PingInterval──► pinged ──a pong came──► idle
//	                          └──PingTimeout──► the session ends
type pongs struct {
	pinged time.Duration // when the ping went out whose pong is awaited; 0 while none is
	at     time.Duration // when the last pong came, or the handshake
	fresh  time.Duration // when the last ping went out that was answered, or the handshake
}

// came notes a pong.
func (p *pongs) came(now time.Duration) {
	p.at = now
	if p.pinged > 0 {
		p.fresh = p.pinged
	}
}

// delayed notes that a pong could not come until now, because the client was sending something that took long.
func (p *pongs) delayed(now time.Duration) {
	p.at = now // as good as a pong, which can come now
	if p.pinged > 0 {
		p.pinged = now
	}
}

// firstPing is how long after its opening a session is pinged for the first time: between half an interval and a whole one. Sessions that
// open together, as all do when a gateway is back, would otherwise be pinged together for as long as they live. The nanosecond of the
// opening is spread as well as a random number would be, and is there already.
func (s *Session) firstPing() time.Duration {
	const goldenRatio = 0x9E3779B97F4A7C15 // of 2^64: multiples of it, without what is above 64 bits, lie evenly
	interval := s.server.cfg.PingInterval
	early, _ := bits.Mul64(uint64(interval/2), uint64(s.opened)*goldenRatio) //nolint:gosec // neither is negative
	return interval - time.Duration(early)                                   //nolint:gosec // below interval/2
}

// untilPing is how long after an age the next ping is due.
func (s *Session) untilPing(age time.Duration) time.Duration {
	if s.pongs.at == 0 {
		return s.firstPing() - age
	}
	return s.server.cfg.PingInterval - (age - s.pongs.at)
}

// overdue tells whether the client's pong is missing by the clock of its requests: the wheel's is coarse.
func (s *Session) overdue(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.age(now)-s.pongs.at >= s.server.cfg.PingInterval+s.server.cfg.PingTimeout
}

// Since gives a time for which it is certain that what the session receives from now on was sent later.
func (s *Session) Since() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.server.born.Add(s.opened + s.pongs.fresh)
}

// heartbeat is the wheel's look at the session: it pings, or ends a session that did not pong or connect. It returns when to look
// again, 0 for never.
func (s *Session) heartbeat(now time.Time) time.Duration {
	cfg := &s.server.cfg
	age := s.age(now)
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return 0
	}
	if len(s.sockets) == 0 && age >= cfg.ConnectTimeout {
		s.mu.Unlock()
		s.Close(transport.CodePolicy, transport.ReasonNoConnect)
		return 0
	}
	if s.pongs.pinged == 0 {
		if wait := s.untilPing(age); wait > s.server.wheel.tick { // looked at early, for ConnectTimeout
			s.mu.Unlock()
			return s.untilConnect(age, wait)
		}
		s.pongs.pinged, s.ponged = age, false
		s.mu.Unlock()
		s.conn.Queue(s.server.ping)
		s.conn.Flush()
		return s.untilConnect(age, min(cfg.PingTimeout, cfg.PingInterval))
	}
	if !s.ponged {
		if s.arriving() { // the pong is behind that, and gets its time from when it can come
			s.pongs.pinged = age
			s.mu.Unlock()
			return s.untilConnect(age, cfg.PingTimeout/20)
		}
		if wait := cfg.PingTimeout - (age - s.pongs.pinged); wait > 0 {
			s.mu.Unlock()
			return s.untilConnect(age, min(wait, cfg.PingInterval)) // the next ping is due so long after the pong, should that come
		}
		if s.heldBack.Load() > 0 { // the pong may be there: nobody reads it
			s.pongs.pinged = age
			s.mu.Unlock()
			return cfg.PingTimeout
		}
		s.mu.Unlock()
		s.Close(transport.CodeGoingAway, transport.ReasonPingTimeout)
		return 0
	}
	wait := s.untilPing(age)
	s.pongs.pinged = 0
	s.mu.Unlock()
	return s.untilConnect(age, max(wait, 1))
}

// untilConnect shortens a wait so that ConnectTimeout is noticed in time.
func (s *Session) untilConnect(age, wait time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if left := s.server.cfg.ConnectTimeout - age; len(s.sockets) == 0 && left > 0 {
		return min(wait, left)
	}
	return wait
}
