//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/starling-chat/starling/test/bench/internal/report"
	"github.com/starling-chat/starling/test/bench/internal/system"
	"github.com/starling-chat/starling/test/internal/launch"
	"github.com/starling-chat/starling/test/internal/proc"
)

func main() {
	var err error
	switch {
	case len(os.Args) == 3 && os.Args[1] == system.NATSCommand:
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		err = system.ServeNATS(ctx, os.Args[2], os.Stdout)
	case len(os.Args) == 2 && os.Args[1] == crowdCommand:
		signal.Ignore(os.Interrupt) // the end of the orders is the end
		err = runCrowd(os.Stdin, os.Stdout)
	default:
		var o *options
		o, err = parse(os.Args[1:], os.Getenv)
		if errors.Is(err, flag.ErrHelp) {
			return
		}
		if err == nil {
			err = run(o)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-million:", err)
		os.Exit(1)
	}
}

// million is one run.
type million struct {
	o      *options
	system *system.System
	crowds *crowds
	result *report.Result
	say    func(format string, args ...any)
}

// run starts everything, fills the gateways, and prints what was reached, also of a run that was cut short.
func run(o *options) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	started := time.Now()
	m := &million{o: o, result: &report.Result{Scenario: "million", System: "starling", Load: proc.Load()}}
	m.say = func(format string, args ...any) {
		fmt.Printf("%6.1fs  %s\n", time.Since(started).Seconds(), fmt.Sprintf(format, args...))
	}
	env := system.Env{
		DatabaseURL: o.databaseURL, PresenceScope: "rooms", Say: m.say,
		Settings: []string{"TRANSPORT=" + o.transport, "RECOVERY_BYTES=" + strconv.Itoa(4<<30)},
	}
	if env.Root, err = launch.Root(); err != nil {
		return err
	}
	if o.logFile != "" {
		f, err := os.Create(o.logFile) //nolint:gosec // the user names it
		if err != nil {
			return fmt.Errorf("open the log: %w", err)
		}
		env.Log = f // written to until the process ends
	}
	m.say("%d connections: %d gateways of %d, load %.2f", o.connections, o.gateways(), o.perProcess, m.result.Load)
	if m.system, err = system.Split(ctx, env, o.gateways()); err != nil {
		return err
	}
	defer func() {
		m.say("stopping")
		m.system.Stop(context.WithoutCancel(ctx))
	}()
	// A crowd ends with its orders. The context only bounds the whole.
	m.crowds, err = startCrowds(context.WithoutCancel(ctx), o, m.system, "million-"+strconv.FormatInt(started.UnixMilli(), 36))
	defer m.crowds.end()
	if err == nil {
		err = m.measure(ctx)
	}
	m.result.Took = time.Since(started)
	all := &report.Run{Started: started, Machine: hardware(), Options: o.settings(), Results: []*report.Result{m.result}}
	err = errors.Join(err, all.Print(os.Stdout))
	if o.json != "" {
		err = errors.Join(err, all.WriteJSON(o.json))
	}
	if o.html != "" {
		err = errors.Join(err, all.WriteHTML(o.html))
	}
	return err
}

func hardware() report.Machine {
	m := report.Machine{CPUs: runtime.NumCPU(), OS: runtime.GOOS, Arch: runtime.GOARCH, Go: runtime.Version()}
	m.Memory = machine("MemTotal:")
	return m
}

func (o *options) settings() map[string]string {
	return map[string]string{
		"connections": strconv.Itoa(o.connections), "per-gateway": strconv.Itoa(o.perProcess), "gateways": strconv.Itoa(o.gateways()),
		"pending": strconv.Itoa(o.pending), "room": strconv.Itoa(o.roomSize), "transport": o.transport, "reserve": strconv.Itoa(o.reserve),
	}
}

