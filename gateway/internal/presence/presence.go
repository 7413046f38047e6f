package presence

import (
	"context"
	"hash/fnv"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/starling-chat/starling/gateway/internal/session"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// Config says whose presence it is, and how often the lease is renewed.
type Config struct {
	GatewayID     string
	Incarnation   int64 // Unix nanoseconds of the gateway's start
	LeaseInterval time.Duration
}

// Presence announces the sockets of one gateway, and tells them who is online.
type Presence struct {
	cfg  Config
	nc   *nats.Conn
	log  *slog.Logger
	wake chan struct{} // a delta waits

	mu      sync.Mutex // guards what follows, and every Claim
	version uint64
	claims  Claim // the head of the ring of announced claims
	count   uint32
	digest  uint64
	ups     []*eventv1.SocketRef
	downs   []string
	going   map[string]struct{} // the ids in downs

	online online
}

// Claim is one socket's place among the announced ones. Its zero value is ready; whoever owns the socket embeds it.
type Claim struct {
	socket    *session.Socket // nil while the claim is not announced
	withdrawn bool
	prev      *Claim
	next      *Claim
}

const (
	deltaInterval = 20 * time.Millisecond
	deltaSize     = 2000 // sockets in one delta or snapshot page
)

// New makes the presence of a gateway without sockets; Run publishes it.
func New(cfg Config, nc *nats.Conn, log *slog.Logger) *Presence {
	p := &Presence{cfg: cfg, nc: nc, log: log, wake: make(chan struct{}, 1)}
	p.claims.prev, p.claims.next = &p.claims, &p.claims
	return p
}

// Up announces a socket, unless Down has withdrawn it before, and sends it the list of who is online. A socket whose user is
// not in the list yet gets the next list instead, which goes to everyone.
func (p *Presence) Up(s *session.Socket, c *Claim) {
	if !p.announce(s, c) {
		return
	}
	p.signal()
	if m := p.online.greeting(s); m != nil {
		s.Queue(m)
		s.Flush()
	}
}

func (p *Presence) announce(s *session.Socket, c *Claim) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.withdrawn || c.socket != nil {
		return false
	}
	// A recovered socket has the id of the one before it. Within a delta whoever is in both lists is gone, so the end of the
	// earlier one goes ahead in a delta of its own.
	if _, going := p.going[s.ID]; going {
		p.flushLocked()
	}
	c.socket = s
	c.prev, c.next = p.claims.prev, &p.claims
	c.prev.next, c.next.prev = c, c
	p.count++
	p.digest ^= digestOf(s.ID)
	p.ups = append(p.ups, &eventv1.SocketRef{SocketId: s.ID, UserId: s.UserID, Since: timestamppb.Now()})
	return true
}

// Down withdraws a socket for good. One that was never announced will not be.
func (p *Presence) Down(c *Claim) {
	if p.withdraw(c) {
		p.signal()
	}
}

func (p *Presence) withdraw(c *Claim) (announced bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.withdrawn = true
	if c.socket == nil {
		return false
	}
	c.prev.next, c.next.prev = c.next, c.prev
	p.count--
	p.digest ^= digestOf(c.socket.ID)
	p.downs = append(p.downs, c.socket.ID)
	if p.going == nil {
		p.going = make(map[string]struct{})
	}
	p.going[c.socket.ID] = struct{}{}
	c.socket, c.prev, c.next = nil, nil, nil
	return true
}

func (p *Presence) signal() {
	select {
	case p.wake <- struct{}{}:
	default: // a flush is due already
	}
}

// digestOf is a socket's part in the digest of the lease, which is the XOR over all announced sockets.
func digestOf(socketID string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(socketID)) // never fails
	return h.Sum64()
}

// Run publishes the lease and the deltas until ctx ends; then it ends the lease.
func (p *Presence) Run(ctx context.Context) error {
	lease := time.NewTicker(p.cfg.LeaseInterval)
	defer lease.Stop()
	flush := time.NewTimer(deltaInterval)
	defer flush.Stop()
	armed := true
	p.publishLease(false)
	for {
		select {
		case <-ctx.Done():
			p.publishLease(true)
			return ctx.Err()
		case <-lease.C:
			p.publishLease(false)
		case <-p.wake:
			if !armed { // the first of the changes that come close together starts the clock
				flush.Reset(deltaInterval)
				armed = true
			}
		case <-flush.C:
			armed = false
			p.flush()
		}
	}
}

// Announce publishes the lease at once: the bus is back, or another gateway asks who is there.
func (p *Presence) Announce() { p.publishLease(false) }

// publishLease publishes the lease behind the deltas that it counts: a count and a digest ahead of the version would look like a
// mismatch.
func (p *Presence) publishLease(ending bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flushLocked()
	p.publish(subject.PresenceLease, &eventv1.PresenceLease{
		GatewayId: p.cfg.GatewayID, Incarnation: p.cfg.Incarnation,
		Version: p.version, Sockets: p.count, Digest: p.digest, Ending: ending,
	})
}

// flush publishes which sockets came and went.
func (p *Presence) flush() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flushLocked()
}

func (p *Presence) flushLocked() {
	for len(p.ups)+len(p.downs) > 0 {
		nUp := min(len(p.ups), deltaSize)
		nDown := 0
		if nUp == len(p.ups) { // a socket's down never leaves before its up
			nDown = min(len(p.downs), deltaSize)
		}
		p.version++
		p.publish(subject.PresenceDelta, &eventv1.PresenceDelta{
			GatewayId: p.cfg.GatewayID, Incarnation: p.cfg.Incarnation, Version: p.version,
			Up: p.ups[:nUp], Down: p.downs[:nDown],
		})
		p.ups, p.downs = p.ups[nUp:], p.downs[nDown:]
	}
	p.ups, p.downs, p.going = nil, nil, nil
}

// Snapshot answers a request for all sockets. New sockets wait for the lock meanwhile, so that version and content fit.
func (p *Presence) Snapshot(request *nats.Msg) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flushLocked()
	refs := make([]*eventv1.SocketRef, 0, p.count)
	for c := p.claims.next; c != &p.claims; c = c.next {
		refs = append(refs, &eventv1.SocketRef{SocketId: c.socket.ID, UserId: c.socket.UserID})
	}
	pages := max(1, (len(refs)+deltaSize-1)/deltaSize)
	for page := range pages {
		p.publish(request.Reply, &eventv1.PresenceSnapshot{
			GatewayId: p.cfg.GatewayID, Incarnation: p.cfg.Incarnation, Version: p.version,
			Page: uint32(page), Pages: uint32(pages), //nolint:gosec // few
			Sockets: refs[page*deltaSize : min(len(refs), (page+1)*deltaSize)],
		})
	}
}

func (p *Presence) publish(subj string, m proto.Message) {
	raw, err := proto.Marshal(m)
	if err == nil {
		err = p.nc.Publish(subj, raw)
	}
	if err != nil { // presence-service notices by version and digest, and asks for a snapshot
		p.log.Debug("presence not published", slog.Any("error", err))
	}
}
