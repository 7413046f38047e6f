package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/starling-chat/starling/platform/run"
	"github.com/starling-chat/starling/test/chaos/internal/cluster"
	"github.com/starling-chat/starling/test/chaos/internal/history"
	"github.com/starling-chat/starling/test/chaos/internal/load"
	"github.com/starling-chat/starling/test/chaos/internal/nemesis"
	"github.com/starling-chat/starling/test/internal/launch"
	"github.com/starling-chat/starling/test/internal/standstill"
)

// The phases after the faults.
const (
	aloneTime     = 17 * time.Second // load without faults
	quietTime     = 20 * time.Second // at most, until every client saw everything
	connectTime   = 2 * time.Minute
	dumpTime      = 60 * time.Second
	progressEvery = 5 * time.Second
	superviseTime = 500 * time.Millisecond
	longestPause  = 10 * time.Second
	longestInSoak = 30 * time.Second
)

// rig is one run.
type rig struct {
	// Fixed at birth.
	options
	seed uint64
	log  *slog.Logger

	// Owned by run and what it calls.
	start   time.Time // zero of the run's clock
	cluster *cluster.Cluster
	load    *load.Load
	history *history.History

	mu       sync.Mutex // guards all below
	phase    string
	problems []string // for history.Problems
}

var errInterrupted = errors.New("interrupted; everything is stopped and removed")

func newRig(o options, seed uint64) *rig {
	return &rig{options: o, seed: seed, history: new(history.History), log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))}
}

// problem records what must not be and what no invariant speaks of.
func (r *rig) problem(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	r.say("PROBLEM: %s", text)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.problems = append(r.problems, text)
}

func (r *rig) clock() history.Time { return time.Since(r.start) }

func (r *rig) say(format string, args ...any) {
	at := "        "
	if !r.start.IsZero() {
		at = fmt.Sprintf("%7.2fs", r.clock().Seconds())
	}
	fmt.Printf("%s  %s\n", at, fmt.Sprintf(format, args...))
}

func (r *rig) enter(phase string) {
	r.mu.Lock()
	r.phase = phase
	r.mu.Unlock()
	r.say("%s", phase)
}

// run does everything.
func (r *rig) run(ctx context.Context) (v verdict, err error) {
	fmt.Printf("seed %d: %d clients, %d rooms, %d messages/s, %d × each process, %d × NATS, %v of faults\n", r.seed, r.clients, r.rooms, r.rate, r.copies, r.nodes, r.duration)
	root, err := launch.Root()
	if err != nil {
		return v, err
	}
	r.say("building")
	programs, err := cluster.Build(ctx, root, r.sabotage != "")
	if err != nil {
		return v, err
	}
	dir, err := cluster.NewDir()
	if err != nil {
		return v, err
	}
	defer cluster.Remove(dir)
	r.say("starting the processes")
	r.cluster, err = cluster.Start(ctx, cluster.Config{
		Root: root, Dir: dir, Programs: programs, Nodes: r.nodes, Copies: r.copies, Sabotage: r.sabotage,
		Disks: slices.Contains(r.nemeses, "disk"), Pooler: r.pooler, Log: r.log,
	})
	if err != nil {
		return v, errors.Join(err, r.keepLogs(filepath.Join(dir, "logs")))
	}
	stop := sync.OnceValue(func() error { return r.cluster.Stop(context.WithoutCancel(ctx)) })
	defer func() { err = errors.Join(err, stop()) }() // also when this panics
	if err := r.work(ctx); err != nil {
		if ctx.Err() != nil {
			return v, errInterrupted
		}
		return v, errors.Join(err, stop(), r.keepLogs(r.cluster.LogDir()))
	}
	if err := stop(); err != nil {
		r.say("stop: %v", err)
	}
	return r.judge()
}

// work is everything between the start and the stop of the processes.
func (r *rig) work(ctx context.Context) error {
	for _, note := range r.cluster.Notes {
		r.say("note: %s", note)
	}
	if len(r.cluster.Notes) > 0 {
		r.nemeses = slices.DeleteFunc(slices.Clone(r.nemeses), func(name string) bool { return name == "disk" })
	}
	gateways, err := r.cluster.Gateways()
	if err != nil {
		return err
	}
	settings, err := r.cluster.Postgres.Settings(ctx)
	if err != nil {
		return err
	}
	r.history.Settings = settings
	r.start = time.Now()
	r.load = load.New(load.Config{
		Seed: r.seed, Clients: r.clients, Rooms: r.rooms, Rate: r.rate, Gateways: gateways, Direct: r.cluster.Direct(), Accepts: r.cluster.Accepts, Secret: cluster.JWTSecret, APIKey: cluster.APIKey, Faults: r.duration, Start: r.start, Log: r.log,
	})
	defer r.load.Close()
	watchCtx, stopWatch := context.WithCancel(ctx)
	var watching sync.WaitGroup
	var watch *cluster.Watch
	watching.Go(func() { watch = r.cluster.Watch(watchCtx, r.clock) })
	watching.Go(func() { r.progress(watchCtx) })
	watching.Go(func() { r.supervise(watchCtx) })
	stalls := standstill.New(r.clock)
	watching.Go(func() { stalls.Run(watchCtx) })
	err = r.phases(ctx)
	stopWatch()
	watching.Wait()
	if err != nil {
		return err
	}
	r.history.Samples = watch.Samples
	for _, s := range stalls.Stalls() {
		r.history.Stalls = append(r.history.Stalls, history.Stall{Start: s.From, End: s.To})
	}
	if sum := stalls.Since(0); sum > 0 {
		r.say("the machine stood still %d times, for %v in all: that is granted to every limit of time", len(r.history.Stalls), sum.Round(time.Millisecond))
	}
	r.serviceTimes(watch.Ready)
	r.load.Into(r.history)
	r.dump(ctx)
	return ctx.Err()
}

