package peers

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/gateway/internal/engineio"
	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/transport"
	enginev1 "github.com/starling-chat/starling/proto/gen/starling/engine/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// tunnel is one end of a WebSocket that one gateway (the carrier) has and another gateway's session (the owner) uses.
//
//	client ◄─frames─► WebSocket ─ tunnel(carrier) ◄─TunnelData─► tunnel(owner) ─ session
//
// At the owner it is the session's Conn; at the carrier it is the WebSocket's Receiver. Messages are counted in each
// direction: a hole means that NATS dropped something, and ends the tunnel, so that the client recovers.
type tunnel struct {
	// Fixed when the tunnel is added. One of owner and conn is nil.
	peers   *Peers
	id      string
	gateway string             // of the other end
	opened  time.Time          // at the carrier
	owner   transport.Receiver // at the owner: the session's side
	conn    transport.Conn     // at the carrier: the client's WebSocket

	sending sync.Mutex // before mu; guards sent, and is held while a message is published: they leave in the order of their numbers
	sent    uint64     // messages to the other end

	mu     sync.Mutex // guards what follows; nothing is published under it. The lock of conn may be taken under it
	got    uint64     // messages from the other end
	window window     // of what is sent to it
	closed bool
	added  time.Time // when this end became known to its gateway
	seen   time.Time // when the other end last gave a sign of life

	// At the owner.
	out     []byte // frames that wait for a flush, or for the window
	large   int    // bytes of a message that is taken beside the bound of out
	slow    bool   // a message did not fit: Flush closes the tunnel
	paused  bool   // reading is to be paused
	told    bool   // what the carrier was told of that
	telling bool   // a goroutine is at it

	// At the carrier.
	held    bool // the owner wants no more for now
	stopped bool // reading from the client is paused
}

// tunnelChunk is how many bytes of frames go in one NATS message, below its limit of 1 MiB.
const tunnelChunk = 256 << 10

var (
	_ transport.Conn     = (*tunnel)(nil)
	_ transport.Receiver = (*tunnel)(nil)
)

func (p *Peers) tunnel(id string) *tunnel {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tunnels[id]
}

func (p *Peers) addTunnel(t *tunnel) {
	now := time.Now()
	t.mu.Lock()
	t.added, t.seen = now, now
	t.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tunnels[t.id] = t
	if t.conn != nil {
		p.carried++
	}
}

func (p *Peers) dropTunnel(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.tunnels[id]; t != nil && t.conn != nil {
		p.carried--
	}
	delete(p.tunnels, id)
}

// Carried tells how many WebSockets this gateway carries for others.
func (p *Peers) Carried() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.carried
}

// OpenTunnel asks another gateway, the owner, to take a WebSocket for one of its sessions. bind makes the Receiver of the
// WebSocket at this gateway, the carrier; refusal is the owner's answer when it does not take it.
func (p *Peers) OpenTunnel(
	ctx context.Context, gateway, sid string,
) (bind func(transport.Conn) transport.Receiver, refusal *engineio.RequestError, err error) {
	t := &tunnel{peers: p, id: session.NewID(), gateway: gateway, opened: time.Now()}
	raw, err := proto.Marshal(&enginev1.EngineMessage{Kind: &enginev1.EngineMessage_Open{Open: &enginev1.TunnelOpen{
		Tunnel: t.id, Sid: sid, GatewayId: p.cfg.Gateway,
	}}})
	if err != nil {
		return nil, nil, fmt.Errorf("encode a tunnel's opening: %w", err)
	}
	wait, cancel := context.WithTimeout(ctx, tunnelTimeout)
	defer cancel()
	msg, err := p.nc.RequestWithContext(wait, subject.Engine(gateway), raw)
	if err != nil {
		t.sendClose(transport.CodeNormal, transport.ReasonLost) // the owner may have claimed its session for it
		return nil, nil, fmt.Errorf("%w: %w", errNoTunnel, err)
	}
	var reply enginev1.TunnelOpenReply
	if err := proto.Unmarshal(msg.Data, &reply); err != nil {
		return nil, nil, fmt.Errorf("decode a tunnel's opening: %w", err)
	}
	if reply.GetStatus() == http.StatusConflict { // accepted and closed at once, as the session's own gateway does it
		return func(conn transport.Conn) transport.Receiver {
			t.conn = conn
			conn.Close(transport.CodeNormal, transport.ReasonRefused)
			return t
		}, nil, nil
	}
	if reply.GetStatus() != 0 {
		return nil, &engineio.RequestError{Code: int(reply.GetCode()), Message: reply.GetMessage(), Status: int(reply.GetStatus())}, nil
	}
	return func(conn transport.Conn) transport.Receiver {
		t.conn = conn
		conn.Admitted()
		p.addTunnel(t)
		return t
	}, nil, nil
}

