package nemesis

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/starling-chat/starling/test/chaos/internal/cluster"
)

func shape(seed uint64) Shape {
	return Shape{Seed: seed, Duration: time.Minute, Copies: 2, Nodes: 3, Pooler: seed%2 == 1, Longest: 10 * time.Second, Nemeses: Names()}
}

func printed(s Shape) string {
	var b bytes.Buffer
	Print(&b, Plan(s), 0)
	return b.String()
}

func TestPlanFollowsFromSeed(t *testing.T) {
	if a, b := printed(shape(7)), printed(shape(7)); a != b {
		t.Errorf("two plans of seed 7 differ:\n%s\n%s", a, b)
	}
	if printed(shape(7)) == printed(shape(8)) {
		t.Error("the plans of seeds 7 and 8 are the same")
	}
}

// TestNoNemeses: a run without faults is one, too.
func TestNoNemeses(t *testing.T) {
	s := shape(7)
	s.Nemeses = nil
	if steps := Plan(s); len(steps) > 0 {
		t.Errorf("Plan = %v, want nothing", steps)
	}
}

// TestPlanKeepsItsPromises looks at many plans: every nemesis comes up, no more than two faults overlap, no two faults take copies
// of the same service, and all are over before the end.
func TestPlanKeepsItsPromises(t *testing.T) {
	for seed := range uint64(200) {
		s := shape(seed)
		steps := Plan(s)
		for _, name := range Names() {
			if !slices.ContainsFunc(steps, func(step Step) bool { return step.Nemesis == name }) {
				t.Errorf("seed %d: no %s in\n%s", seed, name, printed(s))
			}
		}
		for i, a := range steps {
			if a.end() > s.Duration-rest {
				t.Errorf("seed %d: %s %s is not over at the end", seed, a.Action, a.Target)
			}
			at := 0
			for j, b := range steps {
				if b.At <= a.At && a.At < b.end() {
					at++
				}
				if i < j && a.At < b.end() && b.At < a.end() && (a.alone || b.alone || collide(a, b)) {
					t.Errorf("seed %d: %s %s and %s %s at once", seed, a.Action, a.Target, b.Action, b.Target)
				}
			}
			if at > atOnce {
				t.Errorf("seed %d: %d faults at once at %v", seed, at, a.At)
			}
		}
	}
}

// TestEveryActionComesUp looks at a plan of half an hour.
func TestEveryActionComesUp(t *testing.T) {
	s := shape(1)
	s.Duration = 30 * time.Minute
	text := printed(s)
	for name, deck := range cards(s) {
		if len(deck) == 0 {
			t.Errorf("%s has no actions", name)
		}
	}
	for _, action := range []string{
		"kill -9 ", "kill -9 of a pair", "SIGSTOP", "SIGTERM ", "SIGTERM under load", "restart", "wipe the store", "kill -9 of the leader",
		"kill -9 of the majority", "stop immediate", "stop fast", "terminate all backends", "exhaust connections", "black hole",
		"one-way black hole, requests", "one-way black hole, answers", "latency", "1-byte slices", "clients stop reading",
		"stall the bus", "no space left", "drop every socket", "revoke users",
	} {
		if !strings.Contains(text, action) {
			t.Errorf("no %q in half an hour", action)
		}
	}
	if s.Pooler = false; !strings.Contains(text, cluster.PoolerName) || strings.Contains(printed(s), cluster.PoolerName) {
		t.Error("the pooler is disturbed where there is none, or never where there is one")
	}
}
