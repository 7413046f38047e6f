package relay

import (
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/gateway/internal/presence"
	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/transport"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// client is what the relay keeps for one socket.
type client struct {
	// Fixed at birth: everybody reads these without a lock.
	relay  *Relay
	socket *session.Socket
	pid    string        // the secret by which the socket can be recovered; "" = it cannot
	nonce  string        // of this gateway's hold on the socket
	ended  chan struct{} // closed when everything knows that the socket is gone

	claim presence.Claim // owned by presence

	mu         sync.Mutex // guards what follows
	prefix     []byte     // the fields of ClientEvent that are the same for every event of the socket, encoded
	loginID    string
	issuedAt   int64 // Unix milliseconds; 0 = unknown
	expiresAt  int64 // Unix seconds; 0 = never
	tokens     float64
	tokensAt   time.Time
	queue      []*pending // waits for what is in flight to be answered
	inFlight   []*pending // one request to a service
	paused     bool       // reading is stopped until the queue is half empty
	rooms      []clientRoom
	generation uint64 // counts changes of rooms
	registered bool
	gone       bool
	saved      time.Time // when the state was last written to the bus
}

// clientRoom is a room that the socket is in.
type clientRoom struct {
	id    string
	index uint32 // in the socket's offsets
	seq   uint64 // what the socket had seen when it entered
}

// pending is one client event on its way.
type pending struct {
	event       string
	subject     string
	args        []byte // JSON array
	attachments [][]byte
	receivedAt  time.Time
	ackID       int64                   // -1: the client wants no ack
	room        string                  // of room:leave
	act         func(*client, *pending) // instead of a NATS request; runs in a goroutine of its own
}

// newClient makes the socket of a user in a namespace, and what the relay keeps for it. id is the id of a socket that is
// recovered, "" for a new one; pid is the secret by which the socket can be recovered, "" when it cannot.
func newClient(r *Relay, s *session.Session, namespace string, identity *eventv1.Identity, id, pid string) (*client, error) {
	c := &client{relay: r, pid: pid, nonce: session.NewID(), ended: make(chan struct{}), tokens: float64(r.cfg.EventBurst)}
	c.socket = s.NewSocket(id, namespace, identity.GetUserId(), c)
	if pid != "" {
		c.socket.Offsets = session.NewOffsets(pid)
	}
	return c, c.setIdentity(identity)
}

// setIdentity has the socket's events carry an identity from now on: at birth, and when its client brings a fresh token.
func (c *client) setIdentity(identity *eventv1.Identity) error {
	prefix, err := proto.Marshal(&eventv1.ClientEvent{
		SocketId: c.socket.ID, GatewayId: c.relay.cfg.GatewayID, Namespace: c.socket.Namespace, Identity: identity,
	})
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.prefix, c.loginID = prefix, identity.GetLoginId()
	if t := identity.GetIssuedAt(); t != nil {
		c.issuedAt = t.AsTime().UnixMilli()
	}
	c.expiresAt = 0
	if t := identity.GetExpiresAt(); t != nil {
		c.expiresAt = t.AsTime().Unix()
	}
	return nil
}

// The field numbers of ClientEvent and FollowingEvent that encode appends; events_test.go checks them against the schema.
const (
	fieldEvent       = 4
	fieldArgs        = 5
	fieldAttachments = 6
	fieldReceivedAt  = 8
	fieldMore        = 9
	fieldAttempt     = 10

	fieldMoreArgs        = 1
	fieldMoreAttachments = 2
	fieldMoreReceivedAt  = 3
)

// encode makes the ClientEvent of events that share their name by appending its fields to the prefix: protobuf does not mind
// the order, and the identity is not encoded again for each request.
func (c *client) encode(events []*pending) []byte {
	c.mu.Lock()
	prefix := c.prefix
	c.mu.Unlock()
	first := events[0]
	size := len(prefix) + len(first.event)
	for _, p := range events {
		size += p.size() + 32
	}
	b := append(make([]byte, 0, size), prefix...)
	b = protowire.AppendTag(b, fieldEvent, protowire.BytesType)
	b = protowire.AppendString(b, first.event)
	b = first.append(b, fieldArgs, fieldAttachments, fieldReceivedAt)
	var more []byte
	for _, p := range events[1:] {
		more = p.append(more[:0], fieldMoreArgs, fieldMoreAttachments, fieldMoreReceivedAt)
		b = protowire.AppendTag(b, fieldMore, protowire.BytesType)
		b = protowire.AppendBytes(b, more)
	}
	return b
}

// append encodes what each event has of its own.
func (p *pending) append(b []byte, args, attachments, receivedAt protowire.Number) []byte {
	b = protowire.AppendTag(b, args, protowire.BytesType)
	b = protowire.AppendBytes(b, p.args)
	for _, a := range p.attachments {
		b = protowire.AppendTag(b, attachments, protowire.BytesType)
		b = protowire.AppendBytes(b, a)
	}
	var at [24]byte
	t := protowire.AppendTag(at[:0], 1, protowire.VarintType)
	t = protowire.AppendVarint(t, uint64(p.receivedAt.Unix())) //nolint:gosec // after 1970
	t = protowire.AppendTag(t, 2, protowire.VarintType)
	t = protowire.AppendVarint(t, uint64(p.receivedAt.Nanosecond())) //nolint:gosec // not negative
	b = protowire.AppendTag(b, receivedAt, protowire.BytesType)
	return protowire.AppendBytes(b, t)
}

// size is about what an event takes in a request.
func (p *pending) size() int {
	n := len(p.args) + 8
	for _, a := range p.attachments {
		n += len(a) + 8
	}
	return n
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

// Bounds of one request: events, and the bytes of their arguments and attachments.
const (
	maxBatch      = 32
	maxBatchBytes = 256 << 10
)

// enqueue has p wait until what came with it has come too (settled), and for what is in flight.
func (c *client) enqueue(p *pending) {
	c.mu.Lock()
	if c.gone {
		c.mu.Unlock()
		return
	}
	c.queue = append(c.queue, p)
	c.relay.waiting.Add(int64(p.size()))
	var next []*pending
	switch full := len(c.queue) >= c.relay.cfg.MaxQueued; {
	case c.inFlight == nil && (full || len(c.queue) >= maxBatch):
		next = c.nextLocked()
	case full && !c.paused:
		c.paused = true
		c.socket.PauseRead()
	}
	c.mu.Unlock()
	if next != nil {
		c.relay.send(c, next)
	}
}

// settled sends what waits, unless something is in flight.
func (c *client) settled() {
	c.mu.Lock()
	var next []*pending
	if c.inFlight == nil && !c.gone {
		next = c.nextLocked()
	}
	c.mu.Unlock()
	if next != nil {
		c.relay.send(c, next)
	}
}

// nextLocked takes the next request off the queue: one event, and those of the same name right behind it as far as the
// service takes several. Nothing overtakes.
func (c *client) nextLocked() []*pending {
	if len(c.queue) == 0 {
		return nil
	}
	first, n := c.queue[0], 1
	if len(c.queue) > 1 && first.act == nil {
		most := min(len(c.queue), c.relay.catalog.batch(first.subject), maxBatch)
		for bytes := first.size(); n < most; n++ {
			p := c.queue[n]
			if bytes += p.size(); p.subject != first.subject || bytes > maxBatchBytes {
				break
			}
		}
	}
	c.inFlight = c.queue[:n:n]
	c.queue = c.queue[n:]
	if len(c.queue) == 0 {
		c.queue = nil
	}
	if c.paused && len(c.queue) <= c.relay.cfg.MaxQueued/2 {
		c.paused = false
		c.socket.ResumeRead()
	}
	return c.inFlight
}

// done ends what is in flight and sends the next; first tells what that was.
func (c *client) done(first *pending) {
	c.mu.Lock()
	if c.gone || len(c.inFlight) == 0 || c.inFlight[0] != first {
		c.mu.Unlock()
		return
	}
	c.forgetLocked(c.inFlight)
	c.inFlight = nil
	next := c.nextLocked()
	c.mu.Unlock()
	if next != nil {
		c.relay.send(c, next)
	}
}

// isGone tells whether the socket has ended here: its client may be elsewhere.
func (c *client) isGone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gone
}

// forgetLocked takes events off the account of what waits.
func (c *client) forgetLocked(events []*pending) {
	for _, p := range events {
		c.relay.waiting.Add(-int64(p.size()))
	}
}

// end marks the client gone and gives the rooms that it was in.
func (c *client) end() (rooms []clientRoom, registered bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = true
	rooms, registered = c.rooms, c.registered
	c.forgetLocked(c.inFlight)
	c.forgetLocked(c.queue)
	c.rooms, c.queue, c.inFlight = nil, nil, nil
	if c.paused { // the session may go on in other namespaces
		c.paused = false
		c.socket.ResumeRead()
	}
	return rooms, registered
}

// addRoom notes a room, or what the socket has seen of one that is noted. Nothing is alive to enter when the client is gone.
func (c *client) addRoom(room clientRoom) (added, alive bool) {
	return c.enterRoom(room, true)
}

// resumeRoom is addRoom for a room that the socket was in before it came here: nothing changes for its client.
func (c *client) resumeRoom(room clientRoom) { c.enterRoom(room, false) }

func (c *client) enterRoom(room clientRoom, change bool) (added, alive bool) {
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
	if change {
		c.changedLocked()
	}
	return true, true
}

// changedLocked counts a change of rooms, for the state in the bus and for the client's offsets alike.
func (c *client) changedLocked() {
	c.generation++
	if c.socket.Offsets != nil {
		c.socket.Offsets.SetGeneration(c.generation)
	}
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
	c.changedLocked()
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
