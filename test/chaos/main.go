package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/starling-chat/starling/test/chaos/internal/nemesis"
	"github.com/starling-chat/starling/test/internal/launch"
)

// options are the flags.
type options struct {
	seed     uint64
	duration time.Duration
	clients  int
	rooms    int
	rate     int
	nodes    int
	copies   int
	pooler   bool
	nemeses  []string
	sabotage string
	keep     bool
	check    string
	table    string
	out      string
	runs     int
	soak     bool
}

// sabotages are the ways in which the product can be broken on purpose.
func sabotages() []string {
	return []string{"ack-before-commit", "no-outbox", "no-gap-repair", "no-eviction", "no-log-repair", "edit-skips-changed", "late-activity"}
}

// The form for continuous integration; building included it takes about 75 s.
const (
	shortDuration = 30 * time.Second
	shortClients  = 60
	shortRooms    = 12
	shortRate     = 60
)

// soakFrom is the duration from which on stops last up to half a minute.
const soakFrom = 10 * time.Minute

func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("chaos", flag.ContinueOnError)
	flags.Usage = func() {
		_, _ = fmt.Fprintln(flags.Output(), "usage: make chaos ARGS=\"-seed 7\"\n\nEach flag with its default:")
		flags.PrintDefaults()
	}
	flags.Uint64Var(&o.seed, "seed", 0, "`number` that the plan, the workload and all choices follow from; 0 takes a random one (default 0)")
	flags.DurationVar(&o.duration, "duration", time.Minute, "`time` with faults; start, 17s without faults and up to 20s of quiet come on top")
	flags.IntVar(&o.clients, "clients", 200, "`number` of clients, up to 500")
	flags.IntVar(&o.rooms, "rooms", 50, "`number` of rooms; the first is hot")
	flags.IntVar(&o.rate, "rate", 200, "messages a second, of all clients together, a `number`")
	flags.IntVar(&o.nodes, "nodes", 3, "`number` of NATS servers, 1 or 3")
	flags.IntVar(&o.copies, "copies", 2, "`number` of gateways, and of each service")
	flags.BoolVar(&o.pooler, "pooler", false, "run PgBouncer between the services and PostgreSQL, and disturb that too (default false)")
	list := flags.String("nemeses", "all", "comma-separated `list` of "+strings.Join(nemesis.Names(), ", ")+"; all; or none")
	flags.StringVar(&o.sabotage, "sabotage", "", "break the product on purpose, a `mode` of "+strings.Join(sabotages(), ", ")+"; the run must then find violations (default none)")
	flags.BoolVar(&o.keep, "keep", false, "keep history and logs of a run without violations too (default false)")
	flags.StringVar(&o.check, "check", "", "check the history in a `file` again, and run nothing (default none)")
	flags.StringVar(&o.table, "table", "", "print a Markdown table of the runs whose reports lie in a `folder`, and run nothing (default none)")
	flags.StringVar(&o.out, "out", "test/chaos/results", "`folder` for reports, and for history and logs of failed runs")
	flags.IntVar(&o.runs, "runs", 1, "`number` of runs, with seeds from -seed on")
	short := flags.Bool("short", false, fmt.Sprintf("the form for CI: -duration %v -clients %d -rooms %d -rate %d -nodes 1 unless given (default false)", shortDuration, shortClients, shortRooms, shortRate))
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if *short {
		o.shorten(given)
	}
	if o.seed == 0 {
		o.seed = rand.Uint64N(1 << 32) //nolint:gosec // to be typed again, not to be secret
	}
	o.soak = o.duration >= soakFrom
	return o, o.validate(*list, flags.Args())
}

func (o *options) shorten(given map[string]bool) {
	if !given["duration"] {
		o.duration = shortDuration
	}
	for name, set := range map[string]struct {
		field *int
		value int
	}{"clients": {&o.clients, shortClients}, "rooms": {&o.rooms, shortRooms}, "rate": {&o.rate, shortRate}, "nodes": {&o.nodes, 1}} {
		if !given[name] {
			*set.field = set.value
		}
	}
}

