package relay

import (
	"crypto/rand"
	"encoding/binary"
	"strconv"
	"sync"

	"github.com/starling-chat/starling/gateway/internal/presence"
	"github.com/starling-chat/starling/gateway/internal/quota"
	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/userlog"
	"github.com/starling-chat/starling/gateway/internal/watches"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// client is what the relay keeps for one socket.
type client struct {
	// Fixed at birth: everybody reads these without a lock.
	relay  *Relay
	socket *session.Socket
	pid    string // the secret by which the socket can be recovered; "" = it cannot
	nonce  uint64 // of this gateway's hold on the socket
	// What the client has seen of its user's log (userlog.Start), with old below.
	logSeq   int64
	logSince int64

	claim    presence.Claim // owned by presence
	watching watches.Place  // owned by watches
	user     *quota.User    // from before the socket is admitted; end gives its place back

	saving sync.Mutex // held while a state is written, so that states leave in their order; before mu

	mu sync.Mutex // guards what follows
	identity
	events *eventQueue // nil until the client sends an event, and when it has sent none for a while: many only listen
	membership
	awaited    chan struct{} // closed when ended is set; made for the first who waits, since few do and every socket would keep one
	saved      uint32        // Unix seconds: when the state was last written to the bus
	tokens     uint32        // how many the client brought
	registered bool
	gone       bool
	ended      bool // everything knows that the socket is gone
	old        bool // fixed at birth, as inbox; they stand here because they fit
	inbox      bool // the client wants one
}

// newClient makes the socket of a user in a namespace, and what the relay keeps for it. id is the id of a socket that is
// recovered, "" for a new one; pid is the secret by which the socket can be recovered, "" when it cannot.
func newClient(
	r *Relay, s *session.Session, namespace string, identity *eventv1.Identity, id, pid string, log userlog.Start,
) (*client, error) {
	c := &client{relay: r, pid: pid, nonce: newNonce(), logSeq: log.Seq, logSince: log.Since, old: log.Old}
	c.socket = s.NewSocket(id, namespace, identity.GetUserId(), c)
	if pid != "" {
		c.socket.Offsets = session.NewOffsets(pid)
	}
	err := c.setIdentity(identity)
	c.shareText()
	return c, err
}

// newNonce tells one hold on a socket from another one.
func newNonce() uint64 {
	var raw [8]byte
	_, _ = rand.Read(raw[:]) // never fails (crypto/rand)
	return binary.LittleEndian.Uint64(raw[:])
}

// nonceText is the nonce as the state in the bus has it.
func (c *client) nonceText() string { return strconv.FormatUint(c.nonce, 36) }

// isGone tells whether the socket has ended here: its client may be elsewhere.
func (c *client) isGone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gone
}

// whenEnded is closed when everything knows that the socket is gone.
func (c *client) whenEnded() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.awaited == nil {
		c.awaited = make(chan struct{})
		if c.ended {
			close(c.awaited)
		}
	}
	return c.awaited
}

// setEnded tells who waits that everything knows that the socket is gone.
func (c *client) setEnded() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	if c.awaited != nil {
		close(c.awaited)
	}
}

// end marks the client gone and gives the rooms that it was in.
func (c *client) end() (rooms []clientRoom, registered bool) {
	c.mu.Lock()
	if !c.gone {
		c.user.Leave()
	}
	c.gone = true
	rooms, registered = c.rooms, c.registered
	c.rooms = nil
	paused := c.dropEventsLocked()
	c.mu.Unlock()
	if paused { // the session may go on in other namespaces
		c.adjustReading()
	}
	return rooms, registered
}
