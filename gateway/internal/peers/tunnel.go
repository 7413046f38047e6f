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
	sid     string             // at the owner: of the session
	conn    transport.Conn     // at the carrier: the client's WebSocket
	bounds  bool               // at the carrier: the owner bounds what waits here

	sending sync.Mutex // before mu; guards sent, and is held while a message is published: they leave in the order of their numbers
	sent    uint64     // messages to the other end

	part []byte // at the owner, of Run: what has come of a message in several parts

	mu     sync.Mutex // guards what follows; nothing is published under it. The lock of conn may be taken under it
	got    uint64     // messages from the other end
	window window     // of what is sent to it
	closed bool
	added  time.Time // when this end became known to its gateway
	seen   time.Time // when the other end last gave a sign of life

	// At the owner.
	out      transport.Backlog // frames that wait for a flush, or for the window
	slow     bool              // a message did not fit: Flush closes the tunnel
	arriving bool              // the client is sending a message whose end is still to come
	flow     flow              // as it is to be
	told     flow              // as the carrier knows it
	telling  bool              // a goroutine is at it

	// At the carrier.
	begun   bool // the owner was told of the message that is arriving
	held    bool // the owner wants no more for now
	stopped bool // reading from the client is paused
	place   transport.Place
}

// flow is what the owner tells its carrier of the client.
type flow struct{ pause, admitted bool }

const (
	// tunnelChunk is how many bytes of frames go in one NATS message, below its limit of 1 MiB.
	tunnelChunk = 256 << 10
	// flushLong is how many queued bytes make a flush due.
	flushLong = 64 << 10
	// dataOverhead is what a TunnelData has beside its content, at most, in bytes.
	dataOverhead = 256
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
		t.conn, t.bounds = conn, reply.GetBounds()
		if reply.GetStranger() {
			p.cfg.Strangers.Wait(t, &t.place, false)
		} else {
			conn.Admitted()
		}
		p.addTunnel(t)
		return t
	}, nil, nil
}

// acceptTunnel accepts a WebSocket that another gateway carries for a session of this one.
func (p *Peers) acceptTunnel(msg *nats.Msg, open *enginev1.TunnelOpen) {
	reply := &enginev1.TunnelOpenReply{Bounds: true}
	if p.sessions.Transport(open.GetSid()) == "" {
		refusal := engineio.ErrUnknownSession
		reply.Status, reply.Code, reply.Message = http.StatusBadRequest, int32(refusal.Code), refusal.Message //nolint:gosec // small
	} else {
		t := &tunnel{peers: p, id: open.GetTunnel(), gateway: open.GetGatewayId(), sid: open.GetSid(), out: transport.NewBacklog(p.cfg.SendQueue)}
		t.owner = p.sessions.Upgrade(open.GetSid(), t)
		t.mu.Lock()
		refused := t.closed // the session is not on polling any more
		t.told.admitted = t.flow.admitted
		reply.Stranger = !t.told.admitted
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
	t.arriving = d.GetMore()
	t.tellFlowLocked()
	t.mu.Unlock()
	switch {
	case hole:
		t.Close(transport.CodeTryAgainLater, transport.ReasonLost)
		t.end(transport.ReasonLost)
	case t.owner != nil:
		t.fromClient(d)
	default:
		t.toClient(d)
	}
}

// sendDataLocked sends a message, or a part of one; its caller holds sending.
func (t *tunnel) sendDataLocked(content []byte, binary, more bool) {
	t.sent++
	t.peers.send(t.gateway, &enginev1.EngineMessage{Kind: &enginev1.EngineMessage_Data{Data: &enginev1.TunnelData{
		Tunnel: t.id, N: t.sent, Content: content, Binary: binary, More: more,
	}}})
	t.advance(len(content))
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
