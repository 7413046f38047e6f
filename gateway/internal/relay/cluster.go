package relay

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/gateway/internal/hub"
	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/proto/fault"
	clusterv1 "github.com/starling-chat/starling/proto/gen/starling/cluster/v1"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// cluster does things with the sockets of all gateways. Every gateway can be asked; it asks all of them, itself included,
// and knows by their presence leases how many have to answer:
//
//	caller ──REST, gRPC──► gateway A ══Operation══► A, B, C     each acts on its own sockets
//	       ◄──────────────          ◄═══Answer═════ A, B        C died: the deadline ends the wait, the answer is partial
//
// cluster_gather.go is A's side, cluster_act.go, cluster_emit.go and cluster_rooms.go are everyone's, cluster_api.go is what
// callers see.
type cluster struct {
	relay    *Relay
	inbox    string
	messages chan *nats.Msg // leases, hellos, operations
	answers  chan *nats.Msg
	slots    chan struct{} // tokens of calls being served
	tasks    chan struct{} // tokens of operations that act in a goroutine of their own
	workers  chan struct{} // tokens of joins and leaves
	settled  chan struct{} // closed when the others have had time to show their leases
	emits    emits

	mu       sync.Mutex // guards what follows
	nextID   uint64
	gathers  map[uint64]*gather
	gateways map[string]lease
}

// lease is when a gateway was last heard of.
type lease struct {
	incarnation int64
	seen        time.Time
}

const (
	clusterBuffer = 4096
	answerBuffer  = 16384
	// leaseIntervals is how many heartbeats a gateway may miss before nobody waits for it: 10 s of 3 s each.
	leaseIntervals = 10.0 / 3
	// helloWait is how long the others have at the start to show their leases; calls wait for it.
	helloWait = 200 * time.Millisecond
	// ackFlush is how long acks are collected before they go to the gateway that asked.
	ackFlush = 10 * time.Millisecond
	// maxAck is the largest ack that is passed on, in bytes: a NATS message holds 1 MB.
	maxAck     = 512 << 10
	maxTasks   = 64
	maxWorkers = 64
)

func newCluster(r *Relay) *cluster {
	return &cluster{
		relay: r, inbox: r.nc.NewInbox(),
		messages: make(chan *nats.Msg, clusterBuffer), answers: make(chan *nats.Msg, answerBuffer),
		slots: make(chan struct{}, max(1, r.cfg.ClusterCalls)), tasks: make(chan struct{}, maxTasks), workers: make(chan struct{}, maxWorkers),
		settled: make(chan struct{}),
		emits:   emits{open: make(map[int64]*openEmit)},
		gathers: make(map[uint64]*gather), gateways: make(map[string]lease),
	}
}

// subjects are what the cluster listens to.
func (c *cluster) subjects() map[string]chan *nats.Msg {
	return map[string]chan *nats.Msg{
		subject.PresenceLease: c.messages, subject.ClusterHello: c.messages, subject.ClusterOperation: c.messages,
		c.inbox + ".*": c.answers,
	}
}

// run takes in what other gateways ask and answer, until ctx ends.
func (c *cluster) run(ctx context.Context) error {
	c.hello()
	settled := time.NewTimer(helloWait)
	defer settled.Stop()
	flush := time.NewTicker(ackFlush)
	defer flush.Stop()
	var dirty hub.Dirty
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case msg := <-c.messages:
			c.message(msg, &dirty)
			for range min(len(c.messages), batch) {
				c.message(<-c.messages, &dirty)
			}
			dirty.Flush()
		case msg := <-c.answers:
			c.answered(msg)
		case now := <-flush.C:
			c.flushAcks(now)
		case <-settled.C:
			close(c.settled)
		}
	}
}

// hello asks the others for their leases, which otherwise come with the next heartbeat.
func (c *cluster) hello() {
	if err := c.relay.nc.Publish(subject.ClusterHello, nil); err != nil {
		c.relay.log.Debug("other gateways not greeted", slog.Any("error", err)) // again when the bus is back
	}
}

// resync follows a reconnect: what was known before counts as alive until it is silent again, so that an answer is rather
// called partial than complete.
func (c *cluster) resync() {
	now := time.Now()
	c.mu.Lock()
	for id, l := range c.gateways {
		l.seen = now
		c.gateways[id] = l
	}
	c.mu.Unlock()
	c.hello()
}

func (c *cluster) message(msg *nats.Msg, dirty *hub.Dirty) {
	switch msg.Subject {
	case subject.PresenceLease:
		c.heard(msg.Data)
	case subject.ClusterHello:
		c.relay.presence.Announce()
	default:
		c.operate(msg, dirty)
	}
}

