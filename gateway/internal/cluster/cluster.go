package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/gateway/internal/hub"
	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/stats"
	"github.com/starling-chat/starling/gateway/internal/transport"
	"github.com/starling-chat/starling/platform/bus"
	"github.com/starling-chat/starling/proto/fault"
	clusterv1 "github.com/starling-chat/starling/proto/gen/starling/cluster/v1"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// Config are the cluster's settings.
type Config struct {
	Gateway string // this gateway's id
	Calls   int    // that this gateway serves at once
	// Timeout is how long other gateways may take to answer, and RoomTimeout how long joins and leaves may take, which ask
	// services and wait for the sockets' own events.
	Timeout     time.Duration
	RoomTimeout time.Duration
	// LeaseInterval is the time between two presence leases of a gateway.
	LeaseInterval time.Duration
	// MaxAckBytes bounds the ack of one client, arguments and attachments; a larger one is passed on without them.
	MaxAckBytes int
}

// Sockets does with a socket of this gateway what involves its rooms. The hub and the registry know the rest.
type Sockets interface {
	// Rooms lists the rooms that a socket is in.
	Rooms(s *session.Socket) []string
	// Join has a socket enter a room as if its client had asked, behind what the client has asked before. When ctx ends
	// before its turn, nothing is done. ctx has a deadline.
	Join(ctx context.Context, s *session.Socket, roomID string) error
	// Leave takes a socket out of a room, in its turn as well; it reports whether the socket was in it.
	Leave(ctx context.Context, s *session.Socket, roomID string) (was bool, err error)
}

// Deps are what the cluster works with.
type Deps struct {
	Bus      *nats.Conn
	Hub      *hub.Hub
	Registry *hub.Registry
	Sockets  Sockets
	// Announce publishes this gateway's lease soon: another gateway has asked for it. Announce must not block.
	Announce func()
	Stats    *stats.Stats
	Log      *slog.Logger
}

// Cluster does operations with the sockets of all gateways, and this gateway's part of those that others ask for.
type Cluster struct {
	// Fixed at birth.
	cfg      Config
	nc       *nats.Conn
	hub      *hub.Hub
	registry *hub.Registry
	sockets  Sockets
	announce func()
	stats    *stats.Stats
	log      *slog.Logger

	// Channels; Run reads messages and answers.
	inbox       bus.Inbox
	messages    chan *nats.Msg // leases, hellos, operations
	answers     chan *nats.Msg
	calls       chan struct{} // tokens of the calls that this gateway serves
	taskSlots   chan struct{} // tokens of the tasks
	roomWorkers chan struct{} // tokens of joins and leaves
	warm        chan struct{} // closed when the other gateways have had time to show their leases

	tasks  sync.WaitGroup // joins and leaves of whole operations; each waits for clients and services
	emits  emits          // has a lock of its own
	leases leases         // has a lock of its own

	mu         sync.Mutex // guards what follows
	nextID     uint64
	collectors map[uint64]*collector
}

const (
	// clusterBuffer is how many leases, hellos and operations may wait. An operation that overflows is not done here, and the
	// answer to its caller says that this gateway is missing.
	clusterBuffer = 4096
	// answerBuffer is how many answers may wait. One that overflows makes its call's answer partial.
	answerBuffer = 16384
	// leaseIntervals is how many heartbeats a gateway may miss before nobody waits for it: 10 s of 3 s each.
	leaseIntervals = 10.0 / 3
	// helloWait is how long the others have at the start to show their leases; calls wait for it.
	helloWait = 200 * time.Millisecond
	// batch is how many messages are handled between two flushes, when so many wait.
	batch = 256
	// retryAfter is what callers are told when this gateway or the bus cannot serve them now.
	retryAfter = time.Second
	// ackFlush is how long acks are collected before they go to the gateway that asked.
	ackFlush = 10 * time.Millisecond
	// maxAck is the largest ack that is passed on, in bytes: a NATS message holds 1 MB.
	maxAck = 512 << 10
	// maxTasks bounds the joins and leaves of whole operations, maxRoomWorkers those of single sockets and rooms among them.
	maxTasks       = 64
	maxRoomWorkers = 64
)

// New makes a cluster; Run brings it to life.
func New(cfg Config, d Deps) *Cluster {
	return &Cluster{
		cfg: cfg, nc: d.Bus, hub: d.Hub, registry: d.Registry, sockets: d.Sockets, announce: d.Announce, stats: d.Stats, log: d.Log,
		inbox:    bus.NewInbox(d.Bus),
		messages: make(chan *nats.Msg, clusterBuffer), answers: make(chan *nats.Msg, answerBuffer),
		calls: make(chan struct{}, max(1, cfg.Calls)), taskSlots: make(chan struct{}, maxTasks), roomWorkers: make(chan struct{}, maxRoomWorkers),
		warm:       make(chan struct{}),
		emits:      emits{open: make(map[int64]*openEmit)},
		leases:     leases{gateways: make(map[string]lease)},
		collectors: make(map[uint64]*collector),
	}
}

// Run takes in what other gateways ask and answer, until ctx ends.
func (c *Cluster) Run(ctx context.Context) error {
	for subj, messages := range map[string]chan *nats.Msg{
		subject.PresenceLease: c.messages, subject.ClusterHello: c.messages, subject.ClusterOperation: c.messages,
		c.inbox.Subject(): c.answers,
	} {
		sub, err := c.nc.ChanSubscribe(subj, messages)
		if err != nil {
			return fmt.Errorf("subscribe %s: %w", subj, err)
		}
		defer sub.Unsubscribe() //nolint:errcheck // the connection is closed next
	}
	defer c.tasks.Wait()
	c.hello()
	warm := time.NewTimer(helloWait)
	defer warm.Stop()
	flush := time.NewTicker(ackFlush)
	defer flush.Stop()
	var flushes transport.FlushSet
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case msg := <-c.messages:
			c.message(ctx, msg, &flushes)
			for range min(len(c.messages), batch) {
				c.message(ctx, <-c.messages, &flushes)
			}
			flushes.Flush()
		case msg := <-c.answers:
			c.answered(msg)
		case now := <-flush.C:
			c.flushAcks(now)
		case <-warm.C:
			close(c.warm)
		}
	}
}

