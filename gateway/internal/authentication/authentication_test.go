package authentication

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/proto/fault"
	authv1 "github.com/starling-chat/starling/proto/gen/starling/auth/v1"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// service is auth-service: away, or there and knows whoever is asked about.
type service struct {
	authv1.AuthServiceClient

	away  atomic.Bool
	old   atomic.Bool   // it does not know AuthenticateBatch
	asked atomic.Int64  // calls
	held  chan struct{} // not nil: each call waits for one

	mu      sync.Mutex
	batches []int // how many questions each had
}

func (s *service) call(ctx context.Context) error {
	s.asked.Add(1)
	if s.held != nil {
		select {
		case <-s.held:
		case <-ctx.Done():
			return fault.ToStatus(ctx.Err())
		}
	}
	if s.away.Load() {
		return fault.ToStatus(fault.New(fault.Unavailable, "starting"))
	}
	return nil
}

func (s *service) Authenticate(ctx context.Context, r *authv1.AuthenticateRequest, _ ...grpc.CallOption) (*authv1.AuthenticateResponse, error) {
	if err := s.call(ctx); err != nil {
		return nil, err
	}
	res, refusal := judge(r)
	if refusal != nil {
		return nil, fault.ToStatus(refusal)
	}
	return res, nil
}

func judge(r *authv1.AuthenticateRequest) (*authv1.AuthenticateResponse, *fault.Error) {
	if r.GetToken() == "bad" || r.GetToken() == "disabled" && r.GetFresh() {
		return nil, fault.Refusal(fault.ReasonToken, nil)
	}
	return &authv1.AuthenticateResponse{Identity: &eventv1.Identity{UserId: r.GetToken()}}, nil
}

func (s *service) AuthenticateBatch(ctx context.Context, r *authv1.AuthenticateBatchRequest, _ ...grpc.CallOption) (*authv1.AuthenticateBatchResponse, error) {
	if s.old.Load() {
		s.asked.Add(1)
		return nil, status.Error(codes.Unimplemented, "unknown method AuthenticateBatch")
	}
	s.mu.Lock()
	s.batches = append(s.batches, len(r.GetRequests()))
	s.mu.Unlock()
	if err := s.call(ctx); err != nil {
		return nil, err
	}
	answer := &authv1.AuthenticateBatchResponse{}
	for _, q := range r.GetRequests() {
		res, refusal := judge(q)
		switch {
		case strings.HasPrefix(q.GetToken(), "slow"):
			refusal = fault.New(fault.Unavailable, "It takes long")
			fallthrough
		case refusal != nil:
			answer.Results = append(answer.Results, &authv1.AuthenticateResult{Result: &authv1.AuthenticateResult_Fault{Fault: refusal.ToProto()}})
		default:
			answer.Results = append(answer.Results, &authv1.AuthenticateResult{Result: &authv1.AuthenticateResult_Response{Response: res}})
		}
	}
	return answer, nil
}

// takeBatches gives the sizes of the batches since it was called last.
func (s *service) takeBatches() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := s.batches
	s.batches = nil
	return taken
}

const hold = 36 * time.Second

func newAuthentication(most int) (*Authentication, *service) {
	s := &service{}
	return New(Config{Most: most, Timeout: 5 * time.Second, Hold: hold}, s, sessiontest.Stats(), slog.New(slog.DiscardHandler)), s
}

func stays() bool { return false }

