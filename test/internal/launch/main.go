package launch

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// Exit codes that all rigs share; 1 is for what a rig was to find.
const (
	ExitUsage  = 2
	ExitBroken = 3 // the rig could not do its work
)

// Main is a rig's main function: it reads the flags and calls run, whose context ends at the first signal. It gives the exit code.
func Main[Options any](name string, parse func(args []string) (Options, error), run func(ctx context.Context, o Options) (code int)) (code int) {
	o, err := parse(os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		_, _ = fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		return ExitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return run(ctx, o)
}
