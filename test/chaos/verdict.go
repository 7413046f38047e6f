package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/starling-chat/starling/test/chaos/internal/check"
)

// verdict is what a run came to.
type verdict struct {
	results  []check.Result
	problems []string
}

// violates tells whether an invariant does not hold.
func (v verdict) violates(number int) bool {
	return slices.ContainsFunc(v.results, func(r check.Result) bool { return r.Number == number && r.Count > 0 })
}

// String is empty when no promise was broken.
func (v verdict) String() string {
	var wrong []string
	for _, r := range v.results {
		if r.Count > 0 {
			wrong = append(wrong, fmt.Sprintf("%d (%d×)", r.Number, r.Count))
		}
	}
	return strings.Join(append(wrong, v.problems...), ", ")
}

// judge checks, writes the reports and says what is wrong.
func (r *rig) judge() (verdict, error) {
	r.enter("checking")
	failed := r.load.Status().Failed
	for _, code := range slices.Sorted(maps.Keys(failed)) {
		if strings.HasPrefix(code, "stray:") || strings.HasPrefix(code, "unreadable:") || strings.HasPrefix(code, "token:") {
			r.problem("clients got what they should not: %s, %d times", code, failed[code])
		}
	}
	if r.history.Keys < 2 {
		r.problem("the keys that sign tokens did not rotate")
	}
	r.mu.Lock()
	r.history.Problems = r.problems
	r.mu.Unlock()
	results := check.Run(r.history)
	wrong := r.print(results)
	return verdict{results, r.history.Problems}, r.write(results, len(wrong)+len(r.history.Problems) > 0)
}

// print lists the results and returns those that are violated.
func (r *rig) print(results []check.Result) (wrong []string) {
	for _, result := range results {
		state := "ok"
		switch {
		case result.Count > 0:
			state = fmt.Sprintf("%d VIOLATIONS", result.Count)
			wrong = append(wrong, fmt.Sprintf("%d (%d×)", result.Number, result.Count))
		case result.Skipped:
			state = "nothing to look at"
		}
		fmt.Printf("  %2d  %-70s %8d checked  %s\n", result.Number, result.Name, result.Checked, state)
		for _, v := range result.Violations[:min(len(result.Violations), 3)] {
			fmt.Printf("        %s\n", v)
		}
		if result.Note != "" {
			fmt.Printf("        note: %s\n", result.Note)
		}
	}
	for _, problem := range r.history.Problems {
		fmt.Printf("  PROBLEM: %s\n", problem)
	}
	return wrong
}
