package load

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	// slowBuffer is the kernel's receive buffer of a slow client, in bytes: its sender feels it soon.
	slowBuffer = 4 << 10
)

// connection keeps a client connected, with one link at a time, and carries its calls.
type connection struct {
	// Fixed at birth.
	*user
	tokens   *tokens
	receiver receiver
	log      *ownLog       // up to where it has heard, the next connection says
	fresh    bool          // it never asks for the session before
	inbox    bool          // it asks for the inbox
	revokedC chan struct{} // closed when the tokens are revoked

	session   sioclient.Recovery // owned by run
	stallEnd  atomic.Int64       // history.Time until which nothing is read
	awayUntil atomic.Int64       // history.Time until which it does not connect

	mu      sync.Mutex    // guards all below
	up      chan struct{} // closed while connected
	current *conn         // nil while disconnected
	conns   []history.Conn
	acks    sioclient.Acks[call]
	revoked history.Time
	ending  bool // the load is closing it
}

// receiver is the application above a connection. run calls it, for one packet after the other.
type receiver interface {
	// began tells of a connection, before any of its events. lastDown is when the one before ended.
	began(number int, recovered bool, lastDown history.Time)
	// event gives an event. The receipt that is to be sent for it may be nil.
	event(m sioclient.Message, source history.Source) *receipt
}

// conn is one link that got as far as the reply to CONNECT.
type conn struct {
	link    sioclient.Link
	number  int
	order   sync.Mutex   // of what is written
	receipt history.Time // when the last emit without an ack went out; its reader's
	// Guarded by connection.mu:
	byClient   string       // why the client itself ended it
	busy, idle history.Time // since when something awaits its ack without a break, and since when last nothing did
}

var errRevoked = errors.New("the tokens are revoked")

func newConnection(u *user, t *tokens, r receiver, log *ownLog) *connection {
	return &connection{user: u, tokens: t, receiver: r, log: log, revokedC: make(chan struct{}), up: make(chan struct{})}
}

// run keeps the client connected until ctx ends. Once its tokens are revoked it goes on trying with them, in turn as a new session and
// by a recovery of the old one: neither may be let in.
func (c *connection) run(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		revoked := c.isRevoked()
		err := c.connect(ctx, c.fresh || revoked && n%2 == 0)
		if ctx.Err() != nil {
			return
		}
		c.load.log.DebugContext(ctx, "connection ended", slog.String("user", c.id), slog.Any("reason", err))
		wait := c.jitter(minBackoff, maxBackoff)
		if revoked {
			wait = revokedBackoff
		}
		if pause(ctx, max(wait, time.Duration(c.awayUntil.Load())-c.now())) != nil {
			return
		}
	}
}

// connect is the life of one link, and why it ended. A fresh one does not ask for the session before it.
func (c *connection) connect(ctx context.Context, fresh bool) error {
	record := history.Conn{User: c.index, Gateway: c.gateway(), Polling: c.role.polling, Dialled: c.now()}
	token, err := c.tokens.forConnection(ctx)
	if err != nil {
		c.load.counters.dialFailures.Add(1)
		return err
	}
	l, err := c.dial(ctx, record.Gateway)
	if err != nil {
		c.load.counters.dialFailures.Add(1)
		return err
	}
	stop := context.AfterFunc(ctx, l.Close)
	defer stop()
	defer l.Reset()
	auth := sioclient.Auth{Token: token}
	if !fresh {
		auth = c.session.Auth(token)
	}
	auth.Useq, auth.Inbox = new(c.log.useq()), c.inbox
	r := &reader{connection: c, link: l, record: record, token: token}
	early, err := r.read(ctx, auth)
	if r.conn == nil {
		c.load.counters.dialFailures.Add(1)
		c.load.counters.droppedReplays.Add(int64(early))
		return err
	}
	c.disconnected(r.conn, err)
	return err
}

func (c *connection) dial(ctx context.Context, gateway int) (sioclient.Link, error) {
	address := c.load.cfg.Gateways[gateway]
	switch {
	case c.role.polling:
		return sioclient.DialPolling(ctx, address, func() string { return c.load.cfg.Gateways[c.gateway()] })
	case c.role.slow:
		if c.load.cfg.Direct != nil {
			address = c.load.cfg.Direct[gateway]
		}
		return sioclient.DialWebSocket(ctx, address, slowBuffer)
	}
	return sioclient.DialWebSocket(ctx, address, 0)
}

// reader reads one connection, and implements sioclient.Handler.
type reader struct {
	*connection
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
		r.awaitStall(ctx)
		err = sio.Step()
	}
	return sio.Early(), err
}

