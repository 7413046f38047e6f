package edge

import (
	"container/list"
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/starling-chat/starling/gateway/internal/rest"
	"github.com/starling-chat/starling/gateway/internal/stats"
	"github.com/starling-chat/starling/platform/obs"
	"github.com/starling-chat/starling/proto/fault"
)

// openConns counts the connections that are not WebSockets. Two bounds keep descriptors for others, and for NATS and the services:
// one for all connections and one for those of an address. At a bound a new connection takes the place of the one that the gateway has
// waited for the longest: for a request, or for the rest of its body. So who sends what they have to say is served, however many
// connections say nothing. A long poll is not waited for: there it is the client who waits.
type openConns struct {
	// Fixed at birth.
	most       int         // 0 = no bound
	perAddress int         // connections of an address, or requests of one behind a trusted proxy; 0 = no bound
	others     func() int  // what else counts for most: the sessions, and WebSockets beside them
	displace   func() bool // ends one of those others whose client has still to show who it is; nil: there are none
	keyOf      func(peer netip.Addr) (key netip.Addr, limited bool)
	addresses  *addresses
	refused    func(bound string)

	mu      sync.Mutex // guards what follows, and what openConns and holders have
	conns   map[net.Conn]*openConn
	holders map[netip.Addr]*holder
	waiting list.List // of *openConn, the longest first
}

func newOpenConns(most, perAddress int, others func() int, a *addresses, refused func(bound string)) *openConns {
	return &openConns{
		most: most, perAddress: perAddress, others: others, keyOf: a.connKey, addresses: a, refused: refused,
		conns: make(map[net.Conn]*openConn), holders: make(map[netip.Addr]*holder),
	}
}

// The bounds, as metrics and logs call them.
const (
	boundAddress     = "address"
	boundDescriptors = "descriptors"
)

// openConn is one connection. A nil one counts for nothing.
type openConn struct {
	all    *openConns
	conn   net.Conn
	holder *holder       // nil: its address is not limited
	place  *list.Element // in openConns.waiting; nil while it is not waited for
	own    *list.Element // in holder.waiting
}

// holder is an address with connections or requests.
type holder struct {
	key     netip.Addr
	held    int
	waiting list.List // of *openConn, the longest first
}

type openConnKey struct{}

// connOf is the connection of a request; nil where no server made it.
func connOf(r *http.Request) *openConn {
	c, _ := r.Context().Value(openConnKey{}).(*openConn)
	return c
}

// context is an http.Server's ConnContext. It is asked before the first state: here a connection is admitted, or closed.
func (o *openConns) context(ctx context.Context, c net.Conn) context.Context {
	if ahead, ok := c.(*aheadConn); ok { // it was admitted when it was accepted
		o.rename(ahead)
		return context.WithValue(ctx, openConnKey{}, ahead.open)
	}
	conn, refused := o.add(c)
	if refused != "" {
		_ = tcpOf(c).Close() // there is nobody to tell
		o.refused(refused)
	}
	return context.WithValue(ctx, openConnKey{}, conn)
}

// rename knows a connection by what net/http has of it.
func (o *openConns) rename(c *aheadConn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.conns[c.Conn] == c.open { // else its place was needed
		delete(o.conns, c.Conn)
		c.open.conn = c
		o.conns[c] = c.open
	}
}

// state is an http.Server's ConnState.
func (o *openConns) state(c net.Conn, s http.ConnState) {
	o.mu.Lock()
	defer o.mu.Unlock()
	conn := o.conns[c]
	switch {
	case conn == nil:
	case s == http.StateHijacked || s == http.StateClosed:
		o.dropLocked(conn)
	default:
		conn.waitsLocked(s != http.StateActive)
	}
}

// add admits a connection, or names the bound that is against it.
func (o *openConns) add(c net.Conn) (admitted *openConn, refused string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	conn := &openConn{all: o, conn: c}
	if key, limited := o.keyOf(peerOf(c.RemoteAddr().String())); limited && o.perAddress > 0 {
		h := o.holderLocked(key)
		if h.held >= o.perAddress && !o.endFirstLocked(&h.waiting) {
			return nil, boundAddress
		}
		conn.holder = h
	}
	if o.most > 0 && len(o.conns)+o.others() >= o.most+spareSockets && !o.endFirstLocked(&o.waiting) && !o.displaceOther() {
		return nil, boundDescriptors
	}
	if conn.holder != nil {
		conn.holder.held++
		o.holders[conn.holder.key] = conn.holder
	}
	o.conns[c] = conn
	return conn, ""
}

