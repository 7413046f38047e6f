package main

import (
	"testing"

	"github.com/starling-chat/starling/test/chaos/internal/check"
)

// TestJudge: a sabotage is noticed by the invariant that it breaks, and by no other.
func TestJudge(t *testing.T) {
	violated := func(number int) verdict { return verdict{results: []check.Result{{Number: number, Count: 1}}} }
	for _, c := range []struct {
		sabotage string
		found    verdict
		good     bool
	}{
		{"", verdict{}, true},
		{"", violated(9), false},
		{"", verdict{problems: []string{"not quiet"}}, false},
		{"ack-before-commit", violated(1), true},
		{"ack-before-commit", violated(14), false},
		{"ack-before-commit", verdict{problems: []string{"not quiet"}}, false},
		{"no-outbox", violated(14), true},
		{"no-outbox", verdict{}, false},
		{"no-eviction", violated(10), true},
		{"no-eviction", violated(4), false},
		{"edit-skips-changed", violated(16), true},
		{"edit-skips-changed", violated(5), false},
		{"late-activity", violated(20), true},
		{"late-activity", violated(18), false},
		{"no-gap-repair", violated(4), true},
		{"no-gap-repair", violated(8), true},
		{"no-gap-repair", violated(11), false},
	} {
		o := options{sabotage: c.sabotage}
		if text, good := o.judge(c.found); good != c.good {
			t.Errorf("sabotage %q, found %v: %q, good %t", c.sabotage, c.found, text, good)
		}
	}
}
