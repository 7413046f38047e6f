package peers

import (
	"time"

	"github.com/starling-chat/starling/platform/run"
)

// window bounds how far one end of a tunnel is ahead of the other, so that neither fills the inbox that all tunnels of a gateway
// share, and no carrier keeps more than that for a slow client. The end that is ahead asks; an answer says that everything before the
// question was taken in, and a carrier's how much of it still waits for the client:
//
//	this end   data data data ask data data │ full: the carrier stops reading from the client, the owner keeps frames back
//	                           │            ▼
//	other end  ───────────────answer──► the window moves on
//
// The question is a keepalive, which gateways of earlier releases answer as well. A tunnel guards its window with its mu.
type window struct {
	ahead  int  // what was sent and may not be taken in yet: bytes, and messageCost for each message
	bytes  int  // the bytes alone
	asking bool // a goroutine asks
}

const (
	windowSize = 256 << 10
	// messageCost has 64 messages at most fill a window, however small they are.
	messageCost = windowSize / 64
	// leastRoom is what has to be left for another message, beside its cost.
	leastRoom = 16 << 10
	// unknownBytes is how much the client may have been sent of which the owner does not know whether it has gone out: less than what
	// those who ask a Conn for QueuedBytes wait for.
	unknownBytes = 16 << 10
	// The pauses between two questions of an end that does not catch up double from askSoon to askAgain, which is also the pause after a
	// question that was not answered. The keepalives of the gateway end the tunnel where that lasts.
	askSoon  = 10 * time.Millisecond
	askAgain = 250 * time.Millisecond
)

// room is how many bytes one more message may have.
func (w *window) room() int { return windowSize - w.ahead - messageCost }

// full tells that nothing more is to be sent before the other end has answered.
func (w *window) full() bool { return w.room() < leastRoom }

// sent counts a message.
func (w *window) sent(size int) {
	w.ahead += size + messageCost
	w.bytes += size
}

// answered counts an answer: of what was ahead at the question, queued bytes wait at the other end for the client.
func (w *window) answered(question window, queued int) {
	w.ahead += queued - question.ahead
	w.bytes += queued - question.bytes
}

// dueLocked tells that the other end is to be asked: the window fills, or, at the owner, who wants to know what its client has still
// to take would be misled.
func (t *tunnel) dueLocked() bool {
	return t.window.ahead >= windowSize/2 || t.owner != nil && t.window.bytes > unknownBytes
}

// advance counts a message that was published; the caller holds t.sending.
func (t *tunnel) advance(size int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.window.sent(size)
	t.adjustReadingLocked()
	if t.dueLocked() && !t.window.asking && !t.closed {
		t.window.asking = true
		t.peers.tasks.Go(t.askOn)
	}
}

// askOn asks the other end until it has caught up.
func (t *tunnel) askOn() {
	pause := askSoon
	for {
		t.mu.Lock()
		question := t.window
		if t.closed || !t.dueLocked() {
			t.window.asking = false
			t.mu.Unlock()
			return
		}
		t.mu.Unlock()
		end, err := t.peers.askTunnel(t.peers.life, t.gateway, t.id)
		if err != nil || !end.known {
			if err == nil {
				t.unknown()
			}
			if !run.Pause(t.peers.life, askAgain) {
				return
			}
			continue
		}
		t.mu.Lock()
		t.window.answered(question, end.queued)
		t.seen = time.Now()
		t.adjustReadingLocked()
		behind := t.dueLocked() && end.queued > 0
		t.mu.Unlock()
		if t.owner != nil {
			t.Flush()
		}
		if !behind {
			continue
		}
		if !run.Pause(t.peers.life, pause) {
			return
		}
		pause = min(2*pause, askAgain)
	}
}
