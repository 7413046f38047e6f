package transport

import (
	"context"
	"errors"
	"sync"

	"github.com/starling-chat/starling/gateway/internal/engineio"
)

// Polling is the Conn of a session that began with HTTP long polling. It lives as long as the session: after an upgrade it
// hands everything on to the new conn, so that those who hold it need not know.
//
//	GET waits ──Flush──► answer with all queued packets
//	upgrade:  Release (a waiting GET is answered with a noop) ──► Upgrade(next): the queue moves over, next takes all that follows
type Polling struct {
	// Fixed before the conn is used.
	server   *Server
	limits   Limits
	owner    Receiver
	upgraded chan struct{} // closed at the upgrade

	mu          sync.Mutex // guards what follows
	queue       packetQueue
	wake        chan struct{} // closed when the waiting GET has something to do; nil while none waits
	next        Conn          // after the upgrade
	known       bool          // the peer has shown who it is
	slow        bool          // a message did not fit: Flush closes the conn
	closing     bool
	reason      Reason
	closePacket bool          // the close is the server's: a close packet is still to be sent
	paused      chan struct{} // non-nil while reading is paused; closed by ResumeRead
}

var _ Conn = (*Polling)(nil)

// NewPolling makes the conn of a new polling session. Bind it to its Receiver before use.
func (s *Server) NewPolling() *Polling {
	return &Polling{
		server: s, limits: s.limits, upgraded: make(chan struct{}),
		queue: packetQueue{sendQueue: sendQueue{bound: s.limits.SendQueue, stuck: true}},
	}
}

// Bind sets the session.
func (p *Polling) Bind(owner Receiver) { p.owner = owner }

// ErrOverlap tells that a GET came while another one waits.
var ErrOverlap = errors.New("another GET is waiting")

// ErrUpgraded tells that the session is on WebSocket.
var ErrUpgraded = errors.New("the session was upgraded")

// ErrClosed tells that the session has ended and nothing is left to be told.
var ErrClosed = errors.New("the session has ended")

// Poll waits for packets and gives the body that answers a GET. When ctx ends while it waits the client is gone.
func (p *Polling) Poll(ctx context.Context) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next != nil {
		return nil, ErrUpgraded
	}
	for {
		if p.wake != nil { // also while this one was about to wake up
			return nil, ErrOverlap
		}
		if !p.queue.empty() || p.closing {
			return p.bodyLocked()
		}
		wake := make(chan struct{})
		p.wake = wake
		p.mu.Unlock()
		select {
		case <-wake:
		case <-ctx.Done():
		}
		p.mu.Lock()
		if p.wake == wake {
			p.wake = nil
		}
		if p.next != nil {
			return nil, ErrUpgraded
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

// bodyLocked makes a body of what is queued, up to a packet's limit, or of the close packet. The close packet has a body of its
// own: a client that reads it in one turn with the DISCONNECT of a socket tells two ends of that socket.
func (p *Polling) bodyLocked() ([]byte, error) {
	switch {
	case !p.queue.empty():
		return p.queue.popBody(p.limits.MaxMessage), nil
	case p.closePacket:
		p.closePacket = false
		return engineio.AppendPolled(nil, []byte{byte(engineio.Close)}, false), nil
	}
	return nil, ErrClosed
}

// Pending tells whether a closed session still has something for its client.
func (p *Polling) Pending() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.next == nil && p.closing && (!p.queue.empty() || p.closePacket)
}

// Settled tells whether the peer has all that was sent: a GET waits for more. Nothing is told of a conn that has gone over.
func (p *Polling) Settled() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.next != nil || p.wake != nil && p.queue.empty()
}

// Release answers a waiting GET with a noop, so that the client can go over to its WebSocket.
func (p *Polling) Release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wake != nil && p.queue.empty() {
		p.queue.append(polled{text: []byte{byte(engineio.Noop)}})
		p.wakeLocked()
	}
}

// Upgrade moves the session over to next, with everything that is queued. It reports false when the session has ended.
func (p *Polling) Upgrade(next Conn) bool {
	if !p.goOver(next) {
		return false
	}
	next.Flush() // after the unlock: it may write
	return true
}

func (p *Polling) goOver(next Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closing || p.slow || p.next != nil {
		return false // of a slow one the next flush makes an end: it has refused an event, and must not go on without it
	}
	for _, q := range p.queue.packets {
		if len(q.text) == 1 && q.text[0] == byte(engineio.Noop) {
			continue // a noop never goes over WebSocket
		}
		b := NewBuilder(len(q.text))
		b.Answer = q.answer
		next.Queue(b.Message(append(b.Buffer(), q.text...), q.attachments))
	}
	p.queue.drop()
	p.next = next
	if p.known {
		next.Admitted()
	}
	close(p.upgraded)
	if p.paused != nil {
		next.PauseRead()
	}
	p.wakeLocked()
	return true
}

// Upgraded is closed when the session has gone over to a WebSocket.
func (p *Polling) Upgraded() <-chan struct{} { return p.upgraded }

