package relay

import (
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/transport"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// client is what the relay keeps for one socket.
type client struct {
	relay  *Relay
	socket *session.Socket

	mu         sync.Mutex // guards what follows
	prefix     []byte     // the fields of ClientEvent that are the same for every event of the socket, encoded
	loginID    string
	issuedAt   int64 // Unix milliseconds; 0 = unknown
	expiresAt  int64 // Unix seconds; 0 = never
	tokens     float64
	tokensAt   time.Time
	queue      []*pending // waits for inFlight to be answered
	inFlight   *pending
	paused     bool // reading is stopped until the queue is half empty
	rooms      []clientRoom
	registered bool
	announced  bool // to presence; guarded by presence.mu
	gone       bool
	saved      time.Time // when the state was last written to the bus

	pid   string        // the secret by which the socket can be recovered; "" = it cannot
	nonce string        // of this gateway's hold on the socket
	ended chan struct{} // closed when everything knows that the socket is gone
}

// clientRoom is a room that the socket is in.
type clientRoom struct {
	id    string
	index uint32 // in the socket's offsets
	seq   uint64 // what the socket had seen when it entered
}

// pending is one client event on its way.
type pending struct {
	event   string
	subject string
	payload []byte                  // the ClientEvent, encoded
	ackID   int64                   // -1: the client wants no ack
	room    string                  // of room:leave
	act     func(*client, *pending) // instead of a NATS request; runs in a goroutine of its own
}

func newClient(r *Relay, identity *eventv1.Identity) *client {
	c := &client{relay: r, tokens: float64(r.cfg.EventBurst), nonce: session.NewID(), ended: make(chan struct{})}
	c.setIdentity(identity)
	return c
}

func (c *client) setIdentity(identity *eventv1.Identity) {
	c.loginID = identity.GetLoginId()
	if t := identity.GetIssuedAt(); t != nil {
		c.issuedAt = t.AsTime().UnixMilli()
	}
	c.expiresAt = 0
	if t := identity.GetExpiresAt(); t != nil {
		c.expiresAt = t.AsTime().Unix()
	}
}

// bind completes the client when its socket exists.
func (c *client) bind(s *session.Socket, identity *eventv1.Identity) error {
	prefix, err := proto.Marshal(&eventv1.ClientEvent{
		SocketId: s.ID, GatewayId: c.relay.cfg.GatewayID, Namespace: s.Namespace, Identity: identity,
	})
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.socket, c.prefix = s, prefix
	return nil
}

// The field numbers of ClientEvent that encode appends; event_test.go checks them against the schema.
const (
	fieldEvent       = 4
	fieldArgs        = 5
	fieldAttachments = 6
	fieldReceivedAt  = 8
)

// encode makes the ClientEvent of an event by appending its fields to the prefix: protobuf does not mind the order, and
// the identity is not encoded again for each event.
func (c *client) encode(e session.Event, now time.Time) []byte {
	size := len(c.prefix) + len(e.Name) + len(e.Packet.Data) + 40
	for _, a := range e.Attachments {
		size += len(a) + 6
	}
	b := append(make([]byte, 0, size), c.prefix...)
	b = protowire.AppendTag(b, fieldEvent, protowire.BytesType)
	b = protowire.AppendString(b, e.Name)
	b = protowire.AppendTag(b, fieldArgs, protowire.BytesType)
	b = protowire.AppendBytes(b, e.Packet.AppendArgs(nil))
	for _, a := range e.Attachments {
		b = protowire.AppendTag(b, fieldAttachments, protowire.BytesType)
		b = protowire.AppendBytes(b, a)
	}
	var at []byte
	at = protowire.AppendTag(at, 1, protowire.VarintType)
	at = protowire.AppendVarint(at, uint64(now.Unix())) //nolint:gosec // after 1970
	at = protowire.AppendTag(at, 2, protowire.VarintType)
	at = protowire.AppendVarint(at, uint64(now.Nanosecond())) //nolint:gosec // not negative
	b = protowire.AppendTag(b, fieldReceivedAt, protowire.BytesType)
	return protowire.AppendBytes(b, at)
}

// take takes one token of the socket's event rate; otherwise it tells when there will be one.
func (c *client) take(now time.Time) (wait time.Duration, ok bool) {
	rate := c.relay.cfg.EventRate
	if rate <= 0 {
		return 0, true
	}
	if !c.tokensAt.IsZero() {
		c.tokens = min(float64(c.relay.cfg.EventBurst), c.tokens+rate*now.Sub(c.tokensAt).Seconds())
	}
	c.tokensAt = now
	if c.tokens < 1 {
		return time.Duration((1 - c.tokens) / rate * float64(time.Second)), false
	}
	c.tokens--
	return 0, true
}

// enqueue sends p, or has it wait for the one before.
func (c *client) enqueue(p *pending) {
	c.mu.Lock()
	if c.gone {
		c.mu.Unlock()
		return
	}
	if c.inFlight != nil {
		c.queue = append(c.queue, p)
		if len(c.queue) >= c.relay.cfg.MaxQueued && !c.paused {
			c.paused = true
			c.socket.PauseRead()
		}
		c.mu.Unlock()
		return
	}
	c.inFlight = p
	c.mu.Unlock()
	c.relay.send(c, p)
}

// done ends the event in flight and sends the next.
func (c *client) done(p *pending) {
	c.mu.Lock()
	if c.inFlight != p || c.gone {
		c.mu.Unlock()
		return
	}
	var next *pending
	if len(c.queue) > 0 {
		next = c.queue[0]
		c.queue = c.queue[1:]
		if len(c.queue) == 0 {
			c.queue = nil
		}
	}
	c.inFlight = next
	if c.paused && len(c.queue) <= c.relay.cfg.MaxQueued/2 {
		c.paused = false
		c.socket.ResumeRead()
	}
	c.mu.Unlock()
	if next != nil {
		c.relay.send(c, next)
	}
}

// end marks the client gone and gives the rooms that it was in.
func (c *client) end() (rooms []clientRoom, registered bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = true
	rooms, registered = c.rooms, c.registered
	c.rooms, c.queue, c.inFlight = nil, nil, nil
	if c.paused { // the session may go on in other namespaces
		c.paused = false
		c.socket.ResumeRead()
	}
	return rooms, registered
}

// addRoom notes a room, or what the socket has seen of one that is noted. Nothing is alive to enter when the client is gone.
func (c *client) addRoom(room clientRoom) (added, alive bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return false, false
	}
	if i := c.roomLocked(room.id); i >= 0 {
		c.rooms[i].seq = max(c.rooms[i].seq, room.seq)
		return false, true
	}
	c.rooms = append(c.rooms, room)
	return true, true
}

