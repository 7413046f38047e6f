package session

import (
	"time"

	"github.com/starling-chat/starling/gateway/internal/transport"
)

// pongs is what a session knows of its client's answers to pings; session.mu guards it.
//
//	idle ──PingInterval──► pinged ──a pong came──► idle
//	                          └──PingTimeout──► the session ends
type pongs struct {
	pinged time.Time // when the ping went out whose pong is awaited; zero while none is
	ponged bool      // since then
	at     time.Time // when the last pong came; zero before the first
	fresh  time.Time // when the last ping went out that was answered
}

// came notes a pong.
func (p *pongs) came(now time.Time) {
	p.ponged, p.at = true, now
	if !p.pinged.IsZero() {
		p.fresh = p.pinged
	}
}

// delayed notes that a pong could not come until now, because the client was sending something that took long.
func (p *pongs) delayed(now time.Time) {
	p.at = now // as good as a pong, which can come now
	if !p.pinged.IsZero() {
		p.pinged = now
	}
}

// last is when the client last showed that it is there: by a pong, or by its handshake.
func (p *pongs) last(opened time.Time) time.Time {
	if p.at.After(opened) {
		return p.at
	}
	return opened
}

// overdue tells whether the client's pong is missing by the clock of its requests: the wheel's is coarse.
func (s *Session) overdue(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return now.Sub(s.pongs.last(s.opened)) >= s.server.cfg.PingInterval+s.server.cfg.PingTimeout
}

// Since gives a time for which it is certain that what the session receives from now on was sent later.
func (s *Session) Since() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pongs.fresh.After(s.opened) {
		return s.pongs.fresh
	}
	return s.opened
}

// heartbeat is the wheel's look at the session: it pings, or ends a session that did not pong or connect. It returns when to look
// again, 0 for never.
func (s *Session) heartbeat(now time.Time) time.Duration {
	cfg := &s.server.cfg
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return 0
	}
	if len(s.sockets) == 0 && now.Sub(s.opened) >= cfg.ConnectTimeout {
		s.mu.Unlock()
		s.Close(transport.CodePolicy, transport.ReasonNoConnect)
		return 0
	}
	if s.pongs.pinged.IsZero() {
		if wait := cfg.PingInterval - now.Sub(s.pongs.last(s.opened)); wait > s.server.wheel.tick { // looked at early, for ConnectTimeout
			s.mu.Unlock()
			return s.untilConnect(now, wait)
		}
		s.pongs.pinged, s.pongs.ponged = now, false
		s.mu.Unlock()
		s.conn.Queue(s.server.ping)
		s.conn.Flush()
		return s.untilConnect(now, min(cfg.PingTimeout, cfg.PingInterval))
	}
	if !s.pongs.ponged {
		if s.arriving() { // the pong is behind that, and gets its time from when it can come
			s.pongs.pinged = now
			s.mu.Unlock()
			return s.untilConnect(now, cfg.PingTimeout/20)
		}
		if wait := cfg.PingTimeout - now.Sub(s.pongs.pinged); wait > 0 {
			s.mu.Unlock()
			return s.untilConnect(now, wait)
		}
		if s.heldBack.Load() > 0 { // the pong may be there: nobody reads it
			s.pongs.pinged = now
			s.mu.Unlock()
			return cfg.PingTimeout
		}
		s.mu.Unlock()
		s.Close(transport.CodeGoingAway, transport.ReasonPingTimeout)
		return 0
	}
	wait := cfg.PingInterval - now.Sub(s.pongs.at)
	s.pongs.pinged = time.Time{}
	s.mu.Unlock()
	return s.untilConnect(now, max(wait, 1))
}

// untilConnect shortens a wait so that ConnectTimeout is noticed in time.
func (s *Session) untilConnect(now time.Time, wait time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if left := s.server.cfg.ConnectTimeout - now.Sub(s.opened); len(s.sockets) == 0 && left > 0 {
		return min(wait, left)
	}
	return wait
}
