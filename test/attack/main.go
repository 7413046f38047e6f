//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/starling-chat/starling/test/internal/launch"
)

// options are the flags.
type options struct {
	short    bool
	each     time.Duration
	only     []string
	verbose  bool
	within   time.Duration // for the others' sends
	binary   string
	memory   int64 // bytes
	baseline time.Duration
}

// The form for continuous integration takes less than a minute when deploy/local is built.
const (
	fullEach, shortEach         = 15 * time.Second, 2 * time.Second
	fullWithin, shortWithin     = time.Second, 3 * time.Second // CI's machines do other things beside
	fullBaseline, shortBaseline = 10 * time.Second, 3 * time.Second
	defaultMemory               = 256 // MiB
)

func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("attack", flag.ContinueOnError)
	flags.Usage = func() {
		_, _ = fmt.Fprintln(flags.Output(), "usage: make attack ARGS=\"-only logins,floods\"\n\nEach flag with its default:")
		flags.PrintDefaults()
	}
	flags.BoolVar(&o.short, "short", false, fmt.Sprintf("the form for CI: -each %v -within %v unless given (default false)", shortEach, shortWithin))
	flags.DurationVar(&o.each, "each", fullEach, "`time` that each attack lasts")
	flags.DurationVar(&o.within, "within", fullWithin, "`time` in which the others' sends have to be acknowledged, or five times what they take without an attack, if that is more")
	memory := flags.Int64("memory", defaultMemory, "`MiB` that Starling may take during one attack beside what it had before, and twice as many during all")
	only := flags.String("only", "", "comma-separated `list` of "+strings.Join(names(), ", ")+" (default all)")
	flags.StringVar(&o.binary, "binary", "", "`file` of a built deploy/local (default: it is built)")
	flags.BoolVar(&o.verbose, "v", false, "show the log of the system (default false)")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	o.baseline, o.memory = fullBaseline, *memory<<20
	if o.short {
		o.baseline = shortBaseline
		if !given["each"] {
			o.each = shortEach
		}
		if !given["within"] {
			o.within = shortWithin
		}
	}
	if *only != "" {
		o.only = strings.Split(*only, ",")
	}
	for _, name := range o.only {
		if !slices.Contains(names(), name) {
			return o, fmt.Errorf("-only: %q is none of %s", name, strings.Join(names(), ", "))
		}
	}
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("%q is not a flag", flags.Arg(0))
	case o.each < time.Second || o.within <= 0 || o.memory <= 0:
		return o, errors.New("-each must be 1s or more, -within and -memory above 0")
	}
	return o, nil
}

// exitHurt is the exit code when an attack took something from others.
const exitHurt = 1

func main() { os.Exit(launch.Main("attack", parse, runAll)) }

func runAll(ctx context.Context, o options) int {
	hurt, err := run(ctx, o)
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "attack:", err)
		return launch.ExitBroken
	}
	if hurt > 0 {
		fmt.Printf("\n%d of the attacks took something from others\n", hurt)
		return exitHurt
	}
	fmt.Println("\nno attack took anything from others")
	return 0
}
