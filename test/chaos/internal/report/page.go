package report

import (
	"fmt"
	"html/template"
	"io"
	"math"
	"strings"
	"time"

	"github.com/starling-chat/starling/test/chaos/internal/check"
	"github.com/starling-chat/starling/test/chaos/internal/history"
)

// HTML writes a page that needs nothing but itself.
func HTML(w io.Writer, h *history.History, results []check.Result) error {
	s := Summarise(h, results)
	if err := template.Must(template.New("page").Funcs(functions()).Parse(pageText)).Execute(w, struct {
		Summary
		Style  template.CSS
		Legend []legend
		Charts []drawn
	}{s, pageStyle, processes(h), charts(&s, h)}); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	return nil
}

func functions() template.FuncMap {
	return template.FuncMap{
		"ms":      func(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond)) },
		"seconds": func(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) },
		"mib":     func(n int64) string { return fmt.Sprintf("%d MiB", n>>20) },
		"state":   state,
		"join":    strings.Join,
		"failed":  check.Failed,
	}
}

// state is the class and the word of a result.
func state(r check.Result) string {
	switch {
	case r.Count > 0:
		return "violated"
	case r.Skipped:
		return "skipped"
	}
	return "held"
}

type drawn struct {
	Title   string
	Lines   []line
	Picture template.HTML
}

type legend struct {
	Name  string
	Color template.CSS
}

// Name and Class are for the page.
func (l line) Name() string  { return l.name }
func (l line) Class() string { return l.class }

func charts(s *Summary, h *history.History) []drawn {
	a := axis{end(h)}
	over := func(value func(*Second) float64) (list []point) {
		for i := range s.Seconds {
			list = append(list, point{time.Duration(i)*time.Second + time.Second/2, value(&s.Seconds[i])})
		}
		return list
	}
	latency := func(of func(*Second) time.Duration) []point {
		return over(func(x *Second) float64 {
			if of(x) <= 0 {
				return math.NaN()
			}
			return float64(of(x)) / float64(time.Millisecond)
		})
	}
	list := []chart{
		{title: "Attempts acked", unit: "/s", lines: []line{{name: "acked", class: "good", list: over(func(x *Second) float64 { return float64(x.Acked) })}}},
		{title: "Attempts refused, and without answer", unit: "/s", lines: []line{
			{name: "refused", class: "bad", list: over(func(x *Second) float64 { return float64(x.Failed) })},
			{name: "unknown", class: "odd", list: over(func(x *Second) float64 { return float64(x.Unknown) })},
		}},
		{title: "From a send to its delivery, messages of one attempt", unit: "ms", log: true, lines: []line{
			{name: "p50", class: "good", list: latency(func(x *Second) time.Duration { return x.P50 })},
			{name: "p99", class: "odd", list: latency(func(x *Second) time.Duration { return x.P99 })},
		}},
		{title: "Clients connected", lines: []line{{name: "connected", class: "good", list: over(func(x *Second) float64 { return float64(x.Connected) })}}},
		{title: "Resident memory of each process", unit: "MiB", lines: rss(h)},
	}
	drawings := []drawn{{Title: "Faults; thin: until everything was ready again", Picture: faults(&s.Config, s.Faults, a)}}
	for i := range list {
		c := &list[i]
		c.config, c.faults = &s.Config, s.Faults
		d := drawn{Title: c.title, Picture: c.draw(a)}
		if len(c.lines) > 1 && c.lines[0].color == "" {
			d.Lines = c.lines
		}
		drawings = append(drawings, d)
	}
	return drawings
}

// color spreads processes over the circle of hues.
func color(i, n int) string { return fmt.Sprintf("hsl(%d,65%%,42%%)", 360*i/max(n, 1)) }

func processes(h *history.History) (list []legend) {
	all := memory(h)
	for i := range all {
		list = append(list, legend{all[i].Process, template.CSS(color(i, len(all)))}) //nolint:gosec // made of numbers
	}
	return list
}

func rss(h *history.History) []line {
	all := memory(h)
	lines := make([]line, len(all))
	index := make(map[string]int)
	for i := range all {
		lines[i] = line{name: all[i].Process, color: color(i, len(all))}
		index[all[i].Process] = i
	}
	const gap = 3 * time.Second // a process that is not there has no line
	for i := range h.Samples {
		s := &h.Samples[i]
		l := &lines[index[s.Process]]
		if n := len(l.list); n > 0 && s.At-l.list[n-1].at > gap {
			l.list = append(l.list, point{s.At, math.NaN()})
		}
		l.list = append(l.list, point{s.At, float64(s.RSS >> 20)})
	}
	return lines
}