// acceptTunnel accepts a WebSocket that another gateway carries for a session of this one.
func (p *Peers) acceptTunnel(msg *nats.Msg, open *enginev1.TunnelOpen) {
	reply := &enginev1.TunnelOpenReply{}
	if p.sessions.Transport(open.GetSid()) == "" {
		refusal := engineio.ErrUnknownSession
		reply.Status, reply.Code, reply.Message = http.StatusBadRequest, int32(refusal.Code), refusal.Message //nolint:gosec // small
	} else {
		t := &tunnel{peers: p, id: open.GetTunnel(), gateway: open.GetGatewayId()}
		t.owner = p.sessions.Upgrade(open.GetSid(), t)
		t.mu.Lock()
		refused := t.closed // the session is not on polling any more
		t.mu.Unlock()
		if refused {
			reply.Status = http.StatusConflict
		} else {
			p.addTunnel(t)
		}
	}
	raw, err := proto.Marshal(reply)
	if err == nil {
		err = msg.Respond(raw)
	}
	if err != nil {
		p.log.Debug("tunnel's opening not answered", slog.Any("error", err))
	}
}

// tunnelData hands on what came through a tunnel: the client's message to the session, or the session's frames to the client.
func (p *Peers) tunnelData(d *enginev1.TunnelData) {
	t := p.tunnel(d.GetTunnel())
	if t == nil {
		return
	}
	t.mu.Lock()
	t.got++
	hole := d.GetN() != t.got
	t.seen = time.Now()
	t.mu.Unlock()
	switch {
	case hole:
		t.Close(transport.CodeTryAgainLater, transport.ReasonLost)
		t.end(transport.ReasonLost)
	case t.owner != nil:
		t.owner.Receive(d.GetContent(), d.GetBinary())
		t.owner.BatchEnd()
	default:
		t.conn.Queue(transport.FramesMessage(d.GetContent()))
		t.conn.Flush()
	}
}

// Receive implements transport.Receiver, at the carrier: a message of the client goes to the owner.
func (t *tunnel) Receive(data []byte, binary bool) {
	if t.opened.Before(t.peers.cfg.Resumed(time.Now())) { // it may be old, which the owner cannot know
		t.conn.Close(transport.CodeTryAgainLater, transport.ReasonStalled)
		return
	}
	t.sendData(data, binary)
}

// BatchEnd implements transport.Receiver: the owner is told with each message.
func (t *tunnel) BatchEnd() {}

func (t *tunnel) sendData(content []byte, binary bool) {
	t.sending.Lock()
	defer t.sending.Unlock()
	t.sendDataLocked(content, binary)
}

// sendDataLocked sends a message; its caller holds sending.
func (t *tunnel) sendDataLocked(content []byte, binary bool) {
	t.sent++
	t.peers.send(t.gateway, &enginev1.EngineMessage{Kind: &enginev1.EngineMessage_Data{Data: &enginev1.TunnelData{
		Tunnel: t.id, N: t.sent, Content: content, Binary: binary,
	}}})
	t.advance(len(content))
}

// Closed implements transport.Receiver, at the carrier: the client's WebSocket ended.
func (t *tunnel) Closed(reason transport.Reason) {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.peers.dropTunnel(t.id)
	t.sendClose(transport.CodeNormal, reason)
}

func (t *tunnel) sendClose(code transport.Code, reason transport.Reason) {
	t.peers.send(t.gateway, &enginev1.EngineMessage{Kind: &enginev1.EngineMessage_Close{Close: &enginev1.TunnelClose{
		Tunnel: t.id, Code: int32(code), Reason: string(reason),
	}}})
}

// peerClosed ends the tunnel because the other end has closed it.
func (t *tunnel) peerClosed(code transport.Code, reason transport.Reason) {
	if t.owner != nil {
		t.end(reason)
		return
	}
	t.peers.dropTunnel(t.id)
	t.conn.Close(code, reason)
}

// end ends the tunnel at this side, once. The session hears of it from a goroutine: the caller may hold a lock that the session's
// end needs.
func (t *tunnel) end(reason transport.Reason) {
	t.mu.Lock()
	first := !t.closed
	t.closed = true
	t.mu.Unlock()
	t.peers.dropTunnel(t.id)
	if !first {
		return
	}
	switch {
	case t.owner != nil:
		t.peers.tasks.Go(func() { t.owner.Closed(reason) })
	case t.conn != nil:
		if reason == transport.ReasonLost { // the client's own link is well
			reason = transport.ReasonGatewayLost
		}
		t.conn.Close(transport.CodeTryAgainLater, reason)
	default: // refused while it is opened: nobody has it
	}
}

