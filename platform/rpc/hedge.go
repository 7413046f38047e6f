package rpc

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// hedgeAfter is how long a call waits for its answer before it is made a second time.
const hedgeAfter = 1200 * time.Millisecond // > silence: by then the balancer leaves out a replica that hangs

// Where every call is slow a second one only adds to the load: each costs a token, and tenCalls that were answered in time
// earn one.
const (
	hedgeTokens = 500
	tenCalls    = 10
)

// Hedged returns a way to call conn for callers who cannot wait until a hanging replica is noticed: an unary call that has no
// answer after hedgeAfter is made a second time, on another replica where there is one, and the first answer counts. The calls
// must be safe to run twice at once.
func Hedged(conn grpc.ClientConnInterface) grpc.ClientConnInterface {
	h := &hedged{ClientConnInterface: conn}
	h.tokens.Store(hedgeTokens * tenCalls)
	return h
}

type hedged struct {
	grpc.ClientConnInterface

	tokens atomic.Int64 // times tenCalls
}

// Invoke implements grpc.ClientConnInterface. The first call is made by the caller's own goroutine, as most calls need no second one.
func (h *hedged) Invoke(ctx context.Context, method string, args, reply any, options ...grpc.CallOption) error {
	answer, ok := reply.(proto.Message)
	if deadline, bounded := ctx.Deadline(); !ok || bounded && time.Until(deadline) <= hedgeAfter {
		return h.ClientConnInterface.Invoke(ctx, method, args, reply, options...)
	}
	calls, end := context.WithCancel(ctx)
	defer end() // the call that is not needed any more
	second, kind := &secondCall{over: make(chan struct{})}, answer.ProtoReflect().Type()
	patience := time.AfterFunc(hedgeAfter, func() {
		defer close(second.over)
		if !h.spend() {
			second.err = errNoSecond
			return
		}
		second.reply = kind.New().Interface()
		second.err = h.ClientConnInterface.Invoke(calls, method, args, second.reply, options...)
		if !mayDiffer(second.err) {
			end()
		}
	})
	err := h.ClientConnInterface.Invoke(calls, method, args, reply, options...)
	ended := calls.Err() != nil && ctx.Err() == nil // by the second one, whose answer came before
	if !patience.Stop() && err != nil && (ended || mayDiffer(err)) {
		<-second.over
		err = second.instead(err, answer)
	}
	if !mayDiffer(err) {
		h.earn()
	}
	return err
}

// secondCall is what became of it; its fields are set when over is closed.
type secondCall struct {
	over  chan struct{}
	reply proto.Message
	err   error
}

// errNoSecond tells that there was no second call: there are enough of them.
var errNoSecond = errors.New("no second call")

// instead gives the outcome of both calls where the first one failed.
func (c *secondCall) instead(first error, answer proto.Message) error {
	switch {
	case c.err == nil:
		proto.Reset(answer)
		proto.Merge(answer, c.reply)
		return nil
	case errors.Is(c.err, errNoSecond), mayDiffer(c.err) && status.Code(first) == codes.DeadlineExceeded:
		return first // the call may have been done; that must not get lost
	}
	return c.err
}

// mayDiffer tells whether another replica could give another answer.
func mayDiffer(err error) bool {
	code := status.Code(err)
	return code == codes.Unavailable || code == codes.DeadlineExceeded
}

func (h *hedged) spend() bool {
	if h.tokens.Add(-tenCalls) >= 0 {
		return true
	}
	h.tokens.Add(tenCalls)
	return false
}

func (h *hedged) earn() {
	if h.tokens.Load() < hedgeTokens*tenCalls {
		h.tokens.Add(1)
	}
}
