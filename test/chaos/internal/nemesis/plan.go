package nemesis

import (
	"cmp"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Shape is what a plan is made for.
type Shape struct {
	Seed     uint64
	Duration time.Duration
	Copies   int
	Nodes    int           // of NATS
	Pooler   bool          // PgBouncer is there
	Longest  time.Duration // of a SIGSTOP
	Nemeses  []string      // of Names
}

// Step is one fault of the plan.
type Step struct {
	At      time.Duration // since the start of the load
	For     time.Duration // until it is healed; of one that is over at once: 0
	Nemesis string
	Action  string
	Target  string
	Seed    uint64 // for choices that depend on what is there then, such as users

	beyond  time.Duration // how much longer than For it takes, about: a process that ends in order, one that recovers
	alone   bool          // nothing else may happen meanwhile, or its checks have nothing to look at
	touches []string      // processes whose copies must stay untouched meanwhile
	apply   apply
}

func (s Step) end() time.Duration { return s.At + s.For + s.beyond }

// Names lists all nemeses.
func Names() []string {
	return []string{"process", "nats", "postgres", "network", "slow", "disk", "storm", "time", "drain"}
}

const (
	firstFault = 2 * time.Second
	rest       = 2500 * time.Millisecond // before the end, so that the last fault is healed by then
	recovery   = 3 * time.Second         // a process that was disturbed counts as disturbed this much longer
	atOnce     = 2                       // faults that may overlap
)

// Plan makes the steps, by time.
func Plan(s Shape) []Step {
	r := rand.New(rand.NewPCG(s.Seed, 0x6e656d65736973)) //nolint:gosec // to be repeated, not to be secret
	decks := map[string]*deck{}
	for _, name := range s.Nemeses {
		decks[name] = &deck{cards: cards(s)[name]}
	}
	if len(s.Nemeses) == 0 {
		return nil
	}
	var (
		steps []Step
		round []string
	)
	finish := s.Duration - rest
	if d := decks["disk"]; d != nil {
		// The last fault is one of these: whether everything works without help when there is room again shows only in peace.
		last := d.draw(r)(r)
		last.Nemesis, last.Seed, last.At = "disk", r.Uint64(), finish-last.For-last.beyond
		steps, finish = append(steps, last), last.At-recovery
	}
	for at := firstFault; ; {
		if len(round) == 0 {
			round = slices.Clone(s.Nemeses)
			if len(steps) == 1 && len(round) > 1 {
				round = slices.DeleteFunc(round, func(name string) bool { return name == steps[0].Nemesis }) // it is the last one
			}
			if slices.Contains(round, "process") {
				round = append(round, "process") // it has the most actions by far
			}
			r.Shuffle(len(round), func(i, j int) { round[i], round[j] = round[j], round[i] })
		}
		name := round[0]
		round = round[1:]
		step := decks[name].draw(r)(r)
		step.Nemesis, step.Seed = name, r.Uint64()
		step.At = earliest(steps, step, at)
		if step.end() > finish {
			if at += time.Second; at > finish {
				break
			}
			continue
		}
		steps = append(steps, step)
		slices.SortStableFunc(steps, func(a, b Step) int { return cmp.Compare(a.At, b.At) })
		// The next one begins at a random moment of this one or soon after it.
		at = step.At + time.Duration(float64(step.For)*(0.4+0.7*r.Float64())) + between(r, 300*time.Millisecond, 1200*time.Millisecond)
	}
	return steps
}

// earliest is the first moment from at on when the step may overlap with those that there are.
func earliest(steps []Step, step Step, at time.Duration) time.Duration {
	for ; ; at += 100 * time.Millisecond {
		overlapping := 0
		for _, other := range steps {
			end := at + step.For + step.beyond
			if at <= other.end() && other.At <= end {
				overlapping++
				if step.alone || other.alone {
					overlapping = atOnce
				}
			}
			if other.At < end+recovery && at < other.end()+recovery && collide(step, other) {
				overlapping = atOnce
			}
		}
		if overlapping < atOnce {
			return at
		}
	}
}

// collide reports whether both take copies of the same service.
func collide(a, b Step) bool {
	for _, x := range a.touches {
		for _, y := range b.touches {
			if kind(x) == kind(y) {
				return true
			}
		}
	}
	return false
}

func kind(process string) string {
	name, _, _ := strings.Cut(process, "-")
	return name
}

// card makes one action.
type card func(*rand.Rand) Step

type deck struct {
	cards []card
	left  []card
}

func (d *deck) draw(r *rand.Rand) card {
	if len(d.left) == 0 {
		d.left = slices.Clone(d.cards)
		r.Shuffle(len(d.left), func(i, j int) { d.left[i], d.left[j] = d.left[j], d.left[i] })
	}
	c := d.left[0]
	d.left = d.left[1:]
	return c
}

func between(r *rand.Rand, low, high time.Duration) time.Duration {
	return (low + time.Duration(r.Int64N(int64(max(high-low, 1))))).Round(10 * time.Millisecond)
}

// Print shows a plan whose times count from begin on the run's clock.
func Print(w io.Writer, steps []Step, begin time.Duration) {
	for _, s := range steps {
		_, _ = fmt.Fprintf(w, "  %7.2fs  %-8s  %-28s %-24s", (s.At + begin).Seconds(), s.Nemesis, s.Action, s.Target)
		if s.For > 0 {
			_, _ = fmt.Fprintf(w, " for %.2fs", s.For.Seconds())
		}
		_, _ = fmt.Fprintln(w)
	}
}
