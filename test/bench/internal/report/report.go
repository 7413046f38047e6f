// Package report prints what scenarios measured, with ratios where two systems ran the same one.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Better says which direction of a figure is the good one.
type Better int

// Directions. Neutral figures explain others and get no ratio.
const (
	Neutral Better = iota
	Higher
	Lower
)

// Figure is one measured number.
type Figure struct {
	Name   string  `json:"name"`
	Unit   string  `json:"unit,omitempty"`
	Value  float64 `json:"value"`
	Better Better  `json:"-"`
}

// Result is one scenario on one system.
type Result struct {
	Scenario string        `json:"scenario"`
	System   string        `json:"system"`
	Load     float64       `json:"loadBefore"` // the machine's, in processes
	Took     time.Duration `json:"tookNanoseconds"`
	Figures  []Figure      `json:"figures"`
	Problems []string      `json:"problems,omitempty"`
}

// Add appends a figure; NaN and infinities, from nothing measured, are left out.
func (r *Result) Add(name, unit string, value float64, better Better) {
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return
	}
	r.Figures = append(r.Figures, Figure{Name: name, Unit: unit, Value: value, Better: better})
}

// Problem notes something that makes the result wrong.
func (r *Result) Problem(format string, args ...any) {
	r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
}

func (r *Result) figure(name string) (Figure, bool) {
	i := slices.IndexFunc(r.Figures, func(f Figure) bool { return f.Name == name })
	if i < 0 {
		return Figure{}, false
	}
	return r.Figures[i], true
}

// Ratio compares a figure of the first system to the second's: 2 is twice as good, whatever the direction.
type Ratio struct {
	Scenario string  `json:"scenario"`
	Figure   string  `json:"figure"`
	Value    float64 `json:"value"`
}

// Machine is where the run took place.
type Machine struct {
	CPUs   int    `json:"cpus"`
	OS     string `json:"os"`
	Arch   string `json:"arch"`
	Go     string `json:"go"`
	Memory int64  `json:"memoryBytes,omitempty"`
}

// Run is everything of one run.
type Run struct {
	Started time.Time         `json:"started"`
	Machine Machine           `json:"machine"`
	Options map[string]string `json:"options"`
	Results []*Result         `json:"results"`
	Ratios  []Ratio           `json:"ratios,omitempty"`
}

// Failed tells whether any result has a problem.
func (r *Run) Failed() bool {
	return slices.ContainsFunc(r.Results, func(x *Result) bool { return len(x.Problems) > 0 })
}

// Compare fills in the ratios of first to second.
func (r *Run) Compare(first, second string) {
	for _, a := range r.Results {
		b := r.find(a.Scenario, second)
		if a.System != first || b == nil {
			continue
		}
		for _, fa := range a.Figures {
			if ratio, ok := ratio(fa, b); ok {
				r.Ratios = append(r.Ratios, Ratio{Scenario: a.Scenario, Figure: fa.Name, Value: ratio})
			}
		}
	}
}

func ratio(a Figure, other *Result) (float64, bool) {
	b, ok := other.figure(a.Name)
	if !ok || a.Better == Neutral || a.Value <= 0 || b.Value <= 0 {
		return 0, false
	}
	if a.Better == Lower {
		return b.Value / a.Value, true
	}
	return a.Value / b.Value, true
}

func (r *Run) find(scenario, system string) *Result {
	for _, x := range r.Results {
		if x.Scenario == scenario && x.System == system {
			return x
		}
	}
	return nil
}

// Print writes a table for each scenario, one column a system.
func (r *Run) Print(w io.Writer) error {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 8, 2, ' ', tabwriter.AlignRight)
	var done []string
	for _, first := range r.Results {
		if slices.Contains(done, first.Scenario) {
			continue
		}
		done = append(done, first.Scenario)
		r.printScenario(t, first.Scenario)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("lay out the table: %w", err)
	}
	for _, x := range r.Results {
		for _, p := range x.Problems {
			fmt.Fprintf(&b, "PROBLEM  %s on %s: %s\n", x.Scenario, x.System, p)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Run) printScenario(w io.Writer, scenario string) {
	var results []*Result
	for _, x := range r.Results {
		if x.Scenario == scenario {
			results = append(results, x)
		}
	}
	fmt.Fprintf(w, "\n%s\t", strings.ToUpper(scenario))
	for _, x := range results {
		fmt.Fprintf(w, "%s\t", x.System)
	}
	if len(results) == 2 {
		fmt.Fprint(w, "ratio\t")
	}
	fmt.Fprintln(w, "unit\t")
	for _, f := range results[0].Figures {
		fmt.Fprintf(w, "%s\t", f.Name)
		for _, x := range results {
			if other, ok := x.figure(f.Name); ok {
				fmt.Fprintf(w, "%s\t", number(other.Value))
			} else {
				fmt.Fprint(w, "-\t")
			}
		}
		if len(results) == 2 {
			if q, ok := ratio(f, results[1]); ok {
				fmt.Fprintf(w, "%.2f\t", q)
			} else {
				fmt.Fprint(w, "\t")
			}
		}
		fmt.Fprintf(w, "%s\t\n", f.Unit)
	}
}

// number spells v with about three significant digits, and whole numbers with separators.
func number(v float64) string {
	switch a := math.Abs(v); {
	case a >= 1000:
		s := fmt.Sprintf("%.0f", v)
		for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
			s = s[:i] + "," + s[i:]
		}
		return s
	case a >= 100 || v == math.Trunc(v):
		return fmt.Sprintf("%.0f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

// WriteJSON writes everything to a file.
func (r *Run) WriteJSON(path string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	if err := os.WriteFile(path, append(b, '\n'), 0o644); err != nil { //nolint:gosec // a report is for everyone
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}
