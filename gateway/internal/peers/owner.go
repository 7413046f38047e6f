package peers

import (
	"github.com/starling-chat/starling/gateway/internal/transport"
	enginev1 "github.com/starling-chat/starling/proto/gen/starling/engine/v1"
)

// The owner's end of a tunnel is its session's Conn.
var _ transport.Conn = (*tunnel)(nil)

// fromClient hands a message of the client to the session, once it is whole.
func (t *tunnel) fromClient(d *enginev1.TunnelData) {
	content := d.GetContent()
	if d.GetMore() || t.part != nil {
		t.part = append(t.part, content...)
		content = t.part
	}
	if d.GetMore() {
		return
	}
	t.part = nil
	t.owner.Receive(content, d.GetBinary())
	t.owner.BatchEnd()
}

// Arriving tells whether the client is sending a message whose end is still to come.
func (t *tunnel) Arriving() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.arriving
}

// setArriving notes that the carrier told so.
func (t *tunnel) setArriving() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.arriving = true
}

// Queue implements transport.Conn.
func (t *tunnel) Queue(m *transport.Message) bool { return t.queue(m, nil) }

// QueueRun implements transport.Conn.
func (t *tunnel) QueueRun(run []transport.Suffixed) (taken int) {
	for _, s := range run {
		if t.queue(s.Message, s.Suffix) {
			taken++
		}
	}
	return taken
}

// queue takes frames as the send queue of any conn does. The window takes the place of the kernel's buffer: what a full one keeps back is
// what shows that the client is slow.
func (t *tunnel) queue(m *transport.Message, suffix []byte) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.slow {
		return false
	}
	t.out.Stuck(t.window.full())
	accepted, tooSlow := t.out.Queue(m, suffix)
	t.slow = tooSlow
	return accepted
}

// FlushDue implements transport.Conn.
func (t *tunnel) FlushDue() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.slow || t.out.Len() >= flushLong && !t.window.full()
}

// Flush implements transport.Conn.
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
	t.sendFlowLocked() // first: a client that learns that it was let in may send a long message at once
	for {
		t.mu.Lock()
		slow = t.slow && !t.closed
		if slow || t.out.Len() == 0 || t.window.full() && !last {
			t.mu.Unlock()
			return slow
		}
		most := tunnelChunk
		if !last {
			most = min(most, t.window.room())
		}
		out, more := t.out.Next(most)
		t.mu.Unlock()
		t.sendDataLocked(out, false, more)
	}
}

// Close implements transport.Conn.
func (t *tunnel) Close(code transport.Code, reason transport.Reason) {
	t.flush(true)
	t.sendClose(code, reason)
	t.end(reason)
}

// PauseRead implements transport.Conn.
func (t *tunnel) PauseRead() { t.setFlowOf(func(f *flow) { f.pause = true }) }

// ResumeRead implements transport.Conn.
func (t *tunnel) ResumeRead() { t.setFlowOf(func(f *flow) { f.pause = false }) }

// Admitted implements transport.Conn.
func (t *tunnel) Admitted() { t.setFlowOf(func(f *flow) { f.admitted = true }) }

func (t *tunnel) setFlowOf(change func(*flow)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change(&t.flow)
	t.tellFlowLocked()
}

// tellFlowLocked has a goroutine tell the carrier of the flow, unless it knows: whoever changes it may hold a lock, and must not publish.
// Before the carrier's first message the carrier may not have the tunnel.
func (t *tunnel) tellFlowLocked() {
	if t.flow == t.told || t.telling || t.got == 0 || t.closed { // a closed tunnel begins nothing that its gateway would not wait for
		return
	}
	t.telling = true
	t.peers.tasks.Go(t.tellFlow)
}

// tellFlow tells the carrier of the flow, until it knows the latest.
func (t *tunnel) tellFlow() {
	for {
		t.sending.Lock()
		t.sendFlowLocked()
		t.sending.Unlock()
		t.mu.Lock()
		if t.flow == t.told {
			t.telling = false
			t.mu.Unlock()
			return
		}
		t.mu.Unlock()
	}
}

// sendFlowLocked sends the flow unless the carrier knows it; its caller holds sending, so that an older one does not come last.
func (t *tunnel) sendFlowLocked() {
	t.mu.Lock()
	flow := t.flow
	if flow == t.told || t.got == 0 {
		t.mu.Unlock()
		return
	}
	t.told = flow
	t.mu.Unlock()
	t.peers.send(t.gateway, &enginev1.EngineMessage{Kind: &enginev1.EngineMessage_Flow{Flow: &enginev1.TunnelFlow{
		Tunnel: t.id, Pause: flow.pause, Admitted: flow.admitted,
	}}})
}

// QueuedBytes implements transport.Conn: what waits here, and what the carrier has not written yet as far as this end knows.
func (t *tunnel) QueuedBytes() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.out.Len() + t.window.bytes
}