// measure fills the gateways, measures, and has everybody come back once.
func (m *million) measure(ctx context.Context) error {
	if err := m.pause(ctx, 2*time.Second); err != nil { // the processes have started, and what that took is given back
		return err
	}
	before := measure(m.system, m.crowds)
	start := time.Now()
	end, err := m.fill(ctx)
	if err != nil {
		return err
	}
	took := time.Since(start)
	if err := m.pause(ctx, m.o.settle); err != nil {
		return err
	}
	t, err := m.crowds.total()
	if err != nil {
		return err
	}
	r := m.result
	m.say("stopped growing: %s", end)
	r.Add("connections wanted", "", float64(m.o.connections), report.Neutral)
	r.Add("connections reached", "", float64(t.Open), report.Higher)
	r.Add("of them in a room", "", float64(t.Joined), report.Higher)
	r.Add("gateways", "", float64(len(m.crowds.all)), report.Neutral)
	r.Add("filling took", "s", took.Seconds(), report.Lower)
	r.Add("connects and joins", "1/s", float64(t.Open)/took.Seconds(), report.Higher)
	r.Add("turned away while filling", "", float64(t.Refused), report.Neutral)
	r.Add("lost while filling", "", float64(t.Lost), report.Lower)
	addMemory(r, before, measure(m.system, m.crowds), t.Open)
	if t.Open < int64(m.o.connections) {
		r.Problem("%d connections of %d: %s; the last trouble: %s", t.Open, m.o.connections, end, t.Problem)
	}
	if !m.o.reconnect {
		return nil
	}
	return m.reconnect(ctx, t)
}

// fill adds connections until there are as many as wanted, and says why it has stopped.
func (m *million) fill(ctx context.Context) (why string, err error) {
	for told := 0; told < m.o.connections; {
		if free := machine("MemAvailable:"); free < int64(m.o.reserve)<<20 {
			return fmt.Sprintf("%d MiB of memory are left", free>>20), nil
		}
		n, err := m.crowds.grow(min(m.o.step, m.o.connections-told))
		if err != nil {
			return "", err
		}
		if n == 0 {
			return "the gateways are full", nil
		}
		told += n
		reached, err := m.until(ctx, "connected and in a room", func(t status) bool {
			return t.Open >= int64(told) && (m.o.roomSize == 0 || t.Joined >= t.Open)
		})
		if err != nil {
			return "", err
		}
		if !reached {
			return fmt.Sprintf("nothing moved for %v", m.o.stalled), nil
		}
	}
	return "everybody is connected", nil
}

// until waits until done says so, or nothing moves any more. It prints how far it is.
func (m *million) until(ctx context.Context, what string, done func(status) bool) (reached bool, err error) {
	poll := time.NewTicker(tellEvery / 2)
	defer poll.Stop()
	var last status
	moved, said := time.Now(), time.Now()
	for {
		t, err := m.crowds.total()
		switch {
		case err != nil:
			return false, err
		case done(t):
			return true, nil
		case t.Open != last.Open || t.Joined != last.Joined:
			last, moved = t, time.Now()
		case time.Since(moved) > m.o.stalled:
			return false, nil
		}
		if time.Since(said) >= 5*time.Second {
			said = time.Now()
			m.say("  %d connected, %d in a room, %d turned away, %d lost, %d MiB of memory left (until all are %s)",
				t.Open, t.Joined, t.Refused, t.Lost, machine("MemAvailable:")>>20, what)
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
}

// reconnect cuts everybody off at once, and measures how long they take to be back.
func (m *million) reconnect(ctx context.Context, before status) error {
	m.say("all %d connections are cut off, and come back", before.Open)
	start := time.Now()
	if err := m.crowds.storm(); err != nil {
		return err
	}
	for _, part := range []struct {
		name string
		done func(status) bool
	}{
		{"half are back after", func(t status) bool { return t.Storms > before.Storms && t.Open >= before.Open/2 }},
		{"99 % are back after", func(t status) bool { return t.Storms > before.Storms && t.Open >= before.Open*99/100 }},
		{"all are back after", func(t status) bool { return t.Storms > before.Storms && t.Open >= before.Open }},
		{"all are back in their rooms after", func(t status) bool { return t.Open >= before.Open && t.Joined >= before.Joined }},
	} {
		reached, err := m.until(ctx, "back", part.done)
		if err != nil {
			return err
		}
		if !reached {
			m.result.Problem("not so, and nothing moved for %v: %s", m.o.stalled, part.name)
			break
		}
		m.result.Add(part.name, "s", time.Since(start).Seconds(), report.Lower)
	}
	t, err := m.crowds.total()
	m.result.Add("turned away while coming back", "", float64(t.Refused-before.Refused), report.Neutral)
	m.result.Add("lost while coming back", "", float64(t.Lost-before.Lost), report.Lower)
	m.result.Add("available memory when all are back", "MiB", float64(machine("MemAvailable:"))/(1<<20), report.Neutral)
	return err
}

// pause lets some time pass.
func (m *million) pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