// dump reads what the database and the stream hold in the end.
func (r *rig) dump(ctx context.Context) {
	r.enter("reading the database and the stream")
	ctx, cancel := context.WithTimeout(ctx, dumpTime)
	defer cancel()
	if err := errors.Join(r.cluster.Dump(ctx, r.history), r.cluster.DumpLogs(ctx, r.history, r.start)); err != nil {
		r.problem("%v", err)
		r.history.NoLog = true
	}
	if err := r.cluster.DumpStream(ctx, r.history, r.start); err != nil {
		r.problem("%v", err)
		r.history.Streamed = nil // a part of it would look like holes
	}
}

func (r *rig) phases(ctx context.Context) error {
	r.enter("connecting the clients")
	connectCtx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	if err := r.load.Connect(connectCtx); err != nil {
		return fmt.Errorf("connect the clients: %w", err)
	}
	begin := r.clock()
	longest := longestPause
	if r.soak {
		longest = longestInSoak
	}
	steps := nemesis.Plan(nemesis.Shape{Seed: r.seed, Duration: r.duration, Copies: r.copies, Nodes: r.nodes, Pooler: r.pooler, Longest: longest, Nemeses: r.nemeses})
	r.say("the plan, %d faults, on the clock of the run:", len(steps))
	nemesis.Print(os.Stdout, steps, begin)
	r.enter("load and faults")
	runCtx, stopLoad := context.WithCancel(ctx)
	defer stopLoad()
	loaded := make(chan error, 1)
	go func() { loaded <- r.load.Run(runCtx) }()
	r.history.Faults = nemesis.Run(ctx, shift(steps, begin), r.cluster, r.crowd(), r.clock, r.say)
	if !run.Pause(ctx, begin+r.duration-r.clock()) {
		return ctx.Err()
	}
	healed := r.clock()
	r.enter("healed: load alone")
	if !run.Pause(ctx, aloneTime) {
		return ctx.Err()
	}
	stopLoad()
	stopped := r.clock()
	if err := <-loaded; err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("send: %w", err)
	}
	r.enter("no more sends")
	quiet, cancelQuiet := context.WithTimeout(ctx, quietTime)
	defer cancelQuiet()
	if err := r.load.Finish(quiet); err != nil {
		r.problem("not quiet: %v", err)
	}
	r.history.Config = history.Config{
		Seed: r.seed, Clients: r.clients, Rate: r.rate, Copies: r.copies, Nodes: r.nodes, Duration: r.duration,
		Nemeses: r.nemeses, Sabotage: r.sabotage, SendQueue: cluster.SendQueue, Healed: healed, Stopped: stopped, End: r.clock(),
	}
	return ctx.Err()
}

// shift moves a plan onto the run's clock.
func shift(steps []nemesis.Step, by history.Time) []nemesis.Step {
	for i := range steps {
		steps[i].At += by
	}
	return steps
}

// progress prints a line every 5 s.
func (r *rig) progress(ctx context.Context) {
	var before load.Status
	for ticker := time.NewTicker(progressEvery); ; {
		select {
		case <-ctx.Done():
			ticker.Stop()
			return
		case <-ticker.C:
		}
		r.mu.Lock()
		phase := r.phase
		r.mu.Unlock()
		now := r.load.Status()
		r.say("%-24.24s connected %d, in flight %d, sent %d (+%d), acked +%d, unknown +%d, failed %v, delivered +%d, reconnects +%d", phase,
			now.Connected, now.InFlight, now.Sent, now.Sent-before.Sent, now.Acked-before.Acked, now.Unknown-before.Unknown, now.Failed,
			now.Delivered-before.Delivered, now.Reconnects-before.Reconnects)
		before = now
	}
}

// supervise starts again what ended by itself, as whatever runs Starling would, and remembers it: nothing may.
func (r *rig) supervise(ctx context.Context) {
	for ticker := time.NewTicker(superviseTime); ; {
		select {
		case <-ctx.Done():
			ticker.Stop()
			return
		case <-ticker.C:
		}
		for _, name := range r.cluster.Crashed() {
			r.say("%s ended by itself; starting it again", name)
			r.problem("%s ended by itself at %.1fs", name, r.clock().Seconds())
			if err := r.cluster.Process(name).Start(); err != nil {
				r.problem("start %s: %v", name, err)
			}
		}
	}
}

// serviceTimes finds for each fault when all readiness endpoints said ready again.
func (r *rig) serviceTimes(ready []history.Time) {
	faults := r.history.Faults
	for i := range faults {
		at, _ := slices.BinarySearch(ready, faults[i].End)
		if at == len(ready) {
			continue
		}
		disturbed := slices.ContainsFunc(faults, func(other history.Fault) bool {
			return other.Start > faults[i].Start && other.Start > faults[i].End && other.Start < ready[at]
		})
		if !disturbed {
			faults[i].Service = ready[at]
		}
	}
}
