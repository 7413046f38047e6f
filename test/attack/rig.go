//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/starling-chat/starling/test/internal/proc"
	"github.com/starling-chat/starling/test/internal/standstill"
)

const (
	settleTime  = 500 * time.Millisecond // between attacks
	sampleEvery = 100 * time.Millisecond // memory
	slackest    = 4                      // times the limit, when an attack is judged again
	mostTries   = 5                      // of what was tried while the machine stood still
	longStall   = 500 * time.Millisecond // in all, for which a machine that stood still may be what hurt
)

// attack is one thing that a stranger does. run does it until ctx ends, and tells what it did and what was done to it; the error says
// that what the attack looks for was found.
type attack struct {
	name   string
	floods bool // it has to be ended by 1008
	run    func(ctx context.Context, t *target) (did string, err error)
}

// attacks are all of them, in their order.
func attacks() []attack {
	return []attack{
		{"handshakes", false, refusedHandshakes},
		{"slowbodies", false, slowBodies},
		{"slowlogins", false, slowLogins},
		{"frames", false, unfinishedFrames},
		{"attachments", false, unfinishedAttachments},
		{"logins", false, loginFlood},
		{"badconnects", true, badConnects},
		{"cycles", true, connectCycles},
		{"events", true, refusedEvents},
		{"pongs", true, pongFlood},
		{"addresses", false, addressLimits},
		{"tunnels", false, tunnelFlood},
	}
}

func names() []string {
	list := []string{slowLinksName}
	for _, a := range attacks() {
		list = append(list, a.name)
	}
	return list
}

func (o options) wants(name string) bool { return len(o.only) == 0 || slices.Contains(o.only, name) }

// run runs the attacks and tells how many of them hurt somebody.
func run(ctx context.Context, o options) (hurt int, err error) {
	dir, err := os.MkdirTemp("", "starling-attack-")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	t, err := startTarget(ctx, o, dir)
	if err != nil {
		return 0, err
	}
	defer t.stop(ctx)
	if o.short {
		t.enough = closedForGood
	}
	began := time.Now()
	stalls := standstill.New(func() time.Duration { return time.Since(began) })
	r := &rig{options: o, target: t, measure: newMeasure(), stalled: func(since time.Time) time.Duration { return stalls.Since(since.Sub(began)) }}
	others := &others{target: t, measure: r.measure}
	othersCtx, stopOthers := context.WithCancel(ctx)
	defer others.running.Wait()
	others.running.Go(func() { stalls.Run(othersCtx) })
	defer stopOthers()
	if err := others.start(othersCtx); err != nil {
		return 0, err
	}
	if err := r.baseline(ctx); err != nil {
		return 0, err
	}
	slow := r.startSlowLinks(ctx)
	for _, a := range attacks() {
		if o.wants(a.name) && ctx.Err() == nil {
			hurt += r.judge(ctx, a)
		}
	}
	hurt += r.slowLinks(ctx, slow, began)
	hurt += r.grown()
	return hurt, ctx.Err()
}

// rig is a run.
type rig struct {
	options
	target  *target
	measure *measure
	limits  limits
	stalled func(since time.Time) time.Duration // how long the machine stood still
	memory  int64                               // bytes, before the attacks
	peak    int64                               // bytes, at most
}

// baseline measures others without an attack.
func (r *rig) baseline(ctx context.Context) error {
	if err := pause(ctx, settleTime); err != nil { // what starting cost
		return err
	}
	f, err := r.quiet(ctx)
	if err != nil {
		return err
	}
	r.memory = proc.Memory(r.target.process.PID(), proc.Resident)
	r.limits = limits{within: r.within, memory: r.options.memory}
	if f.disturbed() {
		return fmt.Errorf("without any attack: %s; %s", f, strings.Join(r.limits.hurt(f, 0), "; "))
	}
	r.limits = r.limits.after(f)
	r.target.within = r.limits.within
	fmt.Printf("Each line: what others felt (median/99th percentile/slowest, how often), Starling's memory and CPU, what the attack did.\n"+
		"Limits: sends %v, memory +%d MiB; load %.1f.\n\n%-8s %-12s %s, memory %d MiB\n",
		r.limits.within, r.limits.memory>>20, proc.Load(), "", "no attack", f, r.memory>>20)
	return nil
}

