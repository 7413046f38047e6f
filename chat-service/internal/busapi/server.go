package busapi

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/wire"
	"github.com/starling-chat/starling/platform/stall"
	"github.com/starling-chat/starling/proto/fault"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// serviceName is the queue group: each client event goes to one replica.
const serviceName = "chat-service"

// Server answers client events.
//
//	NATS ─▶ inbox ─▶ dispatch ─┬─ message:send ─▶ chat.Writer ─▶ answered after the commit
//	        bounded            └─ the others ─▶ one of the workers, by socket ─▶ answered
//	                               full: unavailable
//
// Events of one socket are taken in their order: dispatch is one goroutine, sends reach the Writer from it, and the other
// events of a socket share a worker.
type Server struct {
	nc      *nats.Conn
	service *chat.Service
	typing  *chat.Typing
	gossip  *Gossip
	metrics *Metrics
	cfg     ServerConfig
	log     *slog.Logger

	routes  map[string]route // by subject pattern
	inbox   chan *nats.Msg
	workers []chan *request
	seed    maphash.Seed

	stalls  *stall.Watch
	resumed time.Time // the stall after which was swept last; owned by dispatchLoop

	open  sync.WaitGroup // batches not yet answered
	bytes atomic.Int64   // of them
}

// ServerConfig has the bounds of a Server.
type ServerConfig struct {
	Workers      int           // for events other than message:send
	WorkerQueue  int           // events waiting for each worker
	Inbox        int           // events received and not yet looked at
	PendingBytes int64         // of events not yet answered
	Timeout      time.Duration // of one event
}

const (
	catalogPause = 5 * time.Second
	drainTimeout = 3 * time.Second
	retryAfter   = 250 * time.Millisecond
)

// request is one client event in work.
type request struct {
	route  route
	event  *eventv1.ClientEvent
	caller chat.Caller
	in     *batch
	index  int // in the batch
}

// batch is the client events that came as one NATS request.
type batch struct {
	reply    string
	attempt  uint32 // > 0: another replica may be at it, or may have done it
	size     int64
	deadline time.Time
	answers  []*eventv1.ClientReply
	left     atomic.Int32
	silent   atomic.Bool // not answered: what can't be repeated is in it
}

// NewServer returns a Server; it answers while Run runs.
func NewServer(
	nc *nats.Conn, service *chat.Service, typing *chat.Typing, gossip *Gossip, metrics *Metrics, cfg ServerConfig, log *slog.Logger,
) (*Server, error) {
	s := &Server{
		nc: nc, service: service, typing: typing, gossip: gossip, metrics: metrics, cfg: cfg, log: log,
		routes: map[string]route{}, inbox: make(chan *nats.Msg, cfg.Inbox), seed: maphash.MakeSeed(),
		stalls: stall.New(stallLimit),
	}
	for _, r := range routes() {
		for _, namespace := range r.namespaces {
			pattern, err := subject.ClientEventPattern(namespace, r.event)
			if err != nil {
				return nil, fmt.Errorf("pattern of %s: %w", r.event, err)
			}
			s.routes[pattern] = r
		}
	}
	for range cfg.Workers {
		s.workers = append(s.workers, make(chan *request, cfg.WorkerQueue))
	}
	return s, nil
}

// Run answers until ctx ends, then finishes what it has taken.
func (s *Server) Run(ctx context.Context) error {
	work := context.WithoutCancel(ctx)
	var workers, dispatcher sync.WaitGroup
	for _, queue := range s.workers {
		workers.Go(func() {
			for r := range queue {
				s.serve(work, r)
			}
		})
	}
	stop := make(chan struct{})
	dispatcher.Go(func() { s.dispatchLoop(work, stop) })
	watching, stopWatching := context.WithCancel(work)
	dispatcher.Go(func() { _ = s.stalls.Run(watching) })

	subs, err := s.subscribe()
	if err == nil {
		s.announceLoop(ctx)
	}
	if s.nc.IsConnected() { // otherwise nothing is on its way
		drain(subs)
	}
	close(stop)
	stopWatching()
	dispatcher.Wait()
	for _, queue := range s.workers {
		close(queue)
	}
	workers.Wait()
	s.open.Wait()
	if !s.nc.IsConnected() {
		return err
	}
	if flushErr := s.nc.FlushTimeout(drainTimeout); flushErr != nil {
		s.log.LogAttrs(work, slog.LevelWarn, "last answers not flushed", slog.Any("error", flushErr))
	}
	return err
}

