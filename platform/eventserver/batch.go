package eventserver

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/proto/fault"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// maxBatch is how many events one request may carry.
const maxBatch = 32

// batch is the client events that came as one NATS request and are answered in one message.
type batch struct {
	// Fixed at birth.
	reply    string
	trace    string // traceparent of the gateway's request; "" = it is not traced
	size     int64
	deadline time.Time     // until when it may be begun
	grace    time.Duration // see Request
	// answers has an element for each event; each is written by who answers that event, and read by who answers last.
	answers []*eventv1.ClientReply
	left    atomic.Int32
	silent  atomic.Bool // not answered: a repeat is in it that must not be
}

// wait bounds the time for the events by what their gateway says: it waits until then, and the last part of that, grace, only for what was
// begun before.
func (b *batch) wait(until time.Time, grace time.Duration) {
	end := earlier(b.deadline, until)
	b.deadline = earlier(end, until.Add(-grace))
	b.grace = end.Sub(b.deadline)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// split gives a request for each event: event itself, and those that follow in it where it could be read.
func (b *batch) split(route *Route, event *eventv1.ClientEvent, readable bool) []*Request {
	requests := []*Request{newRequest(route, b, event)}
	if readable {
		for i, m := range event.GetMore() {
			requests = append(requests, requests[0].following(i+1, m))
		}
	}
	b.answers = make([]*eventv1.ClientReply, len(requests))
	b.left.Store(int32(len(requests))) //nolint:gosec // bounded by the size of a NATS message
	return requests
}

// answer counts, and replies when it was the last of its batch. Only the first answer to a request counts.
func (s *Server) answer(ctx context.Context, r *Request, reply *Reply, err error) {
	if !r.answered.CompareAndSwap(false, true) {
		s.log.LogAttrs(ctx, slog.LevelError, "route answers twice", slog.String("event", r.route.Event), slog.Any("error", err))
		return
	}
	var out *eventv1.ClientReply
	result := resultOK
	if errors.Is(err, ErrNotRepeatable) && r.Attempt > 0 {
		r.in.silent.Store(true)
		err = fault.New(fault.Timeout, "No answer in time")
	}
	if err != nil {
		f := fault.Log(ctx, s.log, err, slog.String("event", r.route.Event))
		out, result = &eventv1.ClientReply{Fault: f.ToProto()}, string(f.Kind)
	} else {
		out = reply.toProto()
	}
	s.metrics.count(r.route.Event, result)
	if result != resultOK {
		r.span.End(result)
	} else {
		r.span.End("")
	}
	r.in.answers[r.index] = out
	if r.in.left.Add(-1) > 0 {
		return
	}
	if r.in.reply != "" && !r.in.silent.Load() {
		s.send(ctx, r)
	}
	s.bytes.Add(-r.in.size)
	s.open.Done()
}

// send replies with the answers of a batch.
func (s *Server) send(ctx context.Context, r *Request) {
	answer := r.in.answers[0]
	answer.More = r.in.answers[1:]
	err := s.publish(r.in.reply, answer)
	if errors.Is(err, nats.ErrMaxPayload) {
		tooLarge := &eventv1.ClientReply{Fault: fault.New(fault.TooLarge, "The answer is too large").ToProto()}
		answer = &eventv1.ClientReply{Fault: tooLarge.Fault}
		for range r.in.answers[1:] {
			answer.More = append(answer.More, tooLarge)
		}
		err = s.publish(r.in.reply, answer)
	}
	if err != nil && !errors.Is(err, nats.ErrReconnectBufExceeded) && !errors.Is(err, nats.ErrConnectionClosed) {
		s.log.LogAttrs(ctx, slog.LevelWarn, "answer not sent", slog.String("event", r.route.Event), slog.Any("error", err))
	}
}

func (s *Server) publish(to string, reply *eventv1.ClientReply) error {
	raw, err := proto.Marshal(reply)
	if err != nil {
		return err
	}
	return s.nc.Publish(to, raw)
}
