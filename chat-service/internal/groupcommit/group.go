// Package groupcommit writes requests of many users together. It is the group commit of what takes no number of a room; writes that do
// pass the Writer of package usecases.
package groupcommit

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/proto/fault"
)

// commitTimeout bounds one transaction.
const commitTimeout = 3 * time.Second

// retryAfter is what a refused caller is told.
const retryAfter = 250 * time.Millisecond

// Group writes requests together that one statement can write: those that come while one transaction is under way wait for the
// next. They must be safe to repeat.
//
//	Submit ─▶ queue ─▶ loop: one transaction at a time ─▶ done
//	          bounded; full: fault
type Group[In, Out any] struct {
	// Fixed at birth.
	name  string // for the log
	write func(ctx context.Context, in []In) ([]Out, error)
	cfg   Config[In]
	log   *slog.Logger
	queue chan *grouped[In, Out]

	// Guarded by mu.
	mu     sync.RWMutex
	closed bool // no submit after the queue is closed
}

// Config has the bounds of a Group.
type Config[In any] struct {
	Weigh   func(In) int
	Most    int           // weight of a transaction; a single request may be heavier
	Queue   int           // requests waiting
	Timeout time.Duration // from Submit to the answer, at most, as long as no other request of the transaction came later
}

type grouped[In, Out any] struct {
	in       In
	done     func(Out, error)
	deadline time.Time     // until when it may be begun
	wait     time.Duration // for which its answer is waited for after that
}

// New returns a Group that writes by a function; it works while Run runs.
func New[In, Out any](
	name string, write func(context.Context, []In) ([]Out, error), cfg Config[In], log *slog.Logger,
) *Group[In, Out] {
	return &Group[In, Out]{name: name, write: write, cfg: cfg, log: log, queue: make(chan *grouped[In, Out], cfg.Queue)}
}

// Submit hands over a request and returns at once. done is called exactly once, from the goroutine of Run, after the commit; it must
// not block. A fault Unavailable says that the request was not taken. What asker has given up is not begun.
func (g *Group[In, Out]) Submit(in In, asker rules.Asker, done func(Out, error)) error {
	begin, wait := asker.Times(time.Now().Add(g.cfg.Timeout), 0)
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.closed {
		return Stopping()
	}
	select {
	case g.queue <- &grouped[In, Out]{in: in, done: done, deadline: begin, wait: wait}:
		return nil
	default:
		return Overloaded()
	}
}

// Run works until ctx ends; then it refuses new requests and finishes those that it has taken.
func (g *Group[In, Out]) Run(ctx context.Context) {
	work := context.WithoutCancel(ctx)
	var loop sync.WaitGroup
	loop.Go(func() {
		for first := range g.queue {
			g.flush(work, g.collect(first))
		}
	})
	<-ctx.Done()
	g.mu.Lock()
	g.closed = true
	close(g.queue)
	g.mu.Unlock()
	loop.Wait()
}

// collect takes what waits, up to the bound. What has waited for too long is refused.
func (g *Group[In, Out]) collect(first *grouped[In, Out]) (batch []*grouped[In, Out]) {
	now, weight := time.Now(), 0
	add := func(item *grouped[In, Out]) {
		if now.After(item.deadline) {
			item.fail(Overloaded())
			return
		}
		batch, weight = append(batch, item), weight+max(g.cfg.Weigh(item.in), 1)
	}
	for add(first); weight < g.cfg.Most; {
		select {
		case item, ok := <-g.queue:
			if !ok {
				return batch
			}
			add(item)
		default:
			return batch
		}
	}
	return batch
}

// flush writes a batch and answers it. An unexpected failure of several requests is put down to one of them: each is then
// written alone, so that the others do not suffer.
func (g *Group[In, Out]) flush(ctx context.Context, batch []*grouped[In, Out]) {
	if len(batch) == 0 {
		return
	}
	in := make([]In, len(batch))
	for i, item := range batch {
		in[i] = item.in
	}
	last := batch[len(batch)-1]
	out, err := g.timed(ctx, in, last.deadline.Add(last.wait))
	switch {
	case err == nil:
		for i, item := range batch {
			item.done(out[i], nil)
		}
	case len(batch) == 1 || fault.KindOf(err) != fault.Internal:
		for _, item := range batch {
			item.fail(err)
		}
	default:
		g.log.LogAttrs(ctx, slog.LevelWarn, "batch failed, writing one by one",
			slog.String("batch", g.name), slog.Int("size", len(batch)), slog.Any("error", err))
		for i := range batch {
			g.flush(ctx, batch[i:i+1])
		}
	}
}

// timed writes within the bound of a transaction, and no longer than the last of the requests can wait.
func (g *Group[In, Out]) timed(ctx context.Context, in []In, deadline time.Time) ([]Out, error) {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	ctx, done := context.WithDeadline(ctx, deadline)
	defer done()
	return g.write(ctx, in)
}

func (i *grouped[In, Out]) fail(err error) {
	var none Out
	i.done(none, err)
}

// Stopping refuses a write because the service ends.
func Stopping() error { return fault.Retry(fault.Unavailable, "Service is stopping", retryAfter) }

// Overloaded refuses a write because too much waits.
func Overloaded() error {
	return fault.Retry(fault.Unavailable, "Service is overloaded", retryAfter)
}
