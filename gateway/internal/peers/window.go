package peers

import (
	"time"

	"github.com/starling-chat/starling/platform/run"
)

// window bounds how far one end of a tunnel is ahead of the other, so that neither fills the inbox that all tunnels of a gateway
// share. The end that is ahead asks; an answer says that everything before the question was taken in:
//
//	this end   data data data ask data data │ full: the carrier stops reading from the client, the owner keeps frames back
//	                           │            ▼
//	other end  ───────────────answer──► the window moves on
//
// The question is a keepalive, which gateways of earlier releases answer as well. A tunnel guards its window with its mu.
type window struct {
	ahead  int  // what was sent and may not be taken in yet: bytes, and messageCost for each message
	asking bool // a goroutine asks
}

const (
	windowSize = 256 << 10
	// messageCost has 64 messages at most fill a window, however small they are.
	messageCost = windowSize / 64
	// askAgain is the pause after a question that was not answered. The keepalives of the gateway end the tunnel where that lasts.
	askAgain = 250 * time.Millisecond
)

// full tells that nothing more is to be sent before the other end has answered.
func (w *window) full() bool { return w.ahead >= windowSize }

// due tells that the other end is to be asked.
func (w *window) due() bool { return w.ahead >= windowSize/2 }

// advance counts a message that was published; the caller holds t.sending.
func (t *tunnel) advance(size int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.window.ahead += size + messageCost
	t.adjustReadingLocked()
	if t.window.due() && !t.window.asking && !t.closed {
		t.window.asking = true
		t.peers.tasks.Go(t.askOn)
	}
}

// askOn asks the other end until it has caught up.
func (t *tunnel) askOn() {
	for {
		t.mu.Lock()
		mark := t.window.ahead
		if t.closed || !t.window.due() {
			t.window.asking = false
			t.mu.Unlock()
			return
		}
		t.mu.Unlock()
		known, err := t.peers.askTunnel(t.peers.life, t.gateway, t.id)
		if err != nil || !known {
			if err == nil {
				t.unknown()
			}
			if !run.Pause(t.peers.life, askAgain) {
				return
			}
			continue
		}
		t.mu.Lock()
		t.window.ahead -= mark
		t.seen = time.Now()
		t.adjustReadingLocked()
		t.mu.Unlock()
		if t.owner != nil {
			t.Flush()
		}
	}
}

// adjustReadingLocked stops or resumes reading from the client, at the carrier: the owner wants it, or the window is full.
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
