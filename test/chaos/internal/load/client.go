package load

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/starling-chat/starling/test/chaos/internal/history"
	"github.com/starling-chat/starling/test/internal/sioclient"
)

// The client's patience.
const (
	minBackoff = 200 * time.Millisecond
	maxBackoff = time.Second
	// revokedBackoff is that of a client whose tokens are revoked.
	revokedBackoff = 2 * time.Second
	ackTimeout     = 6 * time.Second
	// slowBuffer is the kernel's receive buffer of a slow client, in bytes: its sender feels it soon.
	slowBuffer = 4 << 10
)

// client is one user with one connection at a time.
type client struct {
	load   *Load
	index  int
	role   role
	id     string
	issued time.Time     // of its tokens: a revocation covers also those that it takes later
	gone   chan struct{} // closed when its tokens are revoked

	account *account // nil: it signs its tokens itself, as another login system would

	queue    chan *message // to the sender; bounded, the generator skips what does not fit
	changed  chan struct{} // wakes the steward; capacity 1
	stallEnd atomic.Int64  // history.Time until which nothing is read

	mu      sync.Mutex // guards all below
	rng     *rand.Rand
	up      chan struct{} // closed while connected
	conn    *conn         // nil while disconnected
	conns   []history.Conn
	session sioclient.Recovery
	acks    sioclient.Acks[call]
	rooms   map[string]*room
	order   []*room // the same, as planned
	joining *room   // room:join is under way
	revoked history.Time
	ending  bool // Finish is closing it
	orders  int  // messages invoked

	sends      []history.Send
	views      []history.View
	deliveries []history.Delivery
	online     []history.Online
}

// conn is one link that got as far as the reply to CONNECT.
type conn struct {
	link     sioclient.Link
	number   int
	order    sync.Mutex // of what is written
	byClient string     // why the client itself ended it; guarded by client.mu
}

// reply is the end of an emit with an ack.
type reply struct {
	answer answer
	err    error // no answer came
}

var (
	errOffline    = errors.New("not connected")
	errAckTimeout = errors.New("no ack in time")
	errRevoked    = errors.New("the tokens are revoked")
	errConnEnded  = errors.New("the connection ended")
)

func newClient(l *Load, index int) *client {
	c := &client{
		load: l, index: index, role: l.plan.roles[index], id: l.plan.users[index],
		issued: time.Now(), gone: make(chan struct{}),
		queue: make(chan *message, queueLength), changed: make(chan struct{}, 1),
		rng: random(l.cfg.Seed, uint64(index)), //nolint:gosec // not negative
		up:  make(chan struct{}), rooms: make(map[string]*room),
	}
	if c.role.account {
		c.account = &account{client: c, username: c.id}
	}
	for _, r := range l.plan.inRooms[index] {
		state := &room{index: r, id: l.plan.rooms[r], want: true, view: -1}
		c.rooms[state.id] = state
		c.order = append(c.order, state)
	}
	return c
}

func (c *client) now() history.Time { return time.Since(c.load.cfg.Start) }

// run keeps the client connected until ctx ends. Once its tokens are revoked it goes on trying with them, in turn as a new session and
// by a recovery of the old one: neither may be let in.
func (c *client) run(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		revoked := c.isRevoked()
		err := c.connection(ctx, revoked && n%2 == 0)
		if ctx.Err() != nil {
			return
		}
		c.load.log.DebugContext(ctx, "connection ended", slog.String("user", c.id), slog.Any("reason", err))
		wait := c.jitter(minBackoff, maxBackoff)
		if revoked {
			wait = revokedBackoff
		}
		if pause(ctx, wait) != nil {
			return
		}
	}
}

func (c *client) isRevoked() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.revoked != 0
}

func (c *client) jitter(from, to time.Duration) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return from + time.Duration(c.rng.Int64N(int64(to-from)))
}

func (c *client) gateway() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.rng.Perm(len(c.load.cfg.Gateways))
	for _, i := range all {
		if accepts := c.load.cfg.Accepts; accepts == nil || accepts(i) {
			return i
		}
	}
	return all[0]
}

// connection is the life of one link, and why it ended. A fresh one does not ask for the session before it.
func (c *client) connection(ctx context.Context, fresh bool) error {
	record := history.Conn{User: c.index, Gateway: c.gateway(), Polling: c.role.polling, Dialled: c.now()}
	address := c.load.cfg.Gateways[record.Gateway]
	if c.role.slow && c.load.cfg.Direct != nil {
		address = c.load.cfg.Direct[record.Gateway]
	}
	token, err := c.token(ctx)
	if err != nil {
		c.load.counters.dialFailures.Add(1)
		return err
	}
	l, err := c.dial(ctx, address)
	if err != nil {
		c.load.counters.dialFailures.Add(1)
		return err
	}
	stop := context.AfterFunc(ctx, l.Close)
	defer stop()
	defer l.Reset()
	r := &reader{client: c, link: l, record: record, token: token}
	early, err := r.read(ctx, c.auth(token, fresh))
	if r.conn == nil {
		c.load.counters.dialFailures.Add(1)
		c.load.counters.droppedReplays.Add(int64(early))
		return err
	}
	c.disconnected(r.conn, err)
	return err
}

func (c *client) dial(ctx context.Context, address string) (sioclient.Link, error) {
	switch {
	case c.role.polling:
		return sioclient.DialPolling(ctx, address, func() string { return c.load.cfg.Gateways[c.gateway()] })
	case c.role.slow:
		return sioclient.DialWebSocket(ctx, address, slowBuffer)
	}
	return sioclient.DialWebSocket(ctx, address, 0)
}

// awaitStall does not read while the rig wants the client to be slow.
func (c *client) awaitStall(ctx context.Context) {
	for {
		left := time.Duration(c.stallEnd.Load()) - c.now()
		if left <= 0 || pause(ctx, left) != nil {
			return
		}
	}
}

