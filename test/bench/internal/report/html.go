package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"os"
	"slices"
	"strings"
	"time"
)

//go:embed page.html
var page string

// plot is one figure of a scenario as bars, one a system.
type plot struct {
	Name, Unit string
	Ratio      string // "" where there is none
	Better     string // which direction is the good one, "" for neither
	Bars       []bar
}

type bar struct {
	System string
	Value  string
	Width  float64 // percent of the longest
	Number int     // of the system, for its colour
}

// chapter is one scenario.
type chapter struct {
	Scenario string
	Took     time.Duration // of the slowest system
	Plots    []plot
	Problems []string
}

// chapters are the scenarios in the order in which they ran.
func (r *Run) chapters() (all []chapter) {
	var systems []string
	for _, x := range r.Results {
		if !slices.Contains(systems, x.System) {
			systems = append(systems, x.System)
		}
	}
	for _, first := range r.Results {
		if slices.ContainsFunc(all, func(c chapter) bool { return c.Scenario == first.Scenario }) {
			continue
		}
		c := chapter{Scenario: first.Scenario}
		var results []*Result
		for _, system := range systems {
			x := r.find(first.Scenario, system)
			if x == nil {
				continue
			}
			results = append(results, x)
			c.Took = max(c.Took, x.Took.Round(100*time.Millisecond))
			for _, p := range x.Problems {
				c.Problems = append(c.Problems, x.System+": "+p)
			}
		}
		for _, f := range first.Figures {
			c.Plots = append(c.Plots, newPlot(f, results, systems))
		}
		all = append(all, c)
	}
	return all
}

func newPlot(f Figure, results []*Result, systems []string) plot {
	p := plot{Name: f.Name, Unit: f.Unit, Better: map[Better]string{Higher: "more is better", Lower: "less is better"}[f.Better]}
	longest := 0.0
	for _, x := range results {
		if value, ok := x.figure(f.Name); ok {
			longest = max(longest, math.Abs(value.Value))
		}
	}
	for _, x := range results {
		value, ok := x.figure(f.Name)
		if !ok {
			continue
		}
		b := bar{System: x.System, Value: number(value.Value), Number: slices.Index(systems, x.System)}
		if longest > 0 {
			b.Width = math.Round(1000*math.Abs(value.Value)/longest) / 10
		}
		p.Bars = append(p.Bars, b)
	}
	if len(results) == 2 {
		if q, ok := ratio(f, results[1]); ok {
			p.Ratio = fmt.Sprintf("%.2f", q)
		}
	}
	return p
}

// HTML is everything as one page, which needs no other file and no network.
func (r *Run) HTML() (string, error) {
	t, err := template.New("page").Parse(page)
	if err != nil {
		return "", fmt.Errorf("read the page: %w", err)
	}
	var b strings.Builder
	if err := t.Execute(&b, struct {
		*Run
		Chapters []chapter
		MiB      int64
		When     string
	}{r, r.chapters(), r.Machine.Memory >> 20, r.Started.UTC().Format(time.RFC3339)}); err != nil {
		return "", fmt.Errorf("fill the page: %w", err)
	}
	return b.String(), nil
}

// WriteHTML writes the page to a file.
func (r *Run) WriteHTML(path string) error {
	text, err := r.HTML()
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil { //nolint:gosec // a report is for everyone
		return fmt.Errorf("write the page: %w", err)
	}
	return nil
}
