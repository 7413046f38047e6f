package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/starling-chat/starling/platform/heap"
	"github.com/starling-chat/starling/platform/obs"
	"github.com/starling-chat/starling/platform/settings"
)

// Exit codes of Main.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
)

// errSignal is the cause of the end of Main's context after a signal.
var errSignal = errors.New("stopped by a signal")

// Common holds the settings that every binary has. Main's cfg embeds it.
type Common struct {
	LogLevel        string        `name:"log-level" env:"LOG_LEVEL" default:"info" enum:"debug,info,warn,error" help:"Least severe level that is logged: debug, info, warn or error."`
	LogFormat       string        `name:"log-format" env:"LOG_FORMAT" default:"json" enum:"json,text" help:"Format of the log: json or text."`
	ShutdownTimeout time.Duration `name:"shutdown-timeout" env:"SHUTDOWN_TIMEOUT" default:"20s" help:"Longest time for an orderly stop, a duration; longer than any drain window."`
	HeapFloor       uint64        `name:"heap-floor-bytes" env:"HEAP_FLOOR_BYTES" default:"67108864" help:"Garbage is not collected before the heap has this size, in bytes; 0 leaves it to Go, as any GOGC but 100 does."`
	Check           bool          `name:"check" help:"Tell what is wrong with the settings, a line each, and exit without starting anything: with 0 when nothing is, 2 otherwise."`
	Healthcheck     bool          `name:"healthcheck" help:"Ask the running process at its admin address whether it is ready; exit with 0 if it is, 1 if not."`
}

func (c Common) common() Common { return c }

// Main parses the settings into cfg, a pointer to a struct that embeds Common,
// logs them, runs f and returns the exit code: 0 after a clean end, 1 when f
// fails, 2 when a setting is wrong, which f tells by a *settings.Wrong. f's context ends at the first signal.
//
// With --check it only tells what is wrong with the settings, and with those that Faults of cfg judges, where cfg has it.
func Main(name, about string, cfg any, f func(ctx context.Context, log *slog.Logger) error) int {
	return Command(name, about, os.Args[1:], cfg, f)
}

// Command is Main for one command of a program that has several: args are what follows the command's name.
func Command(name, about string, args []string, cfg any, f func(ctx context.Context, log *slog.Logger) error) int {
	if asksForCheck(args) {
		return check(os.Stderr, name, cfg, args)
	}
	if err := settings.Parse(name, about, cfg, args); err != nil {
		if errors.Is(err, settings.ErrHelp) {
			return exitOK
		}
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		return exitUsage
	}
	embedding, ok := cfg.(interface{ common() Common })
	if !ok {
		fmt.Fprintf(os.Stderr, "%s: the settings lack run.Common\n", name)
		return exitUsage
	}
	common := embedding.common()
	if common.Healthcheck {
		return healthcheck(cfg)
	}
	log, err := obs.NewLogger(os.Stderr, common.LogLevel, common.LogFormat)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		return exitUsage
	}
	log = log.With(slog.String("service", name))

	heap.HoldFloor(common.HeapFloor)
	ctx, stop := withSignals(context.Background(), log)
	defer stop()
	log.LogAttrs(ctx, slog.LevelInfo, "starting", settings.LogAttrs(cfg)...)
	err = f(ctx, log)
	if wrong, ok := errors.AsType[*settings.Wrong](err); ok {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, wrong)
		return exitUsage
	}
	if err != nil && (ctx.Err() == nil || !isContext(err)) {
		log.LogAttrs(ctx, slog.LevelError, "failed", slog.Any("error", err))
		return exitError
	}
	log.LogAttrs(ctx, slog.LevelInfo, "stopped")
	return exitOK
}

// asksForCheck looks for --check before the settings are read: they may be wrong.
func asksForCheck(args []string) bool {
	help := slices.ContainsFunc(args, func(arg string) bool { return arg == "--help" || arg == "-help" || arg == "-h" })
	return !help && slices.ContainsFunc(args, func(arg string) bool { return arg == "--check" || arg == "-check" })
}

// check tells what is wrong with the settings, and the exit code.
func check(w io.Writer, name string, cfg any, args []string) int {
	faults := settings.Check(name, cfg, args)
	if more, ok := cfg.(interface{ Faults() []string }); ok {
		faults = append(faults, more.Faults()...)
	}
	for _, fault := range faults {
		_, _ = fmt.Fprintf(w, "%s: %s\n", name, fault)
	}
	if len(faults) > 0 {
		return exitUsage
	}
	return exitOK
}

type forceStopKey struct{}

// ForceStop returns a channel that closes when the process was told a second time
// to stop, so that drains cut their windows short. It never closes for a
// context that does not come from Main.
func ForceStop(ctx context.Context) <-chan struct{} {
	force, _ := ctx.Value(forceStopKey{}).(chan struct{})
	return force
}

// withSignals returns a context that the first signal ends; stop releases the signals.
func withSignals(parent context.Context, log *slog.Logger) (_ context.Context, stop func()) {
	force := make(chan struct{})
	ctx, cancel := context.WithCancelCause(context.WithValue(parent, forceStopKey{}, force))
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for n := 1; ; n++ {
			select {
			case <-quit:
				return
			case s := <-signals:
				log.LogAttrs(ctx, slog.LevelInfo, "signal received", slog.String("signal", s.String()), slog.Int("count", n))
			}
			if n == 1 {
				cancel(errSignal)
				continue
			}
			close(force)
			signal.Stop(signals) // a third signal ends the process
			return
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(quit)
		<-done
		cancel(context.Canceled)
	}
}

func isContext(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errSignal)
}
