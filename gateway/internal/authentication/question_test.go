package authentication

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starling-chat/starling/proto/fault"
	authv1 "github.com/starling-chat/starling/proto/gen/starling/auth/v1"
)

// queue are CONNECTs that come one after the other.
type queue struct {
	t  *testing.T
	a  *Authentication
	wg sync.WaitGroup
}

// connect has CONNECTs come, and wants each to be answered as it is to be.
func (q *queue) connect(tokens ...string) {
	for _, token := range tokens {
		q.wg.Go(func() {
			res, err := q.a.Ask(q.t.Context(), token, stays)
			_, refused := fault.RefusalOf(err)
			if token == "bad" && refused || err == nil && res.GetIdentity().GetUserId() == token {
				return
			}
			q.t.Errorf("Ask(%.20s) = %v, %v", token, res, err)
		})
		synctest.Wait()
	}
}

// TestConnectsShareAQuestion: those that come while others are asked about are asked about together, and each gets its own answer.
func TestConnectsShareAQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, s := newAuthentication(1000)
		s.held = make(chan struct{})
		q := queue{t: t, a: a}
		for i := range 2 + 2*mostTogether + 3 {
			if i%10 == 7 {
				q.connect("bad")
			} else {
				q.connect(fmt.Sprintf("user %d", i))
			}
		}
		if n := s.asked.Load(); n != 4 {
			t.Errorf("%d calls, want 2 alone and 2 that are full", n)
		}
		close(s.held)
		q.wg.Wait()
		if diff := cmp.Diff([]int{mostTogether, mostTogether, 3}, s.takeBatches()); diff != "" {
			t.Errorf("batches: -want +got\n%s", diff)
		}
		before := s.asked.Load()
		q.connect("alone")
		q.wg.Wait()
		if s.asked.Load() != before+1 || len(s.takeBatches()) != 0 {
			t.Error("a CONNECT that comes alone is not asked about alone")
		}
	})
}

// TestOlderAuthService answers single questions only, as one that is replaced after the gateways does. It is tried again in a while.
func TestOlderAuthService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, s := newAuthentication(1000)
		s.old.Store(true)
		s.held = make(chan struct{})
		q := queue{t: t, a: a}
		users := []string{"a", "b", "c", "bad", "d"}
		q.connect(users...) // two alone, and the others together, which leave after a while
		time.Sleep(gatherWait)
		synctest.Wait()
		if n := s.asked.Load(); n != 2+1+3 {
			t.Errorf("%d calls, want 2, 1 that is not known, and 3 alone", n)
		}
		q.connect("e")
		if n := s.asked.Load(); n != 7 {
			t.Errorf("%d calls, want one more at once", n)
		}
		close(s.held)
		q.wg.Wait()
		if wait, ok := a.Admit(); !ok {
			t.Errorf("no handshakes for %v: an auth-service that is older is taken to be away", wait)
		}
		s.old.Store(false)
		time.Sleep(aloneFor)
		s.held = make(chan struct{})
		q.connect(users...)
		close(s.held)
		q.wg.Wait()
		if diff := cmp.Diff([]int{3}, s.takeBatches()); diff != "" {
			t.Errorf("batches when it is a newer one: -want +got\n%s", diff)
		}
	})
}

// TestNotAnsweredTogether: what is not answered with the others is asked about alone, and so is a token that is very long.
func TestNotAnsweredTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, s := newAuthentication(1000)
		s.held = make(chan struct{})
		q := queue{t: t, a: a}
		start := time.Now()
		q.connect("a", "b", "c", "slow 1", "d", "slow 2", strings.Repeat("l", longToken+1))
		if n := s.asked.Load(); n != 3 {
			t.Errorf("%d calls, want 2 alone and the long one", n)
		}
		close(s.held)
		q.wg.Wait()
		if diff := cmp.Diff([]int{4}, s.takeBatches()); diff != "" {
			t.Errorf("batches: -want +got\n%s", diff)
		}
		if n := s.asked.Load(); n != 3+1+2 {
			t.Errorf("%d calls, want 6: two tokens were asked about again", n)
		}
		if took := time.Since(start); took > 0 {
			t.Errorf("all were answered after %v, want at once", took)
		}
	})
}

// TestOneAnswerOfMany: a call some of whose questions are answered was answered.
func TestOneAnswerOfMany(t *testing.T) {
	a, _ := newAuthentication(10)
	a.failures = awayAfter - 1
	_, err := a.many(t.Context(), []*authv1.AuthenticateRequest{{Token: "slow"}, {Token: "good"}})
	if err != nil || a.failures != 0 {
		t.Errorf("many() = %v, %d failures, want none", err, a.failures)
	}
	_, err = a.many(t.Context(), []*authv1.AuthenticateRequest{{Token: "slow 1"}, {Token: "slow 2"}})
	if err != nil || a.failures != 1 {
		t.Errorf("many(without an answer) = %v, %d failures, want one", err, a.failures)
	}
}

// TestBatchThatHangs: a call without an answer ends after the time of a question, counts as one, and holds up no other CONNECT.
func TestBatchThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, s := newAuthentication(1000)
		s.held = make(chan struct{})
		q := queue{t: t, a: a}
		start := time.Now()
		q.connect("a", "b", "c", "d", "e", "f")
		time.Sleep(gatherWait)
		synctest.Wait()
		if diff := cmp.Diff([]int{4}, s.takeBatches()); diff != "" {
			t.Errorf("batches after %v: -want +got\n%s", gatherWait, diff)
		}
		time.Sleep(a.cfg.Timeout - gatherWait) // of the first two
		synctest.Wait()
		if _, ok := a.Admit(); !ok {
			t.Error("away after two questions without an answer")
		}
		time.Sleep(gatherWait)
		synctest.Wait()
		a.mu.Lock()
		if a.failures != 3 {
			t.Errorf("%d failures, want 3: a call counts once", a.failures)
		}
		a.mu.Unlock()
		close(s.held)
		q.wg.Wait()
		if took := time.Since(start); took > a.cfg.Timeout+3*time.Second {
			t.Errorf("all were answered after %v, want soon after auth-service was back", took)
		}
	})
}

// TestClientsThatLeave: a question that nobody waits for any more is no sign that auth-service is away.
func TestClientsThatLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, s := newAuthentication(1000)
		s.held = make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for token := range slices.Values([]string{"a", "b", "c", "d", "e"}) {
			all.Go(func() { _, _ = a.Ask(ctx, token, stays) })
			synctest.Wait()
		}
		time.Sleep(gatherWait)
		synctest.Wait()
		cancel()
		all.Wait()
		synctest.Wait()
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.failures != 0 {
			t.Errorf("%d failures after the clients have left, want none", a.failures)
		}
	})
}