// awaitStall does not read while the rig wants the client to be slow.
func (c *connection) awaitStall(ctx context.Context) {
	for {
		left := time.Duration(c.stallEnd.Load()) - c.now()
		if left <= 0 || pause(ctx, left) != nil {
			return
		}
	}
}

// Connected implements sioclient.Handler. It takes the link into use when the application has what came before the reply.
func (r *reader) Connected(w sioclient.Welcome, early []sioclient.Message) error {
	record, source := r.record, history.Live
	if record.Recovered = r.session.Connected(w); record.Recovered {
		source = history.Replayed
	}
	var lastDown history.Time
	r.mu.Lock()
	if n := len(r.conns); n > 0 {
		lastDown = r.conns[n-1].Down
	}
	record.Number, record.Socket, record.Up = len(r.conns)+1, w.SID, r.now()
	r.conns = append(r.conns, record)
	r.mu.Unlock()
	r.receiver.began(record.Number, record.Recovered, lastDown)
	for _, m := range early {
		r.session.Received(m)
		r.receiver.event(m, source)
	}
	r.conn = &conn{link: r.link, number: record.Number}
	r.mu.Lock()
	r.current = r.conn
	close(r.up)
	r.mu.Unlock()
	counters := &r.load.counters
	counters.connected.Add(1)
	if record.Number > 1 {
		counters.reconnects.Add(1)
	}
	if record.Recovered {
		counters.recovered.Add(1)
	}
	return nil
}

// Refused implements sioclient.Handler.
func (r *reader) Refused(refusal sioclient.Refusal) {
	r.load.counters.fail("connect_error:" + refusal.Data.Code)
	r.tokens.refused(r.token)
}

// Event implements sioclient.Handler.
func (r *reader) Event(m sioclient.Message) error {
	r.session.Received(m)
	if read := r.receiver.event(m, history.Live); read != nil {
		r.load.counters.receipts.Add(1)
		r.conn.receipt = r.now()
		r.conn.emit(sioclient.NoAck, "message:read", read) // a refusal comes as event:error
	}
	return nil
}

// Ack implements sioclient.Handler.
func (r *reader) Ack(id int64, body []byte) error {
	a, err := parseAnswer(body)
	if err != nil {
		return err
	}
	r.acked(id, a)
	return nil
}

func (c *connection) disconnected(cn *conn, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current, c.up = nil, make(chan struct{})
	c.load.counters.connected.Add(-1)
	unanswered := c.acks.Clear()
	for _, k := range unanswered {
		k.reply <- reply{err: errConnEnded}
	}
	if c.ending {
		return // it was still up at the end
	}
	record := &c.conns[cn.number-1]
	if record.Receipt = cn.receipt; len(unanswered) > 0 {
		record.Busy = cn.busy
	}
	record.Down = c.now()
	record.Reason = err.Error()
	if cn.byClient != "" {
		record.ByClient, record.Reason = true, cn.byClient
	}
}

// awaitUp waits until the client is connected. Once its tokens are revoked it fails.
func (c *connection) awaitUp(ctx context.Context) error {
	c.mu.Lock()
	up := c.up
	c.mu.Unlock()
	select {
	case <-up:
	case <-c.revokedC:
	case <-ctx.Done():
		return ctx.Err()
	}
	if c.isRevoked() {
		return errRevoked
	}
	return nil
}

// revoke notes that the tokens were revoked. The connection is left to the server to close.
func (c *connection) revoke(at history.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.revoked == 0 {
		c.revoked = at
		close(c.revokedC)
	}
}

func (c *connection) isRevoked() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.revoked != 0
}

func (c *connection) isUp() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current != nil
}

// end has the record of the last connection stay open: the load ends, not the connection.
func (c *connection) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ending = true
}

// drop notes that the rig ends the connection, and gives its link, which is to be reset; nil while there is none.
func (c *connection) drop() sioclient.Link {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current == nil {
		return nil
	}
	c.current.byClient = "dropped by the rig"
	return c.current.link
}

func (c *connection) describe() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprintf("connected %t, connections %d", c.current != nil, len(c.conns))
}

// into writes down the connections, and when the tokens were revoked.
func (c *connection) into(h *history.History) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.log.device == 0 {
		h.Users = append(h.Users, history.User{ID: c.id, Slow: c.role.slow, Outcast: c.role.outcast, Revoked: c.revoked})
	}
	for _, conn := range c.conns {
		conn.Device, conn.Number = c.log.device, c.log.connNumber(conn.Number)
		h.Conns = append(h.Conns, conn)
	}
}