// subscribe takes the client events of all routes into the inbox, and what typing needs to hear.
func (s *Server) subscribe() (subs []*nats.Subscription, err error) {
	for pattern := range s.routes {
		sub, err := s.nc.ChanQueueSubscribe(pattern, serviceName, s.inbox)
		if err != nil {
			return subs, fmt.Errorf("subscribe %s: %w", pattern, err)
		}
		subs = append(subs, sub)
	}
	sub, err := s.gossip.listen(s.typing)
	if err != nil {
		return subs, fmt.Errorf("subscribe typing: %w", err)
	}
	subs = append(subs, sub)
	sub, err = s.nc.Subscribe(subject.PresenceDelta, func(msg *nats.Msg) {
		for _, socket := range presenceDelta(msg.Data) {
			s.typing.Disconnected(socket)
		}
	})
	if err != nil {
		return subs, fmt.Errorf("subscribe presence: %w", err)
	}
	return append(subs, sub), nil
}

// drain ends the subscriptions; what was on its way still arrives in the inbox.
func drain(subs []*nats.Subscription) {
	for _, sub := range subs {
		_ = sub.Drain() // fails where NATS went away: then nothing arrives
	}
	deadline := time.NewTimer(drainTimeout)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for _, sub := range subs {
		for sub.IsValid() {
			select {
			case <-tick.C:
			case <-deadline.C:
				return
			}
		}
	}
}

// announceLoop tells gateways which events are answered here: at once, every few seconds, and when one asks.
func (s *Server) announceLoop(ctx context.Context) {
	catalog := &eventv1.Catalog{Service: serviceName, Batch: maxBatch, Repeats: true}
	for pattern, route := range s.routes {
		catalog.Patterns = append(catalog.Patterns, pattern)
		if !route.large {
			catalog.Batched = append(catalog.Batched, pattern)
		}
	}
	raw, err := proto.Marshal(catalog)
	if err != nil {
		s.log.LogAttrs(ctx, slog.LevelError, "catalog not encoded", slog.Any("error", err))
		return
	}
	announce := func() { _ = s.nc.Publish(subject.CatalogAnnounce, raw) } // repeated soon
	ask, err := s.nc.Subscribe(subject.CatalogAsk, func(*nats.Msg) { announce() })
	if err == nil {
		defer func() { _ = ask.Unsubscribe() }()
	}
	tick := time.NewTicker(catalogPause)
	defer tick.Stop()
	for {
		announce()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// dispatchLoop must never wait: NATS drops what does not fit into the inbox.
func (s *Server) dispatchLoop(ctx context.Context, stop <-chan struct{}) {
	for {
		select {
		case msg := <-s.inbox:
			s.dispatch(ctx, msg)
		case <-stop:
			for len(s.inbox) > 0 {
				s.dispatch(ctx, <-s.inbox)
			}
			return
		}
	}
}

func (s *Server) dispatch(ctx context.Context, msg *nats.Msg) {
	route, ok := s.routes[msg.Subject]
	if !ok {
		return // not subscribed
	}
	now := time.Now()
	if resumed := s.stalls.Resumed(now); resumed.After(s.resumed) {
		s.resumed = resumed
		s.sweep(ctx)
		return
	}
	in := &batch{reply: msg.Reply, size: int64(len(msg.Data)), deadline: now.Add(s.cfg.Timeout)}
	first := &request{route: route, in: in, event: &eventv1.ClientEvent{}}
	s.open.Add(1)
	err := error(nil)
	if s.bytes.Add(in.size) > s.cfg.PendingBytes {
		err = busy()
	} else if proto.Unmarshal(msg.Data, first.event) != nil {
		err = fault.New(fault.Invalid, "the event is not readable")
	}
	requests := first.all(err == nil)
	for _, r := range requests {
		s.admit(ctx, r, err)
	}
}

// stallLimit is how long this process may stand still before what waits for it counts as old.
const stallLimit = 3 * time.Second

// sweepTimeout bounds the wait for the bus after a stall.
const sweepTimeout = 2 * time.Second

// sweep drops the requests that came while this process stood still: their gateways have given them up or asked another
// replica, and to leave a room now could undo what the user has done since. A round trip on the bus brings all of them in.
func (s *Server) sweep(ctx context.Context) {
	_ = s.nc.FlushTimeout(sweepTimeout) // without the bus nothing of them is left
	dropped := 1
	for {
		select {
		case <-s.inbox:
			dropped++
			continue
		default:
		}
		break
	}
	s.log.LogAttrs(ctx, slog.LevelWarn, "the process stood still; requests of that time are dropped", slog.Int("requests", dropped))
}

// maxBatch is how many events one request may carry.
const maxBatch = 32

// all are the events of a request, of which r is the first.
func (r *request) all(readable bool) []*request {
	requests := []*request{r}
	if readable {
		r.in.attempt = r.event.GetAttempt()
		for i, m := range r.event.GetMore() {
			requests = append(requests, &request{route: r.route, in: r.in, index: i + 1, event: &eventv1.ClientEvent{
				SocketId: r.event.GetSocketId(), GatewayId: r.event.GetGatewayId(), Namespace: r.event.GetNamespace(),
				Event: r.event.GetEvent(), Identity: r.event.GetIdentity(),
				Args: m.GetArgs(), Attachments: m.GetAttachments(), ReceivedAt: m.GetReceivedAt(),
			}})
		}
	}
	r.in.answers = make([]*eventv1.ClientReply, len(requests))
	r.in.left.Store(int32(len(requests))) //nolint:gosec // bounded by the size of a NATS message
	return requests
}

// admit hands one event to who answers it; err refuses it.
func (s *Server) admit(ctx context.Context, r *request, err error) {
	if err == nil && r.index >= maxBatch {
		err = fault.New(fault.Invalid, "too many events in one request")
	}
	if err == nil {
		r.caller, err = callerOf(r.event)
	}
	switch {
	case err != nil:
		s.answer(ctx, r, nil, err)
	case r.route.send:
		s.send(ctx, r)
	case r.in.attempt > 0 && !r.route.repeatable:
		s.pass(ctx, r)
	default:
		select {
		case s.workers[maphash.String(s.seed, r.event.GetSocketId())%uint64(len(s.workers))] <- r:
		default:
			s.answer(ctx, r, nil, busy())
		}
	}
}

// pass leaves a repeated event unanswered that may have been done already: only the first attempt can tell.
func (s *Server) pass(ctx context.Context, r *request) {
	r.in.silent.Store(true)
	s.answer(ctx, r, nil, fault.New(fault.Timeout, "No answer in time"))
}

func busy() error { return fault.Retry(fault.Unavailable, "Service is overloaded", retryAfter) }

// send hands a message to the Writer, which answers after the commit.
func (s *Server) send(ctx context.Context, r *request) {
	draft, err := wire.MessageSend(r.event.GetArgs())
	if err == nil && r.in.attempt > 0 && draft.ClientMsgID == "" {
		s.pass(ctx, r)
		return
	}
	if err == nil {
		err = s.service.Send(r.caller, draft, func(o chat.Outcome) {
			if o.Err != nil {
				s.answer(ctx, r, nil, o.Err)
				return
			}
			s.answer(ctx, r, &eventv1.ClientReply{AckArgs: wire.SendAck(o)}, nil)
		})
	}
	if err != nil {
		s.answer(ctx, r, nil, err)
	}
}

func (s *Server) serve(ctx context.Context, r *request) {
	ctx, cancel := context.WithDeadline(ctx, r.in.deadline)
	defer cancel()
	reply, err := s.guarded(ctx, r)
	s.answer(ctx, r, reply, err)
}

// guarded keeps a panic in one event from ending the process.
func (s *Server) guarded(ctx context.Context, r *request) (reply *eventv1.ClientReply, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic in %s: %v", r.route.event, v)
		}
	}()
	if ctx.Err() != nil {
		return nil, busy() // waited too long; nothing was done
	}
	return r.route.handle(ctx, s, r)
}

