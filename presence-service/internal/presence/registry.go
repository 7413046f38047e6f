package presence

import (
	"cmp"
	"sync"
	"time"
)

// Config sets the Registry's times.
type Config struct {
	// LeaseExpiry is how long a gateway may be silent before its sockets are removed; 0 means 10 s.
	LeaseExpiry time.Duration
	// OfflineGrace is how long a user stays online after the last socket ended, to hide reconnects.
	OfflineGrace time.Duration
	// PublishEvery is the time in which changes are coalesced to one message; 0 means 1 s.
	PublishEvery time.Duration
	// RefreshEvery is the time after which the same list is repeated for new gateways; 0 means 5 s.
	RefreshEvery time.Duration
	// Scope says who is told; "" means everyone.
	Scope Scope
}

const (
	defaultLeaseExpiry  = 10 * time.Second
	defaultPublishEvery = time.Second
	defaultRefreshEvery = 5 * time.Second
)

func (c Config) withDefaults() Config {
	c.LeaseExpiry = cmp.Or(max(c.LeaseExpiry, 0), defaultLeaseExpiry)
	c.PublishEvery = cmp.Or(max(c.PublishEvery, 0), defaultPublishEvery)
	c.RefreshEvery = cmp.Or(max(c.RefreshEvery, 0), defaultRefreshEvery)
	c.Scope = cmp.Or(c.Scope, ScopeEveryone)
	return c
}

// silence is how long a stand-in waits for a better replica's message: a refresh and a bit.
func (c Config) silence() time.Duration { return c.RefreshEvery + c.PublishEvery }

// listen is how long after a start gateways are given to be heard: more than one heartbeat (3 s of 10 s).
func (c Config) listen() time.Duration { return c.LeaseExpiry * 2 / 5 }

// Registry holds who is online: users and their sockets by gateway incarnation. It is safe for concurrent use. A delta
// costs as much as it has changes; only a snapshot and the end of a lease cost as much as the gateway has sockets.
type Registry struct {
	// Fixed at birth.
	cfg    Config
	signal chan struct{} // capacity 1: something to publish
	warm   chan struct{} // closed by Sweep when the picture is complete after the start

	mu       sync.RWMutex // guards all below
	gateways map[GatewayID]*gateway
	ended    map[GatewayID]ended
	users    map[UserID]*user // everyone online: with sockets, or in grace
	sockets  int
	graces   []grace // in order of their end
	changes  changes
	begun    time.Time // the first Sweep
	swept    time.Time // the last one
}

// user is somebody who is online.
type user struct {
	id      UserID
	sockets int
	until   time.Time // in grace: when it is over; zero otherwise
}

// grace is one entry of the queue; void when the user's until has moved on.
type grace struct {
	user  *user
	until time.Time
	left  time.Time // when the last socket ended
}

// ended remembers an incarnation that ended for good, so that stragglers do not bring it back.
type ended struct {
	incarnation int64
	at          time.Time
}

// NewRegistry returns an empty registry, which is warming until Sweep finds it complete.
func NewRegistry(cfg Config) *Registry {
	return &Registry{
		cfg:      cfg.withDefaults(),
		signal:   make(chan struct{}, 1),
		warm:     make(chan struct{}),
		gateways: make(map[GatewayID]*gateway),
		ended:    make(map[GatewayID]ended),
		users:    make(map[UserID]*user),
		changes:  newChanges(),
	}
}

// Apply takes in a delta. It reports whether the gateway has to be asked for a snapshot.
func (r *Registry) Apply(d Delta, now time.Time) (ask bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	g, fresh := r.gateway(d.Gateway, d.Incarnation, now)
	if g == nil {
		return false
	}
	if fresh {
		g.awaiting = d.Version != 1
	}
	return r.apply(g, d, now)
}

func (r *Registry) apply(g *gateway, d Delta, now time.Time) (ask bool) {
	switch {
	case g.awaiting:
		g.buffer(d)
	case d.Version <= g.version: // a repeat
	case d.Version != g.version+1:
		g.awaiting = true
		g.buffer(d)
	default:
		g.version = d.Version
		// Up before down: a socket in both came and went. One that went and came again is in two deltas.
		for _, s := range d.Up {
			r.up(g, s, now)
		}
		for _, id := range d.Down {
			r.down(g, id, now)
		}
	}
	return g.awaiting
}

// Renew takes in a heartbeat. It reports whether the gateway has to be asked for a snapshot.
func (r *Registry) Renew(l Lease, now time.Time) (ask bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l.Ending {
		r.end(l, now)
		return false
	}
	g, fresh := r.gateway(l.Gateway, l.Incarnation, now)
	if g == nil {
		return false
	}
	switch {
	case fresh:
		g.awaiting = l.Version != 0 || l.Sockets != 0
	case g.awaiting || l.Version < g.version: // asked already; overtaken by a delta
	case l.Version > g.version || !g.agrees(l):
		g.awaiting = true
	}
	return g.awaiting
}