// Queue implements transport.Conn, at the owner.
func (t *tunnel) Queue(m *transport.Message) bool { return t.queue(m, m.Frames()) }

// QueueSuffixed implements transport.Conn, at the owner.
func (t *tunnel) QueueSuffixed(m *transport.Message, suffix []byte) bool {
	return t.queue(m, m.AppendSuffixed(nil, suffix))
}

// queue takes frames as the send queue of any conn does: what a full window keeps back stays within the bound, a message that is
// larger than that aside. Frames that only wait for a flush are no sign of a slow client.
func (t *tunnel) queue(m *transport.Message, frames []byte) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.slow {
		return false
	}
	bound, backlog, full := t.peers.cfg.SendQueue, len(t.out)-t.large, t.window.full()
	fits := !full || backlog+len(frames) <= bound
	switch {
	case m.Volatile() && full && (backlog > bound/2 || !fits):
		return false
	case len(frames) > bound && (t.large == 0 || !full):
		t.large = len(frames)
	case !fits:
		t.slow = true
		return false
	}
	t.out = append(t.out, frames...)
	return true
}

// FlushDue implements transport.Conn, at the owner.
func (t *tunnel) FlushDue() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.slow || len(t.out) >= tunnelChunk && !t.window.full()
}

// Flush implements transport.Conn, at the owner.
func (t *tunnel) Flush() {
	if t.flush(false) {
		t.sendClose(transport.CodeTryAgainLater, transport.ReasonSlow)
		t.end(transport.ReasonSlow)
	}
}

// flush sends what is queued, as far as the window goes, or all of it where it is the last. It tells whether the client is too slow.
func (t *tunnel) flush(last bool) (slow bool) {
	t.sending.Lock()
	defer t.sending.Unlock()
	for {
		t.mu.Lock()
		slow = t.slow && !t.closed
		n := min(len(t.out), tunnelChunk)
		if slow || n == 0 || t.window.full() && !last {
			t.mu.Unlock()
			return slow
		}
		out := t.out[:n]
		if t.out = t.out[n:]; len(t.out) == 0 {
			t.out = nil
		}
		t.large = min(t.large, len(t.out))
		t.mu.Unlock()
		t.sendDataLocked(out, false)
	}
}

// Close implements transport.Conn, at the owner.
func (t *tunnel) Close(code transport.Code, reason transport.Reason) {
	t.flush(true)
	t.sendClose(code, reason)
	t.end(reason)
}

// PauseRead implements transport.Conn, at the owner.
func (t *tunnel) PauseRead() { t.setPaused(true) }

// ResumeRead implements transport.Conn, at the owner.
func (t *tunnel) ResumeRead() { t.setPaused(false) }

// setPaused has a goroutine tell the carrier: whoever pauses may hold a lock, and must not publish.
func (t *tunnel) setPaused(paused bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.paused = paused
	if !t.telling && !t.closed { // a closed tunnel begins nothing that its gateway would not wait for
		t.telling = true
		t.peers.tasks.Go(t.tellPaused)
	}
}

// tellPaused tells the carrier whether reading is paused, until it knows the latest.
func (t *tunnel) tellPaused() {
	for {
		t.mu.Lock()
		paused := t.paused
		if paused == t.told {
			t.telling = false
			t.mu.Unlock()
			return
		}
		t.told = paused
		t.mu.Unlock()
		t.peers.send(t.gateway, &enginev1.EngineMessage{Kind: &enginev1.EngineMessage_Flow{Flow: &enginev1.TunnelFlow{
			Tunnel: t.id, Pause: paused,
		}}})
	}
}

// flow stops and resumes reading from the client, at the carrier.
func (t *tunnel) flow(pause bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.held = pause
	t.adjustReadingLocked()
}

// Admitted implements transport.Conn, at the owner. The carrier takes long messages in any case: it does not know whose they are.
func (t *tunnel) Admitted() {}

// QueuedBytes implements transport.Conn, at the owner.
func (t *tunnel) QueuedBytes() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.out)
}

// closeTunnels ends all tunnels when this gateway stops.
func (p *Peers) closeTunnels() {
	p.mu.Lock()
	tunnels := make([]*tunnel, 0, len(p.tunnels))
	for _, t := range p.tunnels {
		tunnels = append(tunnels, t)
	}
	p.mu.Unlock()
	for _, t := range tunnels {
		t.sendClose(transport.CodeRestart, transport.ReasonDrain)
		t.end(transport.ReasonDrain)
	}
}
