package rpc

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// slowAnswer answers a call after a time, with a number or an error.
type slowAnswer struct {
	after time.Duration
	err   error
}

// slowConns answer in turn.
type slowConns struct {
	grpc.ClientConnInterface
	list []slowAnswer

	mu    sync.Mutex // guards what follows
	calls int
	ended []bool // which calls were ended before their answer
}

func (r *slowConns) Invoke(ctx context.Context, _ string, _, reply any, _ ...grpc.CallOption) error {
	r.mu.Lock()
	n := r.calls
	r.calls++
	r.mu.Unlock()
	select {
	case <-ctx.Done():
		r.mu.Lock()
		defer r.mu.Unlock()
		r.ended[n] = true
		return status.FromContextError(ctx.Err()).Err()
	case <-time.After(r.list[n].after):
	}
	reply.(*wrapperspb.Int32Value).Value = int32(n + 1)
	return r.list[n].err
}

// TestHedged: a call without an answer is made a second time, the first answer counts, and the other call is ended.
func TestHedged(t *testing.T) {
	const soon, late, never = hedgeAfter / 2, hedgeAfter * 2, time.Hour
	unavailable, denied, exceeded := status.Error(codes.Unavailable, ""), status.Error(codes.PermissionDenied, ""), status.Error(codes.DeadlineExceeded, "")
	for name, tc := range map[string]struct {
		first, second slowAnswer
		calls         int
		reply         int32
		code          codes.Code
		took          time.Duration
		ended         [2]bool
	}{
		"answered in time":                    {slowAnswer{soon, nil}, slowAnswer{}, 1, 1, codes.OK, soon, [2]bool{}},
		"fails in time":                       {slowAnswer{soon, unavailable}, slowAnswer{}, 1, 0, codes.Unavailable, soon, [2]bool{}},
		"the second is faster":                {slowAnswer{never, nil}, slowAnswer{soon, nil}, 2, 2, codes.OK, hedgeAfter + soon, [2]bool{true, false}},
		"the second refuses":                  {slowAnswer{never, nil}, slowAnswer{soon, denied}, 2, 0, codes.PermissionDenied, hedgeAfter + soon, [2]bool{true, false}},
		"the second fails, the first is slow": {slowAnswer{late, nil}, slowAnswer{soon, unavailable}, 2, 1, codes.OK, late, [2]bool{}},
		"the first is faster after all":       {slowAnswer{late, nil}, slowAnswer{never, nil}, 2, 1, codes.OK, late, [2]bool{false, true}},
		"the first fails late":                {slowAnswer{late, unavailable}, slowAnswer{late, nil}, 2, 2, codes.OK, hedgeAfter + late, [2]bool{}},
		"the first refuses late":              {slowAnswer{late, denied}, slowAnswer{never, nil}, 2, 0, codes.PermissionDenied, late, [2]bool{false, true}},
		"both fail":                           {slowAnswer{late, exceeded}, slowAnswer{late, unavailable}, 2, 0, codes.DeadlineExceeded, hedgeAfter + late, [2]bool{}},
		"both fail, the other way round":      {slowAnswer{late, unavailable}, slowAnswer{late, exceeded}, 2, 0, codes.DeadlineExceeded, hedgeAfter + late, [2]bool{}},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := &slowConns{list: []slowAnswer{tc.first, tc.second}, ended: make([]bool, 2)}
			ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
			defer cancel()
			reply, began := new(wrapperspb.Int32Value), time.Now()
			err := Hedged(r).Invoke(ctx, "/s/m", new(wrapperspb.Int32Value), reply)
			took := time.Since(began)
			synctest.Wait()
			r.mu.Lock()
			defer r.mu.Unlock()
			if code := status.Code(err); code != tc.code || err == nil && reply.GetValue() != tc.reply || r.calls != tc.calls || took != tc.took || [2]bool(r.ended) != tc.ended {
				t.Errorf("%s: %v with reply %d after %v, %d calls, ended early %v; want %v, %d, %v, %d, %v",
					name, err, reply.GetValue(), took, r.calls, r.ended, tc.code, tc.reply, tc.took, tc.calls, tc.ended)
			}
		})
	}
}