// quiet measures others without an attack, again where somebody had to suffer nevertheless while the machine stood still.
func (r *rig) quiet(ctx context.Context) (f figures, err error) {
	for try := 1; ; try++ {
		began := time.Now()
		r.measure.take()
		if err := pause(ctx, r.options.baseline); err != nil {
			return f, err
		}
		if f = r.measure.take(); !f.disturbed() || try == mostTries || r.stalled(began) < longStall {
			return f, nil
		}
	}
}

// judge runs an attack, and once more when somebody was hurt, by limits of that moment: a machine that others use may have been slow
// meanwhile, which is no fault; a fault is there the second time, too. A try in which the machine stood still counts for nothing then.
func (r *rig) judge(ctx context.Context, a attack) int {
	for try := 1; ; try++ {
		began := time.Now()
		hurt := r.twice(ctx, a)
		stalled := r.stalled(began)
		if hurt == 0 || try == mostTries || stalled < longStall || ctx.Err() != nil {
			return hurt
		}
		fmt.Printf("%-8s %-12s the machine stood still for %v: all over again\n", "", "", stalled.Round(time.Millisecond))
	}
}

func (r *rig) twice(ctx context.Context, a attack) int {
	if r.attack(ctx, a) == 0 || ctx.Err() != nil {
		return 0
	}
	first := r.limits
	r.measure.take()
	_ = pause(ctx, shortBaseline)
	quiet := r.measure.take()
	r.limits = first.after(quiet)
	r.limits.within = min(r.limits.within, slackest*first.within)
	r.target.within = r.limits.within
	defer func() { r.limits, r.target.within = first, first.within }()
	fmt.Printf("%-8s %-12s %s; limit %v, load %.1f: once more\n", "", "no attack", quiet, r.limits.within, proc.Load())
	return r.attack(ctx, a)
}

// attack runs one attack and prints its line; it returns 1 when somebody was hurt.
func (r *rig) attack(ctx context.Context, a attack) int {
	pid := r.target.process.PID()
	cpu, own, memory, began := proc.CPU(pid), proc.CPU(os.Getpid()), proc.Memory(pid, proc.Resident), time.Now()
	each := r.each
	if r.short && a.floods {
		each *= 4 // at most: it ends when it is ended
	}
	bounded, cancel := context.WithTimeout(ctx, each)
	peak := r.watchMemory(bounded, pid)
	did, err := a.run(bounded, r.target)
	if left := r.each - time.Since(began); left > 0 { // who was done early gives others time to feel it
		_ = pause(bounded, left)
	}
	cancel()
	took := time.Since(began)
	used, ours := 100*(proc.CPU(pid)-cpu)/took, 100*(proc.CPU(os.Getpid())-own)/took
	most := peak()
	r.peak = max(r.peak, most)
	grown := most - max(memory, r.memory) // what the attack before took goes back to the machine by and by
	f := r.measure.take()
	_ = pause(ctx, settleTime)
	r.measure.take()
	found := r.limits.hurt(f, grown)
	if err != nil {
		found = append(found, err.Error())
	}
	if ended := r.target.process.Ended(); ended != nil {
		found = append(found, ended.Error())
	}
	verdict, result := "repelled", 0
	if len(found) > 0 {
		verdict, result = "HURT", 1
	}
	fmt.Printf("%-8s %-12s %s, memory %+d MiB, CPU %d %% beside %d %% of the attackers: %s\n", verdict, a.name, f, grown>>20, used, ours, did)
	for _, what := range found {
		fmt.Printf("%-8s %-12s %s\n", "", "", what)
	}
	return result
}

// grown prints what all attacks together took; it returns 1 when that was too much.
func (r *rig) grown() int {
	verdict, hurt := "bounded", 0
	if r.peak-r.memory > 2*r.limits.memory {
		verdict, hurt = "HURT", 1
	}
	fmt.Printf("%-8s %-12s %d MiB before the attacks, %d MiB at most\n", verdict, "memory", r.memory>>20, r.peak>>20)
	return hurt
}

// watchMemory samples the memory of a process until ctx ends; the function gives the most.
func (r *rig) watchMemory(ctx context.Context, pid int) (peak func() int64) {
	var most atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			most.Store(max(most.Load(), proc.Memory(pid, proc.Resident)))
			if pause(ctx, sampleEvery) != nil {
				return
			}
		}
	}()
	return func() int64 { <-done; return most.Load() }
}
