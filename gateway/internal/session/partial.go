package session

import (
	"sync"
	"time"

	"github.com/starling-chat/starling/gateway/internal/socketio"
	"github.com/starling-chat/starling/gateway/internal/transport"
)

// assembly is a packet whose attachments are still to come.
type assembly struct {
	*socketio.Assembler
	share transport.Share // what is kept of it, of the bytes of all sessions
}

// partials are the sessions that have sent a packet without all of its attachments: nothing of a frame that never comes would bound
// their time. The deadline is one for the whole packet, and moves on while its bytes arrive (transport.ArrivalDeadline). While an attachment is
// on its way the transport bounds how slowly it may come; all of them together have the time of the longest packet at most.
type partials struct {
	mu       sync.Mutex // guards sessions, and what it holds
	sessions map[*Session]*partial
}

type partial struct {
	patience time.Duration
	arrival  transport.ArrivalDeadline
	until    time.Time // in any case
	kept     int       // bytes of the packet
}

// note notes what a session keeps of a packet.
func (p *partials) note(s *Session, kept int, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.sessions[s]
	if known == nil {
		patience, longest := s.server.cfg.PacketTimeout, transport.TimeFor(s.server.cfg.MaxPayload)
		if s.polling() != nil { // what comes by way of another gateway is seen when it is whole
			patience += longest
		}
		known = &partial{patience: patience, arrival: transport.NewArrivalDeadline(patience, now), until: now.Add(patience + longest)}
		p.sessions[s] = known
	}
	known.arrival.Moved(max(0, kept-known.kept), now)
	known.kept = kept
}

// forget is called when the packet is whole, or the session has ended.
func (p *partials) forget(s *Session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.sessions, s)
}

// late gives the sessions whose packet takes too long.
func (p *partials) late(now time.Time) (late []*Session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for s, known := range p.sessions {
		switch {
		case now.After(known.until) || now.After(known.arrival.Deadline()) && !s.arriving():
			late = append(late, s)
			delete(p.sessions, s)
		case s.arriving():
			known.arrival = transport.NewArrivalDeadline(known.patience, now)
		}
	}
	return late
}

// closeLate ends the sessions whose packet takes too long.
func (s *Server) closeLate(now time.Time) {
	for _, session := range s.partials.late(now) {
		session.Close(transport.CodePolicy, transport.ReasonFrameTime)
	}
}

// countPartial counts what is kept of a packet whose attachments are still to come, nothing for a whole one. It is called by whoever
// receives.
func (s *Session) countPartial(kept int) error {
	if s.asm != nil && !s.asm.share.Set(s.server.cfg.Unfinished, kept, false) {
		return errOverload
	}
	return nil
}

// watchPartial has the time of a packet bounded that is not whole at the end of what was read.
func (s *Session) watchPartial() {
	waiting := s.asm != nil && s.asm.Waiting() && !s.gone
	switch {
	case s.server.cfg.PacketTimeout == 0:
	case waiting:
		s.watched = true
		s.server.partials.note(s, s.asm.Kept(), time.Now())
	case s.watched:
		s.watched = false
		s.server.partials.forget(s)
	}
}

// dropPartial forgets a packet that will not be whole any more.
func (s *Session) dropPartial() {
	s.receiving.Lock()
	defer s.receiving.Unlock()
	s.gone = true
	_ = s.countPartial(0)
	s.watchPartial()
}
