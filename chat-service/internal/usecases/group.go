package usecases

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/starling-chat/starling/proto/fault"
)

// group writes requests together that one statement can write: those that come while one transaction is under way wait for the
// next. Its requests take no number of a room; those that do pass the Writer. They must be safe to repeat.
//
//	submit ─▶ queue ─▶ loop: one transaction at a time ─▶ done
//	          bounded; full: fault
type group[In, Out any] struct {
	// Fixed at birth.
	name  string // for the log
	write func(ctx context.Context, in []In) ([]Out, error)
	cfg   groupConfig[In]
	log   *slog.Logger
	queue chan *grouped[In, Out]

	// Guarded by mu.
	mu     sync.RWMutex
	closed bool // no submit after the queue is closed
}

type groupConfig[In any] struct {
	weigh   func(In) int
	most    int           // weight of a transaction; a single request may be heavier
	queue   int           // requests waiting
	timeout time.Duration // from submit to the answer, at most, as long as no other request of the transaction came later
}

type grouped[In, Out any] struct {
	in       In
	done     func(Out, error)
	deadline time.Time
}

func newGroup[In, Out any](
	name string, write func(context.Context, []In) ([]Out, error), cfg groupConfig[In], log *slog.Logger,
) *group[In, Out] {
	return &group[In, Out]{name: name, write: write, cfg: cfg, log: log, queue: make(chan *grouped[In, Out], cfg.queue)}
}

// submit hands over a request and returns at once. done is called exactly once, from the goroutine of run, after the commit; it must
// not block. A fault Unavailable says that the request was not taken.
func (g *group[In, Out]) submit(in In, done func(Out, error)) error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.closed {
		return errStopping()
	}
	select {
	case g.queue <- &grouped[In, Out]{in: in, done: done, deadline: time.Now().Add(g.cfg.timeout)}:
		return nil
	default:
		return errOverloaded()
	}
}

// run works until ctx ends; then it refuses new requests and finishes those that it has taken.
func (g *group[In, Out]) run(ctx context.Context) {
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
func (g *group[In, Out]) collect(first *grouped[In, Out]) (batch []*grouped[In, Out]) {
	now, weight := time.Now(), 0
	add := func(item *grouped[In, Out]) {
		if now.After(item.deadline) {
			item.fail(errOverloaded())
			return
		}
		batch, weight = append(batch, item), weight+max(g.cfg.weigh(item.in), 1)
	}
	for add(first); weight < g.cfg.most; {
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
func (g *group[In, Out]) flush(ctx context.Context, batch []*grouped[In, Out]) {
	if len(batch) == 0 {
		return
	}
	in := make([]In, len(batch))
	for i, item := range batch {
		in[i] = item.in
	}
	out, err := g.timed(ctx, in, batch[len(batch)-1].deadline)
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
func (g *group[In, Out]) timed(ctx context.Context, in []In, deadline time.Time) ([]Out, error) {
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

// Refusals of writes that are not taken.
func errStopping() error { return fault.Retry(fault.Unavailable, "Service is stopping", retryAfter) }

func errOverloaded() error {
	return fault.Retry(fault.Unavailable, "Service is overloaded", retryAfter)
}
