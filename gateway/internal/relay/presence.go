package relay

import (
	"context"
	"hash/fnv"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/starling-chat/starling/gateway/internal/hub"
	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/socketio"
	"github.com/starling-chat/starling/gateway/internal/transport"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// presence is this gateway's claim about its sockets: a lease, deltas, and a snapshot on demand. It also keeps the last list
// of who is online, for sockets that connect.
type presence struct {
	relay *Relay
	wake  chan struct{}

	mu      sync.Mutex // guards what follows
	version uint64
	count   uint32
	digest  uint64
	ups     []*eventv1.SocketRef
	downs   []string

	listMu sync.Mutex // guards what follows
	list   *eventv1.OnlineUsers
	users  map[string]struct{} // of list
	full   *transport.Message  // what a new socket gets
}

const (
	deltaInterval = 20 * time.Millisecond
	deltaSize     = 2000 // sockets in one delta or snapshot page
	// mainNamespace is where clients hear who is online.
	mainNamespace = "/"
)

func newPresence(r *Relay) *presence {
	return &presence{relay: r, wake: make(chan struct{}, 1)}
}

// up announces a socket, and sends it who is online: now if it is in the list already, otherwise with the next list, which
// goes to everyone.
func (p *presence) up(s *session.Socket, c *client) {
	p.mu.Lock()
	c.mu.Lock()
	gone := c.gone
	c.mu.Unlock()
	if gone {
		p.mu.Unlock()
		return
	}
	c.announced = true
	p.count++
	p.digest ^= socketHash(s.ID)
	p.ups = append(p.ups, &eventv1.SocketRef{SocketId: s.ID, UserId: s.UserID, Since: timestamppb.Now()})
	p.mu.Unlock()
	p.signal()
	if s.Namespace != mainNamespace {
		return
	}
	p.listMu.Lock()
	full, complete := p.full, p.list.GetComplete()
	_, listed := p.users[s.UserID]
	p.listMu.Unlock()
	if full != nil && (listed || !complete) {
		s.Queue(full)
		s.Flush()
	}
}

// down withdraws a socket.
func (p *presence) down(s *session.Socket, c *client) {
	p.mu.Lock()
	if c.announced {
		c.announced = false
		p.count--
		p.digest ^= socketHash(s.ID)
		p.downs = append(p.downs, s.ID)
	}
	p.mu.Unlock()
	p.signal()
}

func (p *presence) signal() {
	select {
	case p.wake <- struct{}{}:
	default: // a flush is due already
	}
}

func socketHash(id string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id))
	return h.Sum64()
}

// run publishes the lease and the deltas, and ends the lease at the end.
func (p *presence) run(ctx context.Context) error {
	lease := time.NewTicker(p.relay.cfg.LeaseInterval)
	defer lease.Stop()
	flush := time.NewTimer(deltaInterval)
	defer flush.Stop()
	armed := true
	p.heartbeat(false)
	for {
		select {
		case <-ctx.Done():
			p.heartbeat(true)
			return ctx.Err()
		case <-lease.C:
			p.heartbeat(false)
		case <-p.wake:
			if !armed { // the first of those that come close together starts the clock
				flush.Reset(deltaInterval)
				armed = true
			}
		case <-flush.C:
			armed = false
			p.flush()
		}
	}
}

// announceNow repeats the lease when the bus is back.
func (p *presence) announceNow() { p.heartbeat(false) }

// heartbeat publishes the lease, after the deltas that it counts: count and digest ahead of version look like a mismatch.
func (p *presence) heartbeat(ending bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flushLocked()
	p.publish(subject.PresenceLease, &eventv1.PresenceLease{
		GatewayId: p.relay.cfg.GatewayID, Incarnation: p.relay.cfg.Incarnation,
		Version: p.version, Sockets: p.count, Digest: p.digest, Ending: ending,
	})
}

// flush publishes what came and went. The lock is held while publishing, so that versions leave in order; publishing
// only appends to the client's buffer.
func (p *presence) flush() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flushLocked()
}