// TestConnectsAreHeld: while auth-service is away CONNECTs wait, without a storm of questions; when it is back all of them are answered soon.
func TestConnectsAreHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, s := newAuthentication(10_000)
		s.away.Store(true)
		const held, outage = 1000, 20 * time.Second
		var waiting sync.WaitGroup
		var let, refused atomic.Int64
		for i := range held {
			token := "good"
			if i == 0 {
				token = "bad"
			}
			waiting.Go(func() {
				_, err := a.Ask(t.Context(), token, stays)
				switch _, no := fault.RefusalOf(err); {
				case err == nil:
					let.Add(1)
				case no:
					refused.Add(1)
				}
			})
		}
		time.Sleep(outage / 2)
		before := s.asked.Load()
		time.Sleep(outage / 2)
		if n := s.asked.Load() - before; n == 0 || n > int64(outage/2/turnPause)+1 {
			t.Errorf("%d questions in %v for %d CONNECTs that are held, want one each %v at most", n, outage/2, held, turnPause)
		}
		if let.Load()+refused.Load() > 0 {
			t.Error("CONNECTs were answered while auth-service was away")
		}
		s.away.Store(false)
		start := time.Now()
		waiting.Wait()
		if let.Load() != held-1 || refused.Load() != 1 {
			t.Errorf("%d let in, %d refused, want %d and 1", let.Load(), refused.Load(), held-1)
		}
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("the last one was answered %v after auth-service was back", took)
		}
	})
}

// TestHoldEnds: a CONNECT is held as long as somebody waits for it, and not for ever.
func TestHoldEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, s := newAuthentication(10)
		s.away.Store(true)
		start := time.Now()
		if _, err := a.Ask(t.Context(), "good", stays); fault.KindOf(err) != fault.Unavailable || time.Since(start) != hold {
			t.Errorf("Ask = %v after %v, want unavailable after %v", err, time.Since(start), hold)
		}
		start = time.Now()
		gone := func() bool { return time.Since(start) > 5*time.Second }
		if _, err := a.Ask(t.Context(), "good", gone); err == nil || time.Since(start) > 8*time.Second {
			t.Errorf("Ask = %v after %v, want an end soon after the client has gone", err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start = time.Now()
		if _, err := a.Ask(ctx, "good", stays); err == nil || time.Since(start) != time.Second {
			t.Errorf("Ask = %v after %v, want the end of its context", err, time.Since(start))
		}
	})
}

// TestHandshakesWait: connections are not opened while auth-service is away, but for one a second; one answer opens them.
func TestHandshakesWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, s := newAuthentication(2)
		admitted := func(tries int) (n int) {
			for range tries {
				if wait, ok := a.Admit(); ok {
					n++
				} else if wait < retryLeast || wait > retryLeast+retrySpan {
					t.Errorf("Admit says to wait for %v", wait)
				}
			}
			return n
		}
		if n := admitted(10); n != 10 {
			t.Errorf("%d of 10 admitted at the start, want all", n)
		}
		s.away.Store(true)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { _, _ = a.Ask(ctx, "good", stays); close(done) }()
		time.Sleep(10 * time.Second)
		if n := admitted(10); n != 1 {
			t.Errorf("%d of 10 admitted while auth-service is away, want one that finds out", n)
		}
		s.away.Store(false)
		<-done // answered
		if n := admitted(10); n != 10 {
			t.Errorf("%d of 10 admitted when auth-service is back, want all", n)
		}
		cancel()
		for range 2 {
			if !a.Begin() {
				t.Fatal("no place for a CONNECT")
			}
		}
		if n := admitted(10); n != 0 || a.Begin() {
			t.Errorf("%d of 10 admitted without a place for their CONNECTs, want none", n)
		}
		a.End()
		if n := admitted(1); n != 1 {
			t.Error("not admitted, and there is a place")
		}
	})
}

// TestRevokedLately: after a revocation the answer is not one from a memory that the revocation has not reached.
func TestRevokedLately(t *testing.T) {
	a, s := newAuthentication(1)
	revoked := ""
	a.cfg.Revoked = func(user string) bool { return user == revoked }
	for _, c := range []struct {
		token, revoked string
		asked          int64
		refused        bool
	}{
		{"disabled", "", 1, false},
		{"disabled", "disabled", 2, true},
		{"other", "disabled", 1, false},
		{"back", "back", 2, false},
	} {
		revoked = c.revoked
		before := s.asked.Load()
		_, err := a.Ask(t.Context(), c.token, stays)
		if _, refused := fault.RefusalOf(err); refused != c.refused || s.asked.Load()-before != c.asked {
			t.Errorf("%s, of %q a revocation: %v, refused %v after %d questions, want %v after %d", c.token, c.revoked, err, refused,
				s.asked.Load()-before, c.refused, c.asked)
		}
	}
}