func (c *client) roomLocked(roomID string) int {
	return slices.IndexFunc(c.rooms, func(r clientRoom) bool { return r.id == roomID })
}

func (c *client) forgetRoom(roomID string) (was bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := c.roomLocked(roomID)
	if i < 0 {
		return false
	}
	c.rooms = slices.Delete(c.rooms, i, i+1)
	return true
}

func (c *client) inRoom(roomID string) (in bool, rooms int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.roomLocked(roomID) >= 0, len(c.rooms)
}

// roomIndex is a room's number in the socket's offsets: its own, or a new one.
func (c *client) roomIndex(roomID string) uint32 {
	if c.socket.Offsets == nil {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := c.roomLocked(roomID); i >= 0 {
		return c.rooms[i].index
	}
	return c.socket.Offsets.Enter()
}

// roomIDsLocked lists the rooms that the socket is in; c.mu is held.
func (c *client) roomIDsLocked() []string {
	ids := make([]string, len(c.rooms))
	for i, room := range c.rooms {
		ids[i] = room.id
	}
	return ids
}

// revokedBy tells whether a revocation covers the client's token.
func (c *client) revokedBy(loginID string, beforeMilli int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if loginID != "" {
		return c.loginID == loginID
	}
	return c.issuedAt < beforeMilli // auth-service gives a login after the revocation a later time; unknown is 0
}

func (c *client) expired(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.expiresAt != 0 && now.Unix() >= c.expiresAt
}

// closeExpired closes the transport, not the namespace: an official client comes back by itself, with a fresh token if its
// auth option is a function.
func (c *client) closeExpired() {
	c.socket.Close(transport.CodePolicy, transport.ReasonExpired)
}