func (o *options) validate(list string, rest []string) error {
	switch list {
	case "all":
		o.nemeses = nemesis.Names()
	case "none", "":
	default:
		for name := range strings.SplitSeq(list, ",") {
			if name = strings.TrimSpace(name); !slices.Contains(nemesis.Names(), name) {
				return fmt.Errorf("-nemeses: %q is none of %s", name, strings.Join(nemesis.Names(), ", "))
			}
			o.nemeses = append(o.nemeses, name)
		}
	}
	switch {
	case len(rest) > 0:
		return fmt.Errorf("%q is not a flag", rest[0])
	case o.nodes != 1 && o.nodes != 3:
		return errors.New("-nodes must be 1 or 3")
	case o.copies < 1 || o.copies > 5:
		return errors.New("-copies must be 1 to 5")
	case o.clients < 2 || o.clients > 500:
		return errors.New("-clients must be 2 to 500")
	case o.rooms < 1 || o.rate < 1 || o.runs < 1:
		return errors.New("-rooms, -rate and -runs must be 1 or more")
	case o.duration < 5*time.Second:
		return errors.New("-duration must be 5s or more")
	case o.sabotage != "" && !slices.Contains(sabotages(), o.sabotage):
		return fmt.Errorf("-sabotage: %q is none of %s", o.sabotage, strings.Join(sabotages(), ", "))
	}
	return nil
}

// again is the command that repeats a run.
func (o *options) again(seed uint64) string {
	list := strings.Join(o.nemeses, ",")
	if len(o.nemeses) == len(nemesis.Names()) {
		list = "all"
	} else if list == "" {
		list = "none"
	}
	args := fmt.Sprintf("-seed %d -duration %v -clients %d -rooms %d -rate %d -nodes %d -copies %d -nemeses %s", seed, o.duration, o.clients, o.rooms, o.rate, o.nodes, o.copies, list)
	if o.pooler {
		args += " -pooler"
	}
	if o.sabotage != "" {
		args += " -sabotage " + o.sabotage
	}
	return `make chaos ARGS="` + args + `"`
}

// exitViolations is the exit code when a promise was broken.
const exitViolations = 1

func main() { os.Exit(launch.Main("chaos", parse, carryOut)) }

func carryOut(ctx context.Context, o options) int {
	if o.check != "" {
		return recheck(o.check)
	}
	if o.table != "" {
		return table(o.table)
	}
	return runAll(ctx, o)
}

// expected are the invariants of which a sabotage has to break one.
func expected(sabotage string) []int {
	switch sabotage {
	case "ack-before-commit":
		return []int{1}
	case "no-outbox":
		return []int{14}
	case "no-eviction":
		return []int{10}
	case "no-log-repair":
		return []int{15}
	case "edit-skips-changed":
		return []int{16}
	case "late-activity":
		return []int{20}
	default: // no-gap-repair
		return []int{4, 8}
	}
}

// judge says how a run went: what it found is good news when the product was broken on purpose.
func (o *options) judge(v verdict) (text string, good bool) {
	violations := v.String()
	switch {
	case o.sabotage != "" && !slices.ContainsFunc(expected(o.sabotage), v.violates):
		return strings.TrimSuffix("sabotage was NOT NOTICED: "+violations, ": "), false
	case o.sabotage != "":
		return "sabotage noticed: " + violations, true
	case violations == "":
		return "ok", true
	}
	return violations, false
}

// runAll does the runs, one after the other, and sums them up.
func runAll(ctx context.Context, o options) int {
	code := 0
	var table []string
	for i := range uint64(o.runs) { //nolint:gosec // small
		seed := o.seed + i
		found, err := newRig(o, seed).run(ctx)
		var verdict string
		if err != nil {
			_, _ = fmt.Fprintf(os.Stderr, "chaos: seed %d: %v\n", seed, err)
			verdict, code = "could not be run: "+err.Error(), launch.ExitBroken
		} else {
			var good bool
			if verdict, good = o.judge(found); !good && code == 0 {
				code = exitViolations
			}
			if !good {
				verdict += "\n            again: " + o.again(seed)
			}
		}
		table = append(table, fmt.Sprintf("%10d  %s", seed, verdict))
		if ctx.Err() != nil {
			break
		}
	}
	fmt.Printf("\n%10s  verdict\n%s\n", "seed", strings.Join(table, "\n"))
	return code
}