// answer counts, and replies when it was the last of its batch. It is called exactly once for each request.
func (s *Server) answer(ctx context.Context, r *request, reply *eventv1.ClientReply, err error) {
	result := resultOK
	if err != nil {
		f := fault.Log(ctx, s.log, err, slog.String("event", r.route.event))
		reply, result = &eventv1.ClientReply{Fault: f.ToProto()}, string(f.Kind)
	}
	s.metrics.count(r.route.event, result)
	r.in.answers[r.index] = reply
	if r.in.left.Add(-1) > 0 {
		return
	}
	if r.in.reply != "" && !r.in.silent.Load() {
		s.reply(ctx, r)
	}
	s.bytes.Add(-r.in.size)
	s.open.Done()
}

// reply sends the answers of a batch.
func (s *Server) reply(ctx context.Context, r *request) {
	answer := r.in.answers[0]
	answer.More = r.in.answers[1:]
	err := s.respond(r.in.reply, answer)
	if errors.Is(err, nats.ErrMaxPayload) {
		tooLarge := &eventv1.ClientReply{Fault: fault.New(fault.TooLarge, "The answer is too large").ToProto()}
		answer = &eventv1.ClientReply{Fault: tooLarge.Fault}
		for range r.in.answers[1:] {
			answer.More = append(answer.More, tooLarge)
		}
		err = s.respond(r.in.reply, answer)
	}
	if err != nil && !errors.Is(err, nats.ErrReconnectBufExceeded) && !errors.Is(err, nats.ErrConnectionClosed) {
		s.log.LogAttrs(ctx, slog.LevelWarn, "answer not sent", slog.String("event", r.route.event), slog.Any("error", err))
	}
}

func (s *Server) respond(to string, reply *eventv1.ClientReply) error {
	raw, err := proto.Marshal(reply)
	if err != nil {
		return err
	}
	return s.nc.Publish(to, raw)
}

// callerOf reads who sent the event; names come from outside and are made storable.
func callerOf(e *eventv1.ClientEvent) (chat.Caller, error) {
	if e.GetIdentity().GetUserId() == "" {
		return chat.Caller{}, fault.New(fault.Unauthenticated, "Authentication required")
	}
	return wire.Caller(e)
}
