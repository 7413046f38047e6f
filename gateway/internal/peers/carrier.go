package peers

import (
	"time"

	"github.com/starling-chat/starling/gateway/internal/transport"
	enginev1 "github.com/starling-chat/starling/proto/gen/starling/engine/v1"
)

// The carrier's end of a tunnel is the Receiver of the client's WebSocket.
var (
	_ transport.Receiver       = (*tunnel)(nil)
	_ transport.ArrivalWatcher = (*tunnel)(nil)
	_ transport.Stranger       = (*tunnel)(nil)
)

// Receive implements transport.Receiver: a message of the client goes to the owner, in parts where NATS would not take it whole.
func (t *tunnel) Receive(data []byte, binary bool) {
	if t.opened.Before(t.peers.cfg.Resumed(time.Now())) { // it may be old, which the owner cannot know
		t.conn.Close(transport.CodeTryAgainLater, transport.ReasonStalled)
		return
	}
	t.mu.Lock()
	t.begun = false
	t.mu.Unlock()
	t.sending.Lock()
	defer t.sending.Unlock()
	for most := int(t.peers.nc.MaxPayload()) - dataOverhead; len(data) > most && most > 0; data = data[most:] {
		t.sendDataLocked(data[:most], binary, true)
	}
	t.sendDataLocked(data, binary, false)
}

// MessageBegun implements transport.ArrivalWatcher: the owner is told once for each message, so that it waits for a pong that is behind
// that message.
func (t *tunnel) MessageBegun() {
	t.mu.Lock()
	tell := !t.begun
	t.begun = true
	t.mu.Unlock()
	if tell {
		t.peers.send(t.gateway, &enginev1.EngineMessage{Kind: &enginev1.EngineMessage_Arriving{Arriving: &enginev1.Arriving{Tunnel: t.id}}})
	}
}

// BatchEnd implements transport.Receiver: the owner is told with each message.
func (t *tunnel) BatchEnd() {}

// Closed implements transport.Receiver: the client's WebSocket ended.
func (t *tunnel) Closed(reason transport.Reason) {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.peers.cfg.Strangers.Leave(&t.place)
	t.peers.dropTunnel(t.id)
	t.sendClose(transport.CodeNormal, reason)
}

// Displace implements transport.Stranger: another client needs the place.
func (t *tunnel) Displace() bool {
	t.conn.Close(transport.CodeTryAgainLater, transport.ReasonDisplaced)
	return true
}

// toClient passes the owner's frames on. They are taken beside this gateway's own bound, because the owner counts what waits here.
func (t *tunnel) toClient(d *enginev1.TunnelData) {
	if t.bounds {
		t.conn.Queue(transport.CarriedMessage(d.GetContent(), d.GetMore()))
	} else {
		t.conn.Queue(transport.FramesMessage(d.GetContent()))
	}
	t.conn.Flush()
}

// setFlow does what the owner tells of its client.
func (t *tunnel) setFlow(f *enginev1.TunnelFlow) {
	if t.conn == nil {
		return
	}
	if f.GetAdmitted() {
		t.peers.cfg.Strangers.Leave(&t.place)
		t.conn.Admitted()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.held = f.GetPause()
	t.adjustReadingLocked()
}

// adjustReadingLocked stops or resumes reading from the client: the owner wants it, or the window is full.
func (t *tunnel) adjustReadingLocked() {
	stop := t.held || t.window.full()
	if t.conn == nil || stop == t.stopped {
		return
	}
	t.stopped = stop
	if stop {
		t.conn.PauseRead()
	} else {
		t.conn.ResumeRead()
	}
}
