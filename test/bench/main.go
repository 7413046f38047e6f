//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/starling-chat/starling/test/bench/internal/inboxes"
	"github.com/starling-chat/starling/test/bench/internal/report"
	"github.com/starling-chat/starling/test/bench/internal/scenario"
	"github.com/starling-chat/starling/test/bench/internal/system"
	"github.com/starling-chat/starling/test/internal/launch"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == system.NATSCommand {
		os.Exit(exit(serveNATS(os.Args[2])))
	}
	if len(os.Args) == 2 && os.Args[1] == inboxes.Command {
		signal.Ignore(os.Interrupt) // the end of the orders is the end
		os.Exit(exit(inboxes.Serve(os.Stdin, os.Stdout)))
	}
	o, err := parse(os.Args[1:], os.Getenv)
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(0)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	os.Exit(exit(run(o)))
}

func exit(err error) (code int) {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "bench:", err)
	return 1
}

// errProblems makes the exit code 1: some results are not to be believed.
var errProblems = errors.New("there were problems, see above")

// run starts the systems, runs the scenarios on each in turn, and prints the results, also those of a run that was cut short.
func run(o *options) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()

	result := &report.Run{Started: time.Now(), Machine: machine(), Options: o.settings()}
	say := func(format string, args ...any) {
		fmt.Printf("%6.1fs  %s\n", time.Since(result.Started).Seconds(), fmt.Sprintf(format, args...))
	}
	systems, err := start(ctx, o, say)
	defer func() {
		for _, s := range systems {
			say("stopping %s", s.Name)
			s.Stop(context.WithoutCancel(ctx))
		}
	}()
	if err != nil {
		return err
	}
	err = runScenarios(ctx, o, systems, say, result)
	if len(systems) == 2 {
		result.Compare(systems[0].Name, systems[1].Name)
	}
	err = errors.Join(err, result.Print(os.Stdout))
	if o.json != "" {
		err = errors.Join(err, result.WriteJSON(o.json))
	}
	if o.html != "" {
		err = errors.Join(err, result.WriteHTML(o.html))
	}
	if result.Failed() {
		err = errors.Join(err, errProblems)
	}
	return err
}

// start starts what the flags ask for; what has started is returned also with an error.
func start(ctx context.Context, o *options, say func(string, ...any)) (systems []*system.System, err error) {
	env := system.Env{DatabaseURL: o.databaseURL, Binary: o.binary, PresenceScope: o.PresenceScope, Say: say}
	if o.logFile != "" {
		f, err := os.Create(o.logFile)
		if err != nil {
			return nil, fmt.Errorf("open the log: %w", err)
		}
		env.Log = f // written to until the process ends
	}
	if o.Profile != "" {
		if err := os.MkdirAll(o.Profile, 0o755); err != nil { //nolint:gosec // profiles are for everyone
			return nil, fmt.Errorf("make the folder for profiles: %w", err)
		}
	}
	if o.urls == "" || o.reference || o.onlyRef {
		if env.Root, err = launch.Root(); err != nil {
			return nil, err
		}
	}
	var starts []func() (*system.System, error)
	switch {
	case o.onlyRef:
	case o.urls != "":
		systems = append(systems, system.External("starling", o.addresses, o.secret, o.pid, o.admin))
	case o.split:
		starts = append(starts, func() (*system.System, error) { return system.Split(ctx, env, o.gateways) })
	default:
		starts = append(starts, func() (*system.System, error) { return system.Local(ctx, env, o.gateways) })
	}
	if o.reference || o.onlyRef {
		starts = append(starts, func() (*system.System, error) { return system.Reference(ctx, env) })
	}
	for _, f := range starts {
		s, err := f()
		if err != nil {
			return systems, err
		}
		systems = append(systems, s)
	}
	return systems, nil
}

func runScenarios(ctx context.Context, o *options, systems []*system.System, say func(string, ...any), result *report.Run) error {
	id := strconv.FormatInt(result.Started.UnixMilli(), 36)
	for _, s := range systems {
		b := &scenario.Bench{Options: o.Options, System: s, Run: id + "-ready", Say: say}
		if err := b.Await(ctx); err != nil {
			return err
		}
	}
	for _, name := range o.names {
		for _, s := range systems {
			b := &scenario.Bench{Options: o.Options, System: s, Run: id, Say: say}
			r, err := b.Do(ctx, name)
			if r != nil && (len(r.Figures) > 0 || len(r.Problems) > 0) {
				result.Results = append(result.Results, r)
			}
			if err != nil {
				return fmt.Errorf("%s on %s: %w", name, s.Name, err)
			}
			if log := s.Log(); len(r.Problems) > 0 && log != "" {
				say("%s printed:\n%s", s.Name, log)
			}
		}
	}
	return nil
}

func (o *options) settings() map[string]string {
	return map[string]string{
		"conns": strconv.Itoa(o.Conns), "rooms": strconv.Itoa(o.Rooms), "window": strconv.Itoa(o.Window),
		"idle": strconv.Itoa(o.IdleConns), "rate": strconv.Itoa(o.Rate), "pace": strconv.Itoa(o.Pace), "duration": o.Duration.String(),
		"warmup": o.Warmup.String(), "gateways": strconv.Itoa(o.gateways), "split": strconv.FormatBool(o.split),
		"pending": strconv.Itoa(o.Pending), "inbox-users": strconv.Itoa(o.InboxUsers), "inbox-rooms": strconv.Itoa(o.InboxRooms),
		"inbox-rate": strconv.Itoa(o.InboxRate),
	}
}

func machine() report.Machine {
	m := report.Machine{CPUs: runtime.NumCPU(), OS: runtime.GOOS, Arch: runtime.GOARCH, Go: runtime.Version()}
	var info syscall.Sysinfo_t
	if err := syscall.Sysinfo(&info); err == nil {
		m.Memory = int64(info.Totalram) * int64(info.Unit) //nolint:gosec // fits
	}
	return m
}

// serveNATS is the process that -split starts for NATS: it prints the address and serves until it is told to end.
func serveNATS(dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return system.ServeNATS(ctx, dir, io.Writer(os.Stdout))
}
