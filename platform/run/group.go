package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// DefaultTimeout bounds the stop of a Group unless it says otherwise.
const DefaultTimeout = 20 * time.Second

// lastCall is how long parts may still take once all of them were cancelled at the deadline.
const lastCall = time.Second

// Group runs the long-lived parts of a process. The zero value is ready for use.
type Group struct {
	// Timeout bounds the whole stop; 0 means DefaultTimeout.
	Timeout time.Duration

	parts []*part
}

type part struct {
	name   string
	start  func(ctx context.Context) error
	cancel context.CancelFunc
	done   chan struct{} // closed after err is written
	err    error
}

// Go adds a part: a blocking function that returns soon after its context ends.
// A part that returns nil earlier has finished its work; the others go on. A
// part that fails stops the group. Go must not be called after Run.
func (g *Group) Go(name string, start func(ctx context.Context) error) {
	g.parts = append(g.parts, &part{name: name, start: start, done: make(chan struct{})})
}

// Run starts all parts at once, each in a goroutine: no part may rely on another
// one being ready. It blocks until all have ended. When one fails, or ctx ends, it
// stops them in the reverse order of Go: each part's context is cancelled and the
// part awaited before the next one. At the deadline, and when ForceStop says so, the
// remaining ones are cancelled together.
//
// The error joins those of the parts, the first failure first, except context
// errors of parts that were told to stop.
func (g *Group) Run(ctx context.Context) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // told to stop before the start: nothing has failed
	}
	ended := make(chan *part, len(g.parts))
	var all sync.WaitGroup
	for _, p := range g.parts {
		// Parts end in reverse order, not when ctx does.
		var partCtx context.Context
		partCtx, p.cancel = context.WithCancel(context.WithoutCancel(ctx))
		all.Go(func() {
			if err := p.start(partCtx); err != nil && (partCtx.Err() == nil || !isContext(err)) {
				p.err = fmt.Errorf("%s: %w", p.name, err)
			}
			close(p.done)
			ended <- p
		})
	}

	var errs []error
	failed := waitForEnd(ctx, ended, len(g.parts))
	if failed != nil {
		errs = append(errs, failed.err)
	}
	late := g.stop(ctx)
	for _, p := range g.parts {
		select {
		case <-p.done:
			if p != failed && p.err != nil {
				errs = append(errs, p.err)
			}
		default:
			errs = append(errs, fmt.Errorf("%s: did not stop in time", p.name))
		}
	}
	if !late {
		all.Wait()
	}
	return errors.Join(errs...)
}

// waitForEnd returns the first part that failed, or nil when ctx or all parts ended.
func waitForEnd(ctx context.Context, ended <-chan *part, running int) *part {
	for ; running > 0; running-- {
		select {
		case <-ctx.Done():
			return nil
		case p := <-ended:
			if p.err != nil {
				return p
			}
		}
	}
	return nil
}

// stop cancels and awaits the parts in reverse; it reports whether any is still running.
func (g *Group) stop(ctx context.Context) (late bool) {
	timeout := g.Timeout
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	for i, p := range slices.Backward(g.parts) {
		p.cancel()
		select {
		case <-p.done:
			continue
		case <-deadline.C:
		case <-ForceStop(ctx):
		}
		for _, p := range g.parts[:i] {
			p.cancel()
		}
		return !g.await(lastCall)
	}
	return false
}

// await reports whether all parts have ended within d.
func (g *Group) await(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for _, p := range g.parts {
		select {
		case <-p.done:
		case <-timer.C:
			return false
		}
	}
	return true
}