func (p *presence) flushLocked() {
	for len(p.ups)+len(p.downs) > 0 {
		nUp := min(len(p.ups), deltaSize)
		nDown := 0
		if nUp == len(p.ups) { // a socket's down never leaves before its up
			nDown = min(len(p.downs), deltaSize)
		}
		p.version++
		p.publish(subject.PresenceDelta, &eventv1.PresenceDelta{
			GatewayId: p.relay.cfg.GatewayID, Incarnation: p.relay.cfg.Incarnation, Version: p.version,
			Up: p.ups[:nUp], Down: p.downs[:nDown],
		})
		p.ups, p.downs = p.ups[nUp:], p.downs[nDown:]
	}
	p.ups, p.downs = nil, nil
}

func (p *presence) publish(subj string, m proto.Message) {
	raw, err := proto.Marshal(m)
	if err == nil {
		err = p.relay.nc.Publish(subj, raw)
	}
	if err != nil { // presence-service notices by version and digest, and asks for a snapshot
		p.relay.log.Debug("presence not published", slog.Any("error", err))
	}
}

// snapshot answers a request for everything. New sockets wait for the lock meanwhile, so version and content fit.
func (p *presence) snapshot(msg *nats.Msg) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flushLocked()
	var refs []*eventv1.SocketRef
	p.relay.registry.Each(func(s *session.Socket) {
		if c, ok := s.State.(*client); ok && c.announced {
			refs = append(refs, &eventv1.SocketRef{SocketId: s.ID, UserId: s.UserID})
		}
	})
	pages := max(1, (len(refs)+deltaSize-1)/deltaSize)
	for page := range pages {
		p.publish(msg.Reply, &eventv1.PresenceSnapshot{
			GatewayId: p.relay.cfg.GatewayID, Incarnation: p.relay.cfg.Incarnation, Version: p.version,
			Page: uint32(page), Pages: uint32(pages), //nolint:gosec // few
			Sockets: refs[page*deltaSize : min(len(refs), (page+1)*deltaSize)],
		})
	}
}

// online takes a new list of who is online to the clients; a repeated list goes to nobody.
func (p *presence) online(data []byte, dirty *hub.Dirty) {
	var list eventv1.OnlineUsers
	if err := proto.Unmarshal(data, &list); err != nil {
		p.relay.log.Warn("online list cannot be decoded", slog.Any("error", err))
		return
	}
	p.listMu.Lock()
	if p.list != nil && sameList(p.list, &list) {
		p.listMu.Unlock()
		return
	}
	full, change := p.encode(&list)
	p.list, p.full = &list, full
	p.users = make(map[string]struct{}, len(list.GetUserIds()))
	for _, u := range list.GetUserIds() {
		p.users[u] = struct{}{}
	}
	p.listMu.Unlock()
	if change == nil {
		return
	}
	p.relay.toNamespace(mainNamespace, "", change, dirty)
}

func sameList(a, b *eventv1.OnlineUsers) bool {
	return a.GetComplete() == b.GetComplete() && a.GetCount() == b.GetCount() &&
		len(b.GetOnline())+len(b.GetOffline()) == 0 && slices.Equal(a.GetUserIds(), b.GetUserIds())
}

// encode makes what a new socket gets and what everyone gets.
func (p *presence) encode(list *eventv1.OnlineUsers) (full, change *transport.Message) {
	if list.GetComplete() {
		full = p.message("users:online", append(appendStrings([]byte("["), list.GetUserIds()), ']'))
		return full, full
	}
	full = p.message("presence:update", appendUpdate(nil, list.GetUserIds(), nil, list.GetCount()))
	change = p.message("presence:update", appendUpdate(nil, list.GetOnline(), list.GetOffline(), list.GetCount()))
	return full, change
}

func (p *presence) message(event string, args []byte) *transport.Message {
	m, err := session.EventMessage(mainNamespace, event, -1, args, nil)
	if err != nil {
		p.relay.log.Error("event cannot be encoded", slog.String("event", event), slog.Any("error", err))
		return nil
	}
	return m
}

// appendUpdate appends [{"online":[…],"offline":[…],"count":n}].
func appendUpdate(b []byte, online, offline []string, count uint32) []byte {
	b = append(b, `[{"online":`...)
	b = appendStrings(b, online)
	b = append(b, `,"offline":`...)
	b = appendStrings(b, offline)
	b = append(b, `,"count":`...)
	b = strconv.AppendUint(b, uint64(count), 10)
	return append(b, `}]`...)
}

func appendStrings(b []byte, list []string) []byte {
	b = append(b, '[')
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = socketio.AppendString(b, s)
	}
	return append(b, ']')
}
