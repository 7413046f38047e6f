package bus

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// dialer connects for nats.go, which holds the lock of its connection while it dials: whoever publishes, subscribes or counts would
// wait for a name server or a host that does not answer. So the dialer waits where no lock is held, in the pause that nats.go makes
// between two rounds through its servers, and what it does under the lock takes no time:
//
//	nats.go                              dialer
//	lost; asks for each server ────────▶ Dial: not yet; notes the address
//	pauses, without its lock ──────────▶ pause: waits, looks up and dials what was asked for; keeps the first
//	                                     conn on which a server has introduced itself
//	asks for each server again ────────▶ Dial: hands that conn out, or tells why there is none
type dialer struct {
	// Fixed at birth.
	ctx      context.Context //nolint:containedctx // the life of the connection; nats.go gives Dial none
	end      context.CancelFunc
	resolver *net.Resolver // nil: the system's
	lookUp   time.Duration // for a name server to answer
	greeted  bool          // a server speaks first: it does by NATS, not by WebSocket

	mu     sync.Mutex       // guards what follows
	until  time.Time        // while the process starts nobody waits for the lock: Dial may take until then
	asked  []string         // addresses that Dial had no conn for, since the last round
	last   string           // the address whose conn was handed out
	failed map[string]error // by address, in the last round
	ready  *readyConn       // nil: none
}

const (
	lookUpTimeout = 2 * time.Second
	// stagger is between the beginnings of the attempts of one round: a server that answers spares the others.
	stagger = 250 * time.Millisecond
	// otherServerPause bounds the pause before the first round where there are other servers: clients do not come all at once.
	otherServerPause = 100 * time.Millisecond
)

// errNotYet is Dial's answer for a server that no round has tried.
var errNotYet = errors.New("not tried yet")

func newDialer(ctx context.Context, cfg Config) *dialer {
	d := &dialer{resolver: cfg.resolver, lookUp: cfg.lookUp, greeted: true, until: time.Now().Add(dialTimeout)}
	if d.lookUp == 0 {
		d.lookUp = lookUpTimeout
	}
	for part := range strings.SplitSeq(cfg.URL.Reveal(), ",") {
		if scheme, _, ok := strings.Cut(strings.TrimSpace(part), "://"); ok && strings.HasPrefix(strings.ToLower(scheme), "ws") {
			d.greeted = false
		}
	}
	d.ctx, d.end = context.WithCancel(ctx)
	return d
}

// options has nats.go use d, which ends with the connection.
func (d *dialer) options() []nats.Option {
	return []nats.Option{
		nats.SetCustomDialer(d), nats.SkipHostLookup(), nats.CustomReconnectDelay(d.pause),
		nats.ClosedHandler(func(*nats.Conn) { d.close() }),
	}
}

// started ends the time in which Dial may wait.
func (d *dialer) started() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.until = time.Time{}
}

func (d *dialer) close() {
	d.end()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dropReady()
}

// Dial implements nats.CustomDialer. After the start it does not wait for anything.
func (d *dialer) Dial(_, address string) (net.Conn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ready != nil && d.ready.address == address {
		conn := d.ready
		d.ready, d.asked, d.last = nil, nil, address
		return conn, nil
	}
	err := d.failed[address]
	if until := d.until; time.Now().Before(until) {
		d.mu.Unlock()
		var conn *readyConn
		conn, err = d.connectUntil(until, address)
		d.mu.Lock()
		if err == nil {
			d.last = address
			return conn, nil
		}
	}
	if !slices.Contains(d.asked, address) {
		d.asked = append(d.asked, address)
	}
	if err == nil {
		err = errNotYet
	}
	return nil, err
}

func (d *dialer) connectUntil(until time.Time, address string) (*readyConn, error) {
	ctx, cancel := context.WithDeadline(d.ctx, until)
	defer cancel()
	return d.connect(ctx, address)
}