func (o *openConns) holderLocked(key netip.Addr) *holder {
	if h := o.holders[key]; h != nil {
		return h
	}
	return &holder{key: key}
}

// endFirstLocked ends the connection that has been waited for the longest, if there is one.
func (o *openConns) endFirstLocked(waiting *list.List) bool {
	first := waiting.Front()
	if first == nil {
		return false
	}
	conn := first.Value.(*openConn)
	_ = tcpOf(conn.conn).Close()
	o.dropLocked(conn)
	return true
}

// displaceOther makes room among what is not counted here.
func (o *openConns) displaceOther() bool { return o.displace != nil && o.displace() }

func (o *openConns) dropLocked(c *openConn) {
	c.waitsLocked(false)
	delete(o.conns, c.conn)
	o.releaseLocked(c.holder)
	c.holder = nil
}

func (o *openConns) releaseLocked(h *holder) {
	if h == nil {
		return
	}
	if h.held--; h.held == 0 {
		delete(o.holders, h.key)
	}
}

// begin counts a request of an address that is not its connection's: those who come through one proxy have bounds of their own.
// done is called when it is answered; ok is false at the bound.
func (o *openConns) begin(client netip.Addr) (done func(), ok bool) {
	key, limited := o.addresses.limitKey(client)
	if !limited || o.perAddress == 0 {
		return func() {}, true
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	h := o.holderLocked(key)
	if h.held >= o.perAddress {
		return nil, false
	}
	h.held++
	o.holders[key] = h
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.releaseLocked(h)
	}, true
}

// waits tells whether the gateway waits for the client of this connection.
func (c *openConn) waits(so bool) {
	if c == nil {
		return
	}
	c.all.mu.Lock()
	defer c.all.mu.Unlock()
	if c.all.conns[c.conn] == c {
		c.waitsLocked(so)
	}
}

func (c *openConn) waitsLocked(so bool) {
	if so == (c.place != nil) {
		return
	}
	if so {
		c.place = c.all.waiting.PushBack(c)
		if c.holder != nil {
			c.own = c.holder.waiting.PushBack(c)
		}
		return
	}
	c.all.waiting.Remove(c.place)
	c.place = nil
	if c.own != nil {
		c.holder.waiting.Remove(c.own)
		c.own = nil
	}
}

// admit has the rate of new sessions of an address decide.
func (e *Edge) admit(r *http.Request) (wait time.Duration, ok bool) {
	key, limited := e.addresses.limitKey(e.clientIP(r))
	if !limited {
		return 0, true
	}
	return e.limiter.allow(key, time.Now())
}

// byAddress bounds the requests of one address that come through trusted proxies: there the connections are the proxies'.
func (e *Edge) byAddress(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if peer := peerOf(r.RemoteAddr); e.trusted(peer) {
			if client := e.clientIP(r); client != peer {
				done, ok := e.conns.begin(client)
				if !ok {
					e.conns.refused(boundAddress)
					rest.WriteFault(w, http.StatusServiceUnavailable, fault.Retry(fault.Unavailable, "Too many requests at once", retryAfter))
					return
				}
				defer done()
			}
		}
		next.ServeHTTP(w, r)
	})
}

// refusedConn counts what a bound refuses, and says it in the log from time to time.
func (e *Edge) refusedConn(st *stats.Stats) func(bound string) {
	sampler := obs.NewSampler(time.Minute)
	return func(bound string) {
		st.HTTPRefusals.WithLabelValues(bound).Inc()
		skipped, ok := sampler.Take(time.Now())
		if !ok {
			return
		}
		e.log.Warn("HTTP connections are refused: too many at once (bound address: MAX_ADDRESS_CONNECTIONS, TRUSTED_PROXIES, LIMIT_EXEMPT_NETWORKS; bound descriptors: the limit of open files)",
			slog.String("bound", bound), slog.Int("skipped", skipped))
	}
}
