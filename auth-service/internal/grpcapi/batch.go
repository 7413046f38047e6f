package grpcapi

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/starling-chat/starling/proto/fault"
	authv1 "github.com/starling-chat/starling/proto/gen/starling/auth/v1"
)

const (
	// mostTokens bounds one AuthenticateBatch.
	mostTokens = 1000
	// straggle is how long the answers to a batch wait for one another, from the first on. A token whose issuer's keys have to be fetched
	// from far away does not keep those waiting that came with it.
	straggle = time.Second
)

// judged is the answer to one request of a batch.
type judged struct {
	i      int
	result *authv1.AuthenticateResult
	err    error // of result
}

// AuthenticateBatch implements AuthServiceServer. A request that is not answered when the others are is answered as Unavailable; it may be
// made by itself. Where all are Unavailable the call is, so that another replica is asked.
func (s *Server) AuthenticateBatch(ctx context.Context, r *authv1.AuthenticateBatchRequest) (*authv1.AuthenticateBatchResponse, error) {
	requests := r.GetRequests()
	if len(requests) > mostTokens {
		return nil, fault.Newf(fault.Invalid, "requests must be at most %d", mostTokens)
	}
	answers := make(chan judged, len(requests)) // nobody who is late waits for a reader
	for i, request := range requests {
		go func() { answers <- s.judge(ctx, i, request) }() // ends when the call does, or a look-up that it shares with others
	}
	results, err := collect(answers, len(requests))
	if err != nil {
		return nil, err
	}
	return &authv1.AuthenticateBatchResponse{Results: results}, nil
}

// collect waits for the answers to n requests. The error is that nobody is answered.
func collect(answers <-chan judged, n int) ([]*authv1.AuthenticateResult, error) {
	results := make([]*authv1.AuthenticateResult, n)
	var unavailable error
	answered := false
	var late <-chan time.Time
wait:
	for range n {
		select {
		case j := <-answers:
			results[j.i] = j.result
			if fault.KindOf(j.err) == fault.Unavailable {
				unavailable = j.err
			} else {
				answered = true
			}
			if late == nil {
				late = time.After(straggle)
			}
		case <-late:
			break wait
		}
	}
	if unavailable != nil && !answered {
		return nil, unavailable
	}
	for i := range results {
		if results[i] == nil {
			results[i] = faultResult(fault.Retry(fault.Unavailable, "It takes long", straggle))
		}
	}
	return results, nil
}

// judge answers one request of a batch.
func (s *Server) judge(ctx context.Context, i int, r *authv1.AuthenticateRequest) (j judged) {
	j.i = i
	defer func() {
		if p := recover(); p != nil {
			j.err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
		if j.err != nil {
			j.result = faultResult(fault.Log(ctx, s.log, j.err, slog.String("method", authv1.AuthService_AuthenticateBatch_FullMethodName)))
		}
	}()
	res, err := s.Authenticate(ctx, r)
	j.result, j.err = &authv1.AuthenticateResult{Result: &authv1.AuthenticateResult_Response{Response: res}}, err
	return j
}

func faultResult(f *fault.Error) *authv1.AuthenticateResult {
	return &authv1.AuthenticateResult{Result: &authv1.AuthenticateResult_Fault{Fault: f.ToProto()}}
}
