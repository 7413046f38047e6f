package batcher

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// oracle answers a question with its double, when the test says so.
type oracle struct {
	mu      sync.Mutex
	asked   [][]int
	ended   []error       // what became of the contexts of calls, in the order of their ends
	answers chan struct{} // nil: at once
	err     error
	few     bool // one answer is missing
	hangs   int  // no answer to calls with this question; 0: to all
}

func (o *oracle) call(ctx context.Context, questions []int) (answers []int, err error) {
	o.mu.Lock()
	o.asked = append(o.asked, slices.Clone(questions))
	o.mu.Unlock()
	switch {
	case o.hangs != 0 && slices.Contains(questions, o.hangs):
		<-ctx.Done()
	case o.answers != nil:
		select {
		case <-o.answers:
		case <-ctx.Done():
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = append(o.ended, ctx.Err())
	for _, q := range questions {
		answers = append(answers, 2*q)
	}
	if o.few {
		answers = answers[1:]
	}
	return answers, errors.Join(o.err, ctx.Err())
}

// sizes tells how many questions each call had.
func (o *oracle) sizes() (sizes []int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, q := range o.asked {
		sizes = append(sizes, len(q))
	}
	return sizes
}

func (o *oracle) batcher(calls int) *Batcher[int, int] {
	return New(Config[int, int]{Most: 10, Calls: calls, Wait: 5 * time.Millisecond, Timeout: time.Second, Call: o.call})
}

// crowd asks many questions.
type crowd struct {
	t  *testing.T
	b  *Batcher[int, int]
	wg sync.WaitGroup
}

func (c *crowd) ask(ctx context.Context, question int, want error) {
	c.wg.Go(func() {
		if got, err := c.b.Ask(ctx, question); !errors.Is(err, want) || err == nil && got != 2*question {
			c.t.Errorf("Ask(%d) = %d, %v, want %d, %v", question, got, err, 2*question, want)
		}
	})
	synctest.Wait()
}

// TestTogether: a question finds nobody and leaves alone; those that come meanwhile leave together, and each has its own answer.
func TestTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &oracle{answers: make(chan struct{})}
		c := crowd{t: t, b: o.batcher(2)}
		for q := range 6 {
			c.ask(t.Context(), q, nil)
		}
		if diff := cmp.Diff([]int{1, 1}, o.sizes()); diff != "" {
			t.Errorf("calls while two are under way: -want +got\n%s", diff)
		}
		o.answers <- struct{}{}
		synctest.Wait()
		if diff := cmp.Diff([]int{1, 1, 4}, o.sizes()); diff != "" {
			t.Errorf("calls after one returned: -want +got\n%s", diff)
		}
		close(o.answers)
		c.wg.Wait()
		c.ask(t.Context(), 9, nil)
		c.wg.Wait()
		if diff := cmp.Diff([]int{1, 1, 4, 1}, o.sizes()); diff != "" {
			t.Errorf("calls in all: -want +got\n%s", diff)
		}
	})
}

// TestEnough: a call has as many questions as it may have.
func TestEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &oracle{answers: make(chan struct{})}
		c := crowd{t: t, b: o.batcher(1)}
		for q := range 1 + 10 + 10 + 3 {
			c.ask(t.Context(), q, nil)
		}
		if diff := cmp.Diff([]int{1, 10, 10}, o.sizes()); diff != "" {
			t.Errorf("calls: -want +got\n%s", diff)
		}
		close(o.answers)
		c.wg.Wait()
	})
}

// TestCallThatHangs holds up nobody else's question for longer than Wait, and itself ends after Timeout.
func TestCallThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &oracle{hangs: 1}
		c := crowd{t: t, b: o.batcher(1)}
		start := time.Now()
		c.ask(t.Context(), 1, context.DeadlineExceeded)
		c.ask(t.Context(), 2, nil)
		c.ask(t.Context(), 3, nil)
		time.Sleep(4 * time.Millisecond)
		synctest.Wait()
		if diff := cmp.Diff([]int{1}, o.sizes()); diff != "" {
			t.Errorf("calls before the wait is over: -want +got\n%s", diff)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if diff := cmp.Diff([]int{1, 2}, o.sizes()); diff != "" {
			t.Errorf("calls after the wait: -want +got\n%s", diff)
		}
		c.wg.Wait()
		if took := time.Since(start); took != time.Second {
			t.Errorf("the call that hangs ended after %v, want its timeout", took)
		}
	})
}

// TestNobodyWaits: a call that nobody waits for any more ends; as long as somebody does it goes on, also when the first one has left.
func TestNobodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &oracle{answers: make(chan struct{})}
		c := crowd{t: t, b: o.batcher(1)}
		alone, leaveAlone := context.WithCancel(t.Context())
		first, leaveFirst := context.WithCancel(t.Context())
		c.ask(alone, 1, context.Canceled)
		c.ask(first, 2, context.Canceled)
		c.ask(t.Context(), 3, nil)
		leaveFirst()
		synctest.Wait()
		leaveAlone()
		synctest.Wait()
		if diff := cmp.Diff([]error{context.Canceled}, o.ended, cmp.Comparer(errors.Is)); diff != "" {
			t.Errorf("ended calls: -want +got\n%s", diff)
		}
		if diff := cmp.Diff([]int{1, 2}, o.sizes()); diff != "" {
			t.Errorf("calls: -want +got\n%s", diff)
		}
		gathering, leaveGathering := context.WithCancel(t.Context())
		c.ask(gathering, 4, context.Canceled)
		leaveGathering()
		synctest.Wait()
		close(o.answers)
		c.wg.Wait()
		time.Sleep(time.Second)
		if diff := cmp.Diff([]int{1, 2}, o.sizes()); diff != "" {
			t.Errorf("calls after somebody has left who gathered: -want +got\n%s", diff)
		}
		c.ask(t.Context(), 5, nil)
		c.wg.Wait()
	})
}

// TestErrors: what went wrong with a call is everybody's, and so is an answer that is missing.
func TestErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := errors.New("away")
		o := &oracle{err: away}
		c := crowd{t: t, b: o.batcher(1)}
		c.ask(t.Context(), 1, away)
		o.err, o.few = nil, true
		if got, err := c.b.Ask(t.Context(), 2); err == nil {
			t.Errorf("Ask() = %d, nil, and there is no answer", got)
		}
		o.few = false
		c.b.cfg.Call = func(context.Context, []int) ([]int, error) { panic("a mistake") }
		if got, err := c.b.Ask(t.Context(), 3); err == nil || !strings.Contains(err.Error(), "a mistake") {
			t.Errorf("Ask() = %d, %v, want the panic", got, err)
		}
		c.b.cfg.Call = o.call
		c.ask(t.Context(), 4, nil)
		c.wg.Wait()
	})
}
