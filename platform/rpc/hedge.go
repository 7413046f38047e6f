package rpc

import (
	"context"
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

type attempt struct {
	reply proto.Message
	err   error
}

// Invoke implements grpc.ClientConnInterface.
func (h *hedged) Invoke(ctx context.Context, method string, args, reply any, options ...grpc.CallOption) error {
	answer, ok := reply.(proto.Message)
	if deadline, bounded := ctx.Deadline(); !ok || bounded && time.Until(deadline) <= hedgeAfter {
		return h.ClientConnInterface.Invoke(ctx, method, args, reply, options...)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the attempt that is not needed
	attempts := make(chan attempt, 2)
	call := func() {
		own := answer.ProtoReflect().New().Interface()
		err := h.ClientConnInterface.Invoke(ctx, method, args, own, options...)
		attempts <- attempt{own, err}
	}
	go call()
	patience := time.NewTimer(hedgeAfter)
	defer patience.Stop()
	running := 1
	var last error
	for running > 0 {
		select {
		case <-patience.C:
			if h.spend() {
				running++
				go call()
			}
		case a := <-attempts:
			running--
			if a.err == nil {
				proto.Merge(answer, a.reply)
			}
			if a.err == nil || !mayDiffer(a.err) {
				h.earn()
				return a.err
			}
			if status.Code(last) != codes.DeadlineExceeded { // the call may have been done; that must not get lost
				last = a.err
			}
		}
	}
	return last
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