// hello asks the others for their leases, which otherwise come with the next heartbeat.
func (c *Cluster) hello() {
	if err := c.nc.Publish(subject.ClusterHello, nil); err != nil {
		c.log.Debug("other gateways not asked for their leases", slog.Any("error", err)) // again when the bus is back
	}
}

// Resync is to be called when the bus is connected again.
func (c *Cluster) Resync() {
	c.leases.renew(time.Now())
	c.hello()
}

// message takes in what came on one of the cluster's subjects.
func (c *Cluster) message(ctx context.Context, msg *nats.Msg, flushes *transport.FlushSet) {
	switch msg.Subject {
	case subject.PresenceLease:
		var l eventv1.PresenceLease
		if err := proto.Unmarshal(msg.Data, &l); err != nil {
			c.log.WarnContext(ctx, "lease cannot be decoded", slog.Any("error", err))
			return
		}
		c.leases.heard(&l, time.Now())
	case subject.ClusterHello:
		c.announce()
	default:
		c.apply(ctx, msg, flushes)
	}
}

// alive returns the ids of the gateways that have to answer, this one included.
func (c *Cluster) alive() map[string]struct{} {
	expiry := time.Duration(float64(c.cfg.LeaseInterval) * leaseIntervals)
	ids := c.leases.alive(time.Now(), expiry, c.nc.IsConnected())
	ids[c.cfg.Gateway] = struct{}{}
	return ids
}

// Alone tells whether it is certain that no other gateway lives: this one has heard of none, and was there to hear.
func (c *Cluster) Alone() bool {
	select {
	case <-c.warm:
		return c.nc.IsConnected() && len(c.alive()) == 1
	default:
		return false
	}
}

// call has all gateways do an operation and collects what they answer until timeout. With acks, call also waits for the acks
// that follow the answers; the answers themselves have Config.Timeout at most.
func (c *Cluster) call(ctx context.Context, op *clusterv1.Operation, timeout time.Duration, acks bool) (*collector, error) {
	select {
	case c.calls <- struct{}{}:
		defer func() { <-c.calls }()
	default:
		return nil, fault.Retry(fault.Unavailable, "Too many cluster operations at once", retryAfter)
	}
	select {
	case <-c.warm:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	op.GatewayId, op.TimeoutMs = c.cfg.Gateway, uint32(timeout.Milliseconds()) //nolint:gosec // bounded by the caller
	raw, err := proto.Marshal(op)
	switch {
	case err != nil:
		return nil, fmt.Errorf("encode an operation: %w", err)
	case !c.nc.IsConnected():
		return nil, fault.Retry(fault.Unavailable, "The bus is away", retryAfter)
	case int64(len(raw)) > c.nc.MaxPayload():
		return nil, fault.Newf(fault.TooLarge, "The request must not exceed %d bytes", c.nc.MaxPayload())
	}
	id, g := c.open(acks)
	defer c.close(id)
	if err := c.nc.PublishRequest(subject.ClusterOperation, c.inbox.Reply(id), raw); err != nil {
		return nil, fault.Retry(fault.Unavailable, "The bus is away", retryAfter)
	}
	if err := g.await(ctx, timeout, min(timeout, c.cfg.Timeout), acks); err != nil {
		return nil, err
	}
	return g, nil
}

// open makes a collector for a call, under an id of its own.
func (c *Cluster) open(acks bool) (uint64, *collector) {
	g := newCollector(c.alive(), acks)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nextID++
	c.collectors[c.nextID] = g
	return c.nextID, g
}

// close forgets a call; answers that come for it later are dropped.
func (c *Cluster) close(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.collectors, id)
}

// answered hands an answer to the call that waits for it, and drops an answer that comes too late.
func (c *Cluster) answered(msg *nats.Msg) {
	id, ok := c.inbox.Request(msg.Subject)
	if !ok || len(msg.Data) == 0 {
		return
	}
	c.mu.Lock()
	g := c.collectors[id]
	c.mu.Unlock()
	if g == nil {
		return
	}
	var a clusterv1.Answer
	if err := proto.Unmarshal(msg.Data, &a); err != nil {
		c.log.Warn("answer of a gateway cannot be decoded", slog.Any("error", err))
		return
	}
	g.add(&a)
}

// Acked takes in a client's ack of an emit. An ack that nobody waits for is ignored.
func (c *Cluster) Acked(s *session.Socket, id int64, args []byte, attachments [][]byte) {
	if to, a := c.emits.acked(s, id, args, attachments, min(c.cfg.MaxAckBytes, maxAck)); a != nil {
		c.answer(to, a)
	}
}

// flushAcks sends the acks that were collected to the gateways that asked for them.
func (c *Cluster) flushAcks(now time.Time) { c.emits.flush(now, c.answer) }

// answer publishes what this gateway did. An answer that is lost makes the caller's answer partial.
func (c *Cluster) answer(to string, a *clusterv1.Answer) {
	a.GatewayId = c.cfg.Gateway
	raw, err := proto.Marshal(a)
	if err == nil {
		err = c.nc.Publish(to, raw)
	}
	if err != nil {
		c.log.Warn("operation not answered", slog.Any("error", err))
	}
}
