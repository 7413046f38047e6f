package nemesis

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/starling-chat/starling/platform/run"
	"github.com/starling-chat/starling/test/chaos/internal/cluster"
	"github.com/starling-chat/starling/test/chaos/internal/history"
)

// Crowd is the clients, as far as nemeses reach them.
type Crowd interface {
	DropAll() (users []int)
	Stall(user int, d time.Duration)
	Slow() (users []int)
	Revoke(user int, at history.Time)
	Revocable() (users []int) // whose tokens may be revoked, and have not been
	ID(user int) string
}

// healTimeout bounds the undoing of one fault: PostgreSQL may have to recover.
const healTimeout = 30 * time.Second

// Run does the steps at their times until all are done or ctx ends; either way everything is healed when it returns. What was
// done is in the order of the steps.
func Run(ctx context.Context, steps []Step, c *cluster.Cluster, crowd Crowd, clock func() history.Time, say func(format string, args ...any)) []history.Fault {
	w := world{c, crowd, clock}
	var (
		all    sync.WaitGroup
		mu     sync.Mutex
		faults []history.Fault
	)
	for _, step := range steps {
		if !run.Pause(ctx, step.At-clock()) {
			break
		}
		all.Go(func() {
			fault := do(ctx, w, step)
			note := ""
			if fault.Error != "" {
				note = "  ERROR " + fault.Error
			}
			if fault.Unhealed != "" {
				note += "  NOT HEALED " + fault.Unhealed
			}
			say("%s: %s %s, %.2fs to %.2fs%s", fault.Nemesis, fault.Action, fault.Target, fault.Start.Seconds(), fault.End.Seconds(), note)
			mu.Lock()
			faults = append(faults, fault)
			mu.Unlock()
		})
	}
	all.Wait()
	slices.SortFunc(faults, func(a, b history.Fault) int { return int(a.Start - b.Start) })
	return faults
}

// disorderError tells that the disturbance took place, and that what was disturbed did not behave.
type disorderError struct{ error }

func (e *disorderError) Unwrap() error { return e.error }

func do(ctx context.Context, w world, step Step) history.Fault {
	fault := history.Fault{Nemesis: step.Nemesis, Action: step.Action, Target: step.Target, Start: w.clock()}
	heal, users, err := step.apply(ctx, w, step)
	fault.Users = users
	var disorder *disorderError
	switch {
	case errors.As(err, &disorder):
		fault.Unhealed, err = err.Error(), nil
	case err != nil:
		fault.Error = err.Error()
	}
	if err == nil {
		run.Pause(ctx, step.For)
	}
	if heal != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), healTimeout)
		defer cancel()
		if err := heal(ctx); err != nil {
			fault.Unhealed = strings.TrimPrefix(fault.Unhealed+"; could not be undone: "+err.Error(), "; ")
		}
	}
	fault.End = w.clock()
	return fault
}