// reader reads one connection, and implements sioclient.Handler.
type reader struct {
	client *client
	link   sioclient.Link
	record history.Conn
	token  string
	conn   *conn // nil until the reply to CONNECT
}

// read asks to be let in and reads until the connection ends. early is how many events came though no reply to CONNECT did.
func (r *reader) read(ctx context.Context, auth sioclient.Auth) (early int, err error) {
	sio, err := sioclient.NewConn(r.link, r)
	if err != nil {
		return 0, err
	}
	err = sio.Connect(auth)
	for err == nil {
		r.client.awaitStall(ctx)
		err = sio.Step()
	}
	return sio.Early(), err
}

// auth is what CONNECT carries.
func (c *client) auth(token string, fresh bool) sioclient.Auth {
	if fresh {
		return sioclient.Auth{Token: token}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session.Auth(token)
}

// Connected implements sioclient.Handler.
func (r *reader) Connected(w sioclient.Welcome, early []sioclient.Message) error {
	r.conn = r.client.connected(r.link, r.record, w, early)
	return nil
}

// Refused implements sioclient.Handler.
func (r *reader) Refused(refusal sioclient.Refusal) {
	r.client.load.counters.fail("connect_error:" + refusal.Data.Code)
	if r.client.account != nil {
		r.client.account.refused(r.token)
	}
}

// Event implements sioclient.Handler.
func (r *reader) Event(m sioclient.Message) error {
	r.client.receive(r.conn, m)
	return nil
}

// Ack implements sioclient.Handler.
func (r *reader) Ack(id int64, body []byte) error {
	a, err := parseAnswer(body)
	if err != nil {
		return err
	}
	r.client.acked(id, a)
	return nil
}

// connected takes the link into use.
func (c *client) connected(l sioclient.Link, record history.Conn, w sioclient.Welcome, early []sioclient.Message) *conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	record.Number, record.Socket, record.Up = len(c.conns)+1, w.SID, c.now()
	record.Recovered = c.session.Connected(w)
	cn := &conn{link: l, number: record.Number}
	if !record.Recovered && len(c.conns) > 0 {
		c.endViewsLocked(c.conns[len(c.conns)-1].Down)
	}
	c.conns = append(c.conns, record)
	c.conn = cn
	source := history.Live
	if record.Recovered {
		source = history.Replayed
	}
	for _, e := range early {
		c.receiveLocked(cn, e, source)
	}
	close(c.up)
	c.wake()
	counters := &c.load.counters
	counters.connected.Add(1)
	if record.Number > 1 {
		counters.reconnects.Add(1)
	}
	if record.Recovered {
		counters.recovered.Add(1)
	}
	return cn
}

func (c *client) disconnected(cn *conn, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn, c.up = nil, make(chan struct{})
	c.load.counters.connected.Add(-1)
	for _, k := range c.acks.Clear() {
		k.reply <- reply{err: errConnEnded}
	}
	if c.ending {
		return // it was still up at the end
	}
	record := &c.conns[cn.number-1]
	record.Down = c.now()
	record.Reason = err.Error()
	if cn.byClient != "" {
		record.ByClient, record.Reason = true, cn.byClient
	}
}

// wake tells the steward that something changed.
func (c *client) wake() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// call is an emit whose ack is awaited.
type call struct {
	id    int64
	conn  int
	at    history.Time
	reply chan reply
	then  func(call, answer) // runs with client.mu held, before the next packet is read; may be nil
}

// invoke emits an event with an ack. Its error means that nothing was sent. Calls of one connection go out in the order of their
// times: conn.order is held over both.
func (c *client) invoke(name string, arg any, then func(call, answer)) (call, error) {
	c.mu.Lock()
	cn := c.conn
	c.mu.Unlock()
	if cn == nil {
		return call{}, errOffline
	}
	cn.order.Lock()
	defer cn.order.Unlock()
	k, err := c.register(cn, then)
	if err != nil {
		return call{}, err
	}
	packet, err := sioclient.AppendEvent(nil, k.id, name, arg)
	if err != nil {
		c.forget(k)
		return call{}, err
	}
	if cn.link.Write(packet) != nil {
		cn.link.Reset() // how much of it went out is not known; the reader sees the end, and ends the call
	}
	return k, nil
}

func (c *client) register(cn *conn, then func(call, answer)) (call, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != cn {
		return call{}, errOffline
	}
	k := call{id: c.acks.Next(), conn: cn.number, at: c.now(), reply: make(chan reply, 1), then: then}
	c.acks.Await(k.id, k)
	return k, nil
}

func (c *client) forget(k call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.acks.Remove(k.id)
}

// await waits for the ack of a call.
func (c *client) await(ctx context.Context, k call) reply {
	timer := time.NewTimer(ackTimeout - (c.now() - k.at))
	defer timer.Stop()
	select {
	case r := <-k.reply:
		return r
	case <-timer.C:
		c.forget(k)
		return reply{err: errAckTimeout}
	case <-ctx.Done():
		c.forget(k)
		return reply{err: ctx.Err()}
	}
}

func (c *client) acked(id int64, a answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.acks.Remove(id)
	if !ok {
		return // given up
	}
	if k.then != nil {
		k.then(k, a)
	}
	k.reply <- reply{answer: a}
}

// awaitUp waits until the client is connected. Once its tokens are revoked it fails.
func (c *client) awaitUp(ctx context.Context) error {
	c.mu.Lock()
	up := c.up
	c.mu.Unlock()
	select {
	case <-up:
	case <-c.gone:
	case <-ctx.Done():
		return ctx.Err()
	}
	if c.isRevoked() {
		return errRevoked
	}
	return nil
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
