package nemesis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/starling-chat/starling/test/chaos/internal/cluster"
	"github.com/starling-chat/starling/test/chaos/internal/history"
)

// world is what actions work on.
type world struct {
	cluster *cluster.Cluster
	crowd   Crowd
	clock   func() history.Time
}

// apply does an action and returns how it is undone, which may be nil, and whom among the users it touched.
type apply func(ctx context.Context, w world, s Step) (heal func(context.Context) error, users []int, err error)

// termTimeout is longer than SHUTDOWN_TIMEOUT.
const termTimeout = 12 * time.Second

func kill(action string, down time.Duration, targets ...string) Step {
	return Step{Action: action, Target: strings.Join(targets, " "), For: down, touches: targets, apply: func(_ context.Context, w world, _ Step) (func(context.Context) error, []int, error) {
		for _, target := range targets {
			w.cluster.Process(target).Kill()
		}
		return starts(w, targets...), nil, nil
	}}
}

func starts(w world, targets ...string) func(context.Context) error {
	return func(context.Context) (err error) {
		for _, target := range targets {
			err = errors.Join(err, w.cluster.Process(target).Start())
		}
		return err
	}
}

func restart(action, target string, down time.Duration) Step {
	return Step{Action: action, Target: target, For: down, beyond: ending(target), touches: []string{target}, apply: func(ctx context.Context, w world, _ Step) (func(context.Context) error, []int, error) {
		ctx, cancel := context.WithTimeout(ctx, termTimeout)
		defer cancel()
		err := w.cluster.Process(target).Terminate(ctx)
		if err != nil {
			err = &disorderError{err}
		}
		return starts(w, target), nil, err
	}}
}

// ending is how long a process takes to end in order, about: a gateway has its drain window.
func ending(target string) time.Duration {
	if kind(target) == "gateway" {
		return 3 * time.Second
	}
	return 300 * time.Millisecond
}

func pause(target string) apply {
	return func(_ context.Context, w world, _ Step) (func(context.Context) error, []int, error) {
		p := w.cluster.Process(target)
		return func(context.Context) error { return p.Resume() }, nil, p.Pause()
	}
}

func wipe(target string) apply {
	return func(_ context.Context, w world, _ Step) (func(context.Context) error, []int, error) {
		w.cluster.Process(target).Kill()
		var err error
		for _, n := range w.cluster.NATS {
			if n.Name == target {
				err = n.Wipe()
			}
		}
		return starts(w, target), nil, err
	}
}

func killLeader(ctx context.Context, w world, _ Step) (func(context.Context) error, []int, error) {
	i, err := w.cluster.StreamLeader(ctx)
	if err != nil {
		return nil, nil, err
	}
	leader := w.cluster.NATS[i].Name
	w.cluster.Process(leader).Kill()
	return starts(w, leader), nil, nil
}

func stopPostgres(stop func(*cluster.Postgres, context.Context) error) apply {
	return func(ctx context.Context, w world, _ Step) (func(context.Context) error, []int, error) {
		err := stop(w.cluster.Postgres, ctx)
		return w.cluster.Postgres.Start, nil, err
	}
}

func terminateBackends(ctx context.Context, w world, _ Step) (func(context.Context) error, []int, error) {
	return nil, nil, w.cluster.Postgres.Terminate(ctx)
}

func exhaust(ctx context.Context, w world, _ Step) (func(context.Context) error, []int, error) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- w.cluster.Postgres.Exhaust(ctx) }()
	return func(context.Context) error {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			return err
		}
		return nil
	}, nil, nil
}

func disturb(pattern string, toxics ...cluster.Toxic) apply {
	return func(_ context.Context, w world, _ Step) (func(context.Context) error, []int, error) {
		heal, err := w.cluster.Links.Disturb(pattern, toxics...)
		if err != nil {
			return nil, nil, err
		}
		return func(context.Context) error { heal(); return nil }, nil, nil
	}
}

func dropAll(_ context.Context, w world, _ Step) (func(context.Context) error, []int, error) {
	return nil, w.crowd.DropAll(), nil
}

// stallShare is the part of the clients that may be stalled which are.
const stallShare = 2

func stall(_ context.Context, w world, s Step) (func(context.Context) error, []int, error) {
	users := pick(s.Seed, w.crowd.Slow(), max(len(w.crowd.Slow())/stallShare, 1))
	for _, user := range users {
		w.crowd.Stall(user, s.For)
	}
	return nil, users, nil
}

// revokedAtOnce is how many users lose their tokens in one step.
const revokedAtOnce = 2

func revoke(ctx context.Context, w world, s Step) (func(context.Context) error, []int, error) {
	users := pick(s.Seed, w.crowd.Revocable(), revokedAtOnce)
	if len(users) == 0 {
		return nil, nil, errNobody
	}
	for i, user := range users {
		if err := w.cluster.Revoke(ctx, w.crowd.ID(user)); err != nil {
			return nil, users[:i], err
		}
		w.crowd.Revoke(user, w.clock())
	}
	return nil, users, nil
}

func pick(seed uint64, from []int, n int) []int {
	r := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // to be repeated, not to be secret
	from = slices.Clone(from)
	r.Shuffle(len(from), func(i, j int) { from[i], from[j] = from[j], from[i] })
	from = from[:min(n, len(from))]
	slices.Sort(from)
	return from
}

var errNobody = errors.New("nobody is left whose tokens may be revoked")

var errNoDisk = errors.New("it has no file system of its own")

func fillPostgres(_ context.Context, w world, _ Step) (func(context.Context) error, []int, error) {
	p := w.cluster.Postgres
	if p.Disk == nil {
		return nil, nil, errNoDisk
	}
	return func(ctx context.Context) error {
		// It ends by itself when it cannot write its log; whoever runs it starts it again.
		return errors.Join(p.Disk.Free(), p.Start(ctx))
	}, nil, p.Disk.Fill()
}

func fillNATS(_ context.Context, w world, _ Step) (func(context.Context) error, []int, error) {
	n := w.cluster.NATS[0]
	if n.Disk == nil {
		return nil, nil, errNoDisk
	}
	return func(ctx context.Context) error {
		if err := n.Disk.Free(); err != nil {
			return err
		}
		// A server that could not write may go on without JetStream, or with a copy that is left behind, until it is started again.
		if w.cluster.Healthy(ctx, 0) {
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, termTimeout)
		defer cancel()
		if err := n.Terminate(ctx); err != nil {
			return fmt.Errorf("restart %s, whose JetStream did not recover: %w", n.Name, err)
		}
		return n.Start()
	}, nil, n.Disk.Fill()
}