func (c *cluster) heard(raw []byte) {
	var l eventv1.PresenceLease
	if err := proto.Unmarshal(raw, &l); err != nil {
		c.relay.log.Warn("lease cannot be decoded", slog.Any("error", err))
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	known, ok := c.gateways[l.GetGatewayId()]
	switch {
	case ok && l.GetIncarnation() < known.incarnation: // of a process that is gone
	case l.GetEnding():
		delete(c.gateways, l.GetGatewayId())
	default:
		c.gateways[l.GetGatewayId()] = lease{incarnation: l.GetIncarnation(), seen: time.Now()}
	}
}

// living gives the gateways that have to answer, this one included.
func (c *cluster) living(now time.Time) map[string]struct{} {
	expiry := time.Duration(float64(c.relay.cfg.LeaseInterval) * leaseIntervals)
	ids := map[string]struct{}{c.relay.cfg.GatewayID: {}}
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, l := range c.gateways {
		if now.Sub(l.seen) < expiry {
			ids[id] = struct{}{}
		} else if c.relay.nc.IsConnected() {
			delete(c.gateways, id)
		}
	}
	return ids
}

// call has all gateways do an operation and gathers what they answer until timeout. acks: the answers are followed by acks,
// which are waited for as well; the first answers have ClusterTimeout.
func (c *cluster) call(ctx context.Context, op *clusterv1.Operation, timeout time.Duration, acks bool) (*gather, error) {
	r := c.relay
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	default:
		return nil, fault.Retry(fault.Unavailable, "Too many cluster operations at once", retryAfter)
	}
	select {
	case <-c.settled:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	op.GatewayId, op.TimeoutMs = r.cfg.GatewayID, uint32(timeout.Milliseconds()) //nolint:gosec // bounded by the caller
	raw, err := proto.Marshal(op)
	switch {
	case err != nil:
		return nil, fmt.Errorf("encode an operation: %w", err)
	case !r.nc.IsConnected():
		return nil, fault.Retry(fault.Unavailable, "The bus is away", retryAfter)
	case int64(len(raw)) > r.nc.MaxPayload():
		return nil, fault.Newf(fault.TooLarge, "The request must not exceed %d bytes", r.nc.MaxPayload())
	}
	id, g := c.open(acks)
	defer c.close(id)
	if err := r.nc.PublishRequest(subject.ClusterOperation, c.inbox+"."+strconv.FormatUint(id, 36), raw); err != nil {
		return nil, fault.Retry(fault.Unavailable, "The bus is away", retryAfter)
	}
	if err := g.await(ctx, timeout, min(timeout, r.cfg.ClusterTimeout), acks); err != nil {
		return nil, err
	}
	return g, nil
}

func (c *cluster) open(acks bool) (uint64, *gather) {
	g := newGather(c.living(time.Now()), acks)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nextID++
	c.gathers[c.nextID] = g
	return c.nextID, g
}

func (c *cluster) close(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.gathers, id)
}

// answered hands an answer to the call that waits for it; one that comes late is dropped.
func (c *cluster) answered(msg *nats.Msg) {
	id, err := strconv.ParseUint(msg.Subject[strings.LastIndexByte(msg.Subject, '.')+1:], 36, 64)
	if err != nil || len(msg.Data) == 0 {
		return
	}
	c.mu.Lock()
	g := c.gathers[id]
	c.mu.Unlock()
	if g == nil {
		return
	}
	var a clusterv1.Answer
	if err := proto.Unmarshal(msg.Data, &a); err != nil {
		c.relay.log.Warn("answer of a gateway cannot be decoded", slog.Any("error", err))
		return
	}
	g.take(&a)
}

// acked takes a client's ack of an emit; one that nobody waits for is ignored.
func (c *cluster) acked(s *session.Socket, id int64, args []byte, attachments [][]byte) {
	if to, a := c.emits.acked(s, id, args, attachments, min(c.relay.cfg.MaxEventBytes, maxAck)); a != nil {
		c.answer(to, a)
	}
}

func (c *cluster) flushAcks(now time.Time) {
	c.emits.flush(now, c.answer)
}

// answer publishes what this gateway did. What is lost shows as a partial answer.
func (c *cluster) answer(to string, a *clusterv1.Answer) {
	a.GatewayId = c.relay.cfg.GatewayID
	raw, err := proto.Marshal(a)
	if err == nil {
		err = c.relay.nc.Publish(to, raw)
	}
	if err != nil {
		c.relay.log.Warn("operation not answered", slog.Any("error", err))
	}
}