// end removes a gateway that ends for good. Its users have the grace: they are on their way to another one.
func (r *Registry) end(l Lease, now time.Time) {
	if e, ok := r.ended[l.Gateway]; !ok || e.incarnation <= l.Incarnation {
		r.ended[l.Gateway] = ended{l.Incarnation, now}
	}
	if g := r.gateways[l.Gateway]; g != nil && g.incarnation <= l.Incarnation {
		r.remove(g, now, now, r.cfg.OfflineGrace)
	}
}

// gateway finds the picture of an incarnation and marks it as heard. A newer incarnation replaces the older one (fresh);
// nil means that the incarnation is a past one.
func (r *Registry) gateway(id GatewayID, incarnation int64, now time.Time) (g *gateway, fresh bool) {
	if e, ok := r.ended[id]; ok && incarnation <= e.incarnation {
		return nil, false
	}
	g = r.gateways[id]
	switch {
	case g != nil && incarnation < g.incarnation:
		return nil, false
	case g != nil && incarnation == g.incarnation:
		g.heard = now
		return g, false
	case g != nil:
		r.remove(g, now, now, r.cfg.OfflineGrace)
	}
	g = &gateway{
		id: id, incarnation: incarnation, sockets: make(map[SocketID]*user),
		heardFirst: now, heard: now,
	}
	r.gateways[id] = g
	r.changes.request(now)
	r.wake()
	return g, true
}

// Awaits tells whether a gateway's snapshot is needed.
func (r *Registry) Awaits(id GatewayID) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	g := r.gateways[id]
	return g != nil && g.awaiting
}

// Restore takes in a snapshot that is awaited, and the deltas that came after it was made. It reports whether another one
// is needed. A snapshot of a gateway that went meanwhile changes nothing.
func (r *Registry) Restore(s Snapshot, now time.Time) (ask bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	g := r.gateways[s.Gateway]
	if g == nil || s.Incarnation < g.incarnation {
		return g != nil && g.awaiting
	}
	if s.Incarnation > g.incarnation {
		if g, _ = r.gateway(s.Gateway, s.Incarnation, now); g == nil {
			return false
		}
		g.awaiting = true
	}
	if !g.awaiting {
		return false
	}
	r.replace(g, s, now)
	g.awaiting = false
	buffered := g.buffered
	g.buffered = nil
	for _, d := range buffered {
		r.apply(g, d, now)
	}
	return g.awaiting
}

// replace makes the sockets of g those of s; who is in both does not notice.
func (r *Registry) replace(g *gateway, s Snapshot, now time.Time) {
	old := g.sockets
	g.version, g.digest, g.sockets = s.Version, 0, make(map[SocketID]*user, len(s.Sockets))
	for _, socket := range s.Sockets {
		r.up(g, socket, now)
	}
	for _, u := range old {
		r.leave(u, now, now, r.cfg.OfflineGrace)
	}
}

func (r *Registry) up(g *gateway, s Socket, now time.Time) {
	if g.sockets[s.ID] != nil {
		r.down(g, s.ID, now)
	}
	g.sockets[s.ID] = r.enter(s.User, now)
	g.digest ^= HashSocket(s.ID)
}

func (r *Registry) down(g *gateway, id SocketID, now time.Time) {
	u := g.sockets[id]
	if u == nil {
		return
	}
	delete(g.sockets, id)
	g.digest ^= HashSocket(id)
	r.leave(u, now, now, r.cfg.OfflineGrace)
}

// remove ends all sockets of a gateway, last known to live at seen.
func (r *Registry) remove(g *gateway, now, seen time.Time, grace time.Duration) {
	delete(r.gateways, g.id)
	for _, u := range g.sockets {
		r.leave(u, now, seen, grace)
	}
}

func (r *Registry) enter(id UserID, now time.Time) *user {
	u := r.users[id]
	if u == nil {
		u = &user{id: id}
		r.users[id] = u
		r.changes.online(id, now)
		r.wake()
	}
	u.sockets++
	u.until = time.Time{}
	r.sockets++
	return u
}

// leave ends one socket of a user, who was seen last at seen.
func (r *Registry) leave(u *user, now, seen time.Time, after time.Duration) {
	u.sockets--
	r.sockets--
	if u.sockets > 0 {
		return
	}
	if after <= 0 {
		r.depart(u, seen, now)
		return
	}
	u.until = now.Add(after)
	r.graces = append(r.graces, grace{u, u.until, seen})
}

func (r *Registry) depart(u *user, left, now time.Time) {
	u.until = time.Time{}
	delete(r.users, u.id)
	r.changes.offline(u.id, left, now)
	r.wake()
}

// wake tells the Keeper that there is something to publish.
func (r *Registry) wake() {
	select {
	case r.signal <- struct{}{}:
	default:
	}
}
