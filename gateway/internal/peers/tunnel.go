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

	mu     sync.Mutex // guards what follows; nothing is published under it
	got    uint64     // messages from the other end
	out    []byte     // at the owner: frames not flushed yet
	closed bool
	seen   time.Time // when the other end last gave a sign of life

	paused  bool // at the owner: reading is to be paused
	told    bool // what the carrier was told of that
	telling bool // a goroutine is at it
}

const (
	// tunnelChunk is how many bytes of frames go in one NATS message, below its limit of 1 MiB.
	tunnelChunk = 256 << 10
	// keepaliveInterval is the time between two keepalives of a tunnel. One whose other end gives no sign of life for
	// keepaliveLost is given up.
	keepaliveInterval = 3 * time.Second
	keepaliveLost     = 10 * time.Second
)

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
	t.seen = time.Now()
	p.mu.Lock()
	p.tunnels[t.id] = t
	p.mu.Unlock()
}

func (p *Peers) dropTunnel(id string) {
	p.mu.Lock()
	delete(p.tunnels, id)
	p.mu.Unlock()
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
	t.sent++
	t.peers.send(t.gateway, &enginev1.EngineMessage{Kind: &enginev1.EngineMessage_Data{Data: &enginev1.TunnelData{
		Tunnel: t.id, N: t.sent, Content: content, Binary: binary,
	}}})
}

// Closed implements transport.Receiver, at the carrier: the client's WebSocket ended.
func (t *tunnel) Closed(reason transport.Reason) {
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
		t.conn.Close(transport.CodeTryAgainLater, reason)
	default: // refused while it is opened: nobody has it
	}
}

// Queue implements transport.Conn, at the owner.
func (t *tunnel) Queue(m *transport.Message) bool { return t.queue(m.Frames()) }

// QueueSuffixed implements transport.Conn, at the owner.
func (t *tunnel) QueueSuffixed(m *transport.Message, suffix []byte) bool {
	return t.queue(m.AppendSuffixed(nil, suffix))
}

func (t *tunnel) queue(frames []byte) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.out = append(t.out, frames...) // flushed by everyone who queues; the carrier's send queue has the bound
	return true
}

// FlushDue implements transport.Conn, at the owner.
func (t *tunnel) FlushDue() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.out) >= tunnelChunk
}

// Flush implements transport.Conn, at the owner.
func (t *tunnel) Flush() {
	t.sending.Lock()
	defer t.sending.Unlock()
	t.mu.Lock()
	out := t.out
	t.out = nil
	t.mu.Unlock()
	for len(out) > 0 { // what is queued meanwhile has a flush of its own
		n := min(len(out), tunnelChunk)
		t.sent++
		t.peers.send(t.gateway, &enginev1.EngineMessage{Kind: &enginev1.EngineMessage_Data{Data: &enginev1.TunnelData{
			Tunnel: t.id, N: t.sent, Content: out[:n],
		}}})
		out = out[n:]
	}
}

// Close implements transport.Conn, at the owner.
func (t *tunnel) Close(code transport.Code, reason transport.Reason) {
	t.Flush()
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
	switch {
	case t.conn == nil:
	case pause:
		t.conn.PauseRead()
	default:
		t.conn.ResumeRead()
	}
}

// QueuedBytes implements transport.Conn, at the owner.
func (t *tunnel) QueuedBytes() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.out)
}

// keepTunnels asks the other end of each tunnel from time to time whether it has the tunnel, and ends those that it does not
// have and those of gateways that do not answer.
func (p *Peers) keepTunnels(ctx context.Context) {
	ticker := time.NewTicker(keepaliveInterval)
	defer ticker.Stop()
	var asking sync.WaitGroup
	defer asking.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			p.mu.Lock()
			byGateway := make(map[string][]*tunnel)
			for _, t := range p.tunnels {
				byGateway[t.gateway] = append(byGateway[t.gateway], t)
			}
			p.mu.Unlock()
			for _, tunnels := range byGateway {
				asking.Go(func() { p.askTunnels(ctx, tunnels, now) })
			}
		}
	}
}

// askTunnels asks one gateway for the tunnels that end there.
func (p *Peers) askTunnels(ctx context.Context, tunnels []*tunnel, now time.Time) {
	silent := false
	for _, t := range tunnels {
		known := false
		if !silent { // one silence is enough: asking for the gateway's other tunnels would take as long each
			var err error
			known, err = p.askTunnel(ctx, t)
			silent = err != nil
			if err == nil && !known { // an end that the other end never had, or that was not told of its end
				t.end(transport.ReasonLost)
				continue
			}
		}
		t.mu.Lock()
		if known {
			t.seen = time.Now()
		}
		lost := now.Sub(t.seen) > keepaliveLost
		t.mu.Unlock()
		if lost {
			t.end(transport.ReasonLost)
		}
	}
}

// askTunnel tells whether the other end knows a tunnel; an error means that it does not answer.
func (p *Peers) askTunnel(ctx context.Context, t *tunnel) (known bool, err error) {
	raw, err := proto.Marshal(&enginev1.EngineMessage{Kind: &enginev1.EngineMessage_Keepalive{
		Keepalive: &enginev1.TunnelKeepalive{Tunnel: t.id},
	}})
	if err != nil {
		return false, fmt.Errorf("encode a keepalive: %w", err)
	}
	wait, cancel := context.WithTimeout(ctx, keepaliveInterval)
	defer cancel()
	msg, err := p.nc.RequestWithContext(wait, subject.Engine(t.gateway), raw)
	if err != nil {
		return false, fmt.Errorf("ask the other end of a tunnel: %w", err)
	}
	return len(msg.Data) == 0, nil
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
