package relay

import (
	"sync"
	"time"

	"github.com/starling-chat/starling/gateway/internal/transport"
)

// unread holds requests of clients that have still to take the answers to earlier ones. A long history asked for by a client on
// long polling or a slow link is no sign of a slow consumer: its next event is begun when most of what it asked for is gone,
// and the time until then is not counted against EVENT_TIMEOUT.
//
//	answer queued ──more than unreadMost waits──► the next request is held ──less waits──► it begins
//	                                                        └─ nothing is taken for patience ──► closed as slow
type unread struct {
	patience time.Duration // 0 = any

	mu   sync.Mutex // guards held; nothing is asked or told under it
	held []*heldRequest
}

// heldRequest belongs to release, once it is in the list.
type heldRequest struct {
	*request
	bytes int       // the least that has waited
	since time.Time // when that was
}

// unreadMost is how many bytes may wait for a client whose next event is begun.
const unreadMost = 64 << 10

func newUnread(patience time.Duration) *unread { return &unread{patience: patience} }

// hold keeps a request back if too much waits for its client, and reports whether it did. There is at most one of a socket.
func (u *unread) hold(q *request) bool {
	conn := q.client.socket.Conn()
	if conn.QueuedBytes() <= unreadMost {
		return false
	}
	conn.Flush() // what was not offered to the kernel is no sign of anything
	bytes := conn.QueuedBytes()
	if bytes <= unreadMost {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.held = append(u.held, &heldRequest{q, bytes, time.Now()})
	return true
}

// release gives the requests that are held no longer, and closes the conns that take nothing.
func (u *unread) release(now time.Time) []*request {
	u.mu.Lock()
	looked := u.held
	u.held = nil
	u.mu.Unlock()
	var free []*request
	rest := looked[:0]
	for _, h := range looked {
		if h.client.isGone() {
			continue
		}
		conn := h.client.socket.Conn()
		switch bytes := conn.QueuedBytes(); {
		case bytes <= unreadMost:
			h.client.restartClock(now)
			free = append(free, h.request)
			continue
		case bytes < h.bytes:
			h.bytes, h.since = bytes, now
		case u.patience > 0 && now.Sub(h.since) > u.patience:
			h.client.socket.Close(transport.CodePolicy, transport.ReasonSlow)
			continue
		}
		rest = append(rest, h)
	}
	if len(rest) > 0 {
		u.mu.Lock()
		u.held = append(rest, u.held...)
		u.mu.Unlock()
	}
	return free
}

// restartClock has the events of a client count as received now: they have waited for the client itself.
func (c *client) restartClock(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, events := range [][]*pending{c.events.inFlight, c.events.waiting} { // it has a queue: they were held
		for _, p := range events {
			p.receivedAt = now
		}
	}
}