// pause implements nats.ReconnectDelayHandler: it is called without the lock of the connection after each round of attempts, and has
// waited when it returns.
func (d *dialer) pause(rounds int) time.Duration {
	d.mu.Lock()
	d.dropReady() // of a server that is none any more
	targets := d.asked
	d.asked, d.failed = nil, nil
	others := len(targets) > 0 && !slices.Contains(targets, d.last)
	if len(targets) == 0 {
		targets = []string{d.last}
	}
	d.mu.Unlock()
	wait := reconnectWait + rand.N(reconnectJitter) //nolint:gosec // no secret
	if rounds == 1 && others {
		wait = rand.N(otherServerPause) //nolint:gosec // no secret
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		d.round(targets)
	case <-d.ctx.Done():
	}
	return 0
}

// round tries to connect to all targets, one a little later than the other, and keeps the first conn that there is.
func (d *dialer) round(targets []string) {
	type attempt struct {
		address string
		conn    *readyConn
		err     error
	}
	ctx, cancel := context.WithCancel(d.ctx)
	defer cancel()
	attempts := make(chan attempt, len(targets))
	for i, address := range targets {
		go func() {
			a := attempt{address: address, err: errNotYet}
			select {
			case <-time.After(time.Duration(i) * stagger):
				a.conn, a.err = d.connect(ctx, address)
			case <-ctx.Done():
			}
			attempts <- a
		}()
	}
	failed := make(map[string]error)
	var first *readyConn
	for range targets {
		switch a := <-attempts; {
		case a.err != nil:
			failed[a.address] = a.err
		case first == nil:
			first = a.conn
			cancel() // the others end at once
		default:
			_ = a.conn.Close()
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failed, d.ready = failed, first
	if d.ctx.Err() != nil {
		d.dropReady()
	}
}

// dropReady closes what nobody has asked for; d.mu is held.
func (d *dialer) dropReady() {
	if d.ready != nil {
		_ = d.ready.Close()
		d.ready = nil
	}
}

// connect looks an address up, connects to one of those that it stands for, and waits until the server has introduced itself.
func (d *dialer) connect(ctx context.Context, address string) (*readyConn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	hosts, err := d.lookUpHost(ctx, host)
	if err != nil {
		return nil, err
	}
	rand.Shuffle(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] }) //nolint:gosec // no secret
	each := net.Dialer{Timeout: dialTimeout / time.Duration(len(hosts))}
	for _, host := range hosts {
		var conn net.Conn
		if conn, err = each.DialContext(ctx, "tcp", net.JoinHostPort(host, port)); err != nil {
			continue
		}
		ready := &readyConn{Conn: conn, address: address}
		if !d.greeted {
			return ready, nil
		}
		if err = ready.await(ctx, each.Timeout); err == nil {
			return ready, nil
		}
		_ = conn.Close()
	}
	return nil, err
}

func (d *dialer) lookUpHost(ctx context.Context, host string) ([]string, error) {
	if net.ParseIP(host) != nil {
		return []string{host}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, d.lookUp)
	defer cancel()
	resolver := d.resolver
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	hosts, err := resolver.LookupHost(ctx, host)
	if err == nil && len(hosts) == 0 {
		err = errors.New("the name has no address")
	}
	return hosts, err
}

// readyConn is a conn on which the server has begun to speak; what it has said is read first.
type readyConn struct {
	net.Conn

	address string
	said    []byte
}

// await waits for the server's first bytes: a server that is stopped accepts, and says nothing.
func (c *readyConn) await(ctx context.Context, timeout time.Duration) error {
	if err := c.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetReadDeadline(time.Unix(1, 0)) })
	said := make([]byte, 4<<10)
	n, err := c.Conn.Read(said)
	if !stop() {
		return ctx.Err()
	}
	if n > 0 {
		c.said, err = said[:n], c.SetReadDeadline(time.Time{})
	}
	return err
}

// Read implements net.Conn; nats.go reads from one goroutine at a time.
func (c *readyConn) Read(p []byte) (int, error) {
	if len(c.said) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.said)
	c.said = c.said[n:]
	if len(c.said) == 0 {
		c.said = nil
	}
	return n, nil
}