func (p *Polling) wakeLocked() {
	if p.wake != nil {
		close(p.wake)
		p.wake = nil
	}
}

// Queue implements Conn.
func (p *Polling) Queue(m *Message) bool { return p.queueText(m, m.text) }

// QueueRun implements Conn.
func (p *Polling) QueueRun(run []Suffixed) (taken int) {
	p.mu.Lock()
	next := p.next
	p.mu.Unlock()
	if next != nil {
		return next.QueueRun(run)
	}
	for _, s := range run {
		text := s.Message.text
		if s.Suffix != nil {
			text = append(append(make([]byte, 0, len(text)+len(s.Suffix)), text[:len(text)-1]...), s.Suffix...)
		}
		if p.queueText(s.Message, text) {
			taken++
		}
	}
	return taken
}

func (p *Polling) queueText(m *Message, text []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next != nil {
		if len(text) == len(m.text) {
			return p.next.Queue(m)
		}
		b := NewBuilder(len(text))
		b.Volatile, b.Answer = m.volatile, m.answer
		return p.next.Queue(b.Message(append(b.Buffer(), text...), m.attachments))
	}
	if p.closing || p.slow {
		return false
	}
	q := polled{text: text, attachments: m.attachments, answer: m.answer}
	verdict := p.queue.admit(q.size(), m.volatile, m.answer)
	if verdict != taken {
		p.slow = verdict == slow
		return false
	}
	p.queue.append(q)
	return true
}

// FlushDue implements Conn. What is queued for polling waits for the client to ask: no early flush would help.
func (p *Polling) FlushDue() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next != nil {
		return p.next.FlushDue()
	}
	return p.slow
}

// Flush implements Conn.
func (p *Polling) Flush() {
	p.mu.Lock()
	next := p.next
	switch {
	case next != nil:
	case p.slow:
		p.closeLocked(ReasonSlow)
	case !p.queue.empty():
		p.wakeLocked()
	}
	p.mu.Unlock()
	if next != nil {
		next.Flush()
	}
}

// Close implements Conn.
func (p *Polling) Close(code Code, reason Reason) {
	p.mu.Lock()
	if next := p.next; next != nil {
		p.mu.Unlock()
		next.Close(code, reason)
		return
	}
	p.closeLocked(reason)
	p.mu.Unlock()
}

// closeLocked ends the polling. A client that left, or is not there to poll, gets no close packet, and nothing is kept for one whose
// place was needed.
func (p *Polling) closeLocked(reason Reason) (first bool) {
	if p.closing {
		return false
	}
	p.closing, p.reason = true, reason
	switch reason {
	case ReasonClient, ReasonLost, ReasonPingTimeout, ReasonProtocol, ReasonSlow, ReasonReplaced, ReasonTooBig, ReasonDisplaced:
		p.queue.drop()
	default:
		p.closePacket = true
	}
	if reason == ReasonClient { // the waiting GET of a client that sent a close packet gets a noop, or else the first that comes
		p.queue.append(polled{text: []byte{byte(engineio.Noop)}})
	}
	p.wakeLocked()
	if p.paused != nil {
		close(p.paused)
		p.paused = nil
	}
	// Whoever closes may hold a lock that the session's end needs: it is reported from a goroutine, as by a WebSocket.
	p.server.tasks.Go(func() { p.owner.Closed(reason) })
	return true
}

// CloseOverlapped ends the polling because a second GET came: the first one is answered with a close packet.
func (p *Polling) CloseOverlapped() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closeLocked(ReasonProtocol) {
		p.closePacket = true
	}
}

// Arriving tells whether, after the upgrade, a message has begun and its end is still to come.
func (p *Polling) Arriving() bool {
	p.mu.Lock()
	next := p.next
	p.mu.Unlock()
	conn, ok := next.(interface{ Arriving() bool })
	return ok && conn.Arriving()
}

// PauseRead implements Conn: the POST being taken in is not answered before ResumeRead.
func (p *Polling) PauseRead() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next != nil {
		p.next.PauseRead()
		return
	}
	if p.paused == nil && !p.closing {
		p.paused = make(chan struct{})
	}
}

// ResumeRead implements Conn.
func (p *Polling) ResumeRead() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paused != nil {
		close(p.paused)
		p.paused = nil
	}
	if p.next != nil {
		p.next.ResumeRead()
	}
}

// AwaitResumed waits while reading is paused.
func (p *Polling) AwaitResumed(ctx context.Context) error {
	p.mu.Lock()
	paused := p.paused
	p.mu.Unlock()
	if paused == nil {
		return nil
	}
	select {
	case <-paused:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Admitted implements Conn.
func (p *Polling) Admitted() {
	p.mu.Lock()
	p.known = true
	next := p.next
	p.mu.Unlock()
	if next != nil {
		next.Admitted()
	}
}

// QueuedBytes implements Conn.
func (p *Polling) QueuedBytes() int {
	p.mu.Lock()
	next := p.next
	n := p.queue.waiting
	p.mu.Unlock()
	if next != nil {
		return next.QueuedBytes()
	}
	return n
}
