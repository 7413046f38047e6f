package peers

import (
	"github.com/starling-chat/starling/gateway/internal/transport"
	enginev1 "github.com/starling-chat/starling/proto/gen/starling/engine/v1"
)

// Leaving is a WebSocket that this gateway carries, and that has to go because the gateway does.
type Leaving struct{ tunnel *tunnel }

// Leaving lists what this gateway carries.
func (p *Peers) Leaving() []Leaving {
	p.mu.Lock()
	defer p.mu.Unlock()
	leaving := make([]Leaving, 0, p.carried)
	for _, t := range p.tunnels {
		if t.conn != nil {
			leaving = append(leaving, Leaving{t})
		}
	}
	return leaving
}

// Ask asks the owner to end the session when nothing of it is under way.
func (l Leaving) Ask() {
	l.tunnel.peers.send(l.tunnel.gateway, &enginev1.EngineMessage{Kind: &enginev1.EngineMessage_Close{Close: &enginev1.TunnelClose{
		Tunnel: l.tunnel.id, Code: int32(transport.CodeRestart), Reason: string(transport.ReasonDrain), WhenIdle: true,
	}}})
}

// Close ends the WebSocket, and the session with it, unless that is done.
func (l Leaving) Close() { l.tunnel.conn.Close(transport.CodeRestart, transport.ReasonDrain) }
