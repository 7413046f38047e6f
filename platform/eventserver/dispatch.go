package eventserver

import (
	"context"
	"fmt"
	"hash/maphash"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/starling-chat/starling/platform/obs"
	"github.com/starling-chat/starling/proto/fault"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// retryAfter is what refused clients are told.
const retryAfter = 250 * time.Millisecond

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

// dispatch hands the events of one NATS request to their route, in their order.
func (s *Server) dispatch(ctx context.Context, msg *nats.Msg) {
	route, ok := s.routes[msg.Sub.Subject]
	if !ok {
		return // not subscribed
	}
	now := time.Now()
	if resumed := s.stalls.Resumed(now); resumed.After(s.resumed) {
		s.resumed = resumed
		s.sweep(ctx)
		return
	}
	in := &batch{reply: msg.Reply, size: int64(len(msg.Data)), deadline: now.Add(s.limits.Timeout), trace: msg.Header.Get(obs.TraceHeader)}
	event := &eventv1.ClientEvent{}
	s.open.Add(1)
	err := error(nil)
	if s.bytes.Add(in.size) > s.limits.PendingBytes {
		err = busy()
	} else if until, wrong := s.read(msg.Data, event); wrong != nil {
		err = fault.New(fault.Invalid, "the event is not readable")
	} else if !until.IsZero() {
		if in.wait(until, grace(event)); !now.Before(in.deadline) {
			err = busy() // its gateway has given it up, or has to hear of this replica's clock before it asks again
			s.announceSoon()
		}
	}
	for _, r := range in.split(route, event, err == nil) {
		s.admit(r.traced(ctx), r, err)
	}
}

// traced begins the span of a request that the gateway traces.
func (r *Request) traced(ctx context.Context) context.Context {
	if r.in.trace != "" {
		ctx, r.span = obs.StartSpan(ctx, obs.Answering, r.Event, r.in.trace)
		r.Trace = r.span.Parent()
	}
	return ctx
}

// sweepTimeout bounds the wait for NATS after a stall.
const sweepTimeout = 2 * time.Second

// sweep drops the requests that came while this process stood still: their gateways have given them up or asked another
// replica, and to leave a room now could undo what the user has done since. A round trip to NATS brings all of them in.
func (s *Server) sweep(ctx context.Context) {
	_ = s.nc.FlushTimeout(sweepTimeout) // without NATS nothing of them is left
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

// admit hands one event to who answers it; err refuses it.
func (s *Server) admit(ctx context.Context, r *Request, err error) {
	switch {
	case err != nil:
	case r.index >= maxBatch:
		err = fault.New(fault.Invalid, "too many events in one request")
	case r.User.ID == "":
		err = fault.New(fault.Unauthenticated, "Authentication required")
	case r.Attempt > 0 && !r.route.Repeatable:
		err = ErrNotRepeatable
	}
	switch {
	case err != nil:
		s.answer(ctx, r, nil, err)
	case r.route.Write != nil:
		s.write(ctx, r)
	default:
		select {
		case s.workers[maphash.String(s.seed, r.SocketID)%uint64(len(s.workers))] <- r:
		default:
			s.answer(ctx, r, nil, busy())
		}
	}
}

func busy() error { return fault.Retry(fault.Unavailable, "Service is overloaded", retryAfter) }

// write starts a route that answers later. A panic of the route is its answer.
func (s *Server) write(ctx context.Context, r *Request) {
	done := func(reply *Reply, err error) { s.answer(ctx, r, reply, err) }
	defer func() {
		if v := recover(); v != nil {
			done(nil, panicked(r, v))
		}
	}()
	r.route.Write(ctx, r, done)
}

// serve answers an event on a worker.
func (s *Server) serve(ctx context.Context, r *Request) {
	ctx, cancel := context.WithDeadline(r.span.In(ctx), r.Deadline)
	defer cancel()
	reply, err := s.handle(ctx, r)
	s.answer(ctx, r, reply, err)
}

// handle keeps a panic in one event from ending the process.
func (s *Server) handle(ctx context.Context, r *Request) (reply *Reply, err error) {
	defer func() {
		if v := recover(); v != nil {
			reply, err = nil, panicked(r, v)
		}
	}()
	if ctx.Err() != nil {
		return nil, busy() // waited too long; nothing was done
	}
	return r.route.Handle(ctx, r)
}

func panicked(r *Request, v any) error {
	return fmt.Errorf("panic in %s: %v\n%s", r.Event, v, debug.Stack())
}
