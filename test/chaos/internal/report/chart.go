package report

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strings"
	"time"

	"github.com/starling-chat/starling/test/chaos/internal/history"
)

// The measures of all charts, which share their time axis. In units of the viewBox.
const (
	width  = 1000.0
	left   = 110.0 // for labels
	right  = 20.0
	tall   = 110.0 // of a chart's plot
	row    = 18.0  // of a nemesis
	margin = 8.0
	footer = 20.0
)

// axis maps times to the page.
type axis struct{ end time.Duration }

func (a axis) x(t time.Duration) float64 {
	if a.end <= 0 {
		return left
	}
	return left + (width-left-right)*min(max(t.Seconds()/a.end.Seconds(), 0), 1)
}

// step is between two lines of the grid.
func (a axis) step() time.Duration {
	for _, s := range []time.Duration{time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute} {
		if a.end/s <= 14 {
			return s
		}
	}
	return 30 * time.Minute
}

func (a axis) grid(b *strings.Builder, height float64) {
	for t := time.Duration(0); t <= a.end; t += a.step() {
		fmt.Fprintf(b, `<line class="grid" x1="%.1f" x2="%.1f" y1="0" y2="%.1f"/><text class="tick" x="%.1f" y="%.1f">%s</text>`,
			a.x(t), a.x(t), height, a.x(t), height+14, short(t))
	}
}

func short(t time.Duration) string {
	if t < time.Minute {
		return fmt.Sprintf("%ds", int(t.Seconds()))
	}
	return fmt.Sprintf("%d:%02d", int(t.Minutes()), int(t.Seconds())%60)
}

// open and closed begin and end a drawing whose plot has a height.
func open(b *strings.Builder, height float64, title string) {
	fmt.Fprintf(b, `<svg viewBox="0 -%.0f %.0f %.0f" role="img" aria-label="%s">`, margin, width, height+footer+margin, html.EscapeString(title))
}

func closed(b *strings.Builder) template.HTML {
	b.WriteString("</svg>")
	return template.HTML(b.String()) //nolint:gosec // all text in it went through EscapeString
}

// phases shades the time after Healed and after Stopped.
func phases(b *strings.Builder, a axis, c *history.Config, height float64) {
	for _, p := range []struct {
		class    string
		from, to history.Time
	}{{"alone", c.Healed, c.Stopped}, {"quiet", c.Stopped, c.End}} {
		if p.to > p.from {
			fmt.Fprintf(b, `<rect class="%s" x="%.1f" y="0" width="%.1f" height="%.1f"/>`, p.class, a.x(p.from), a.x(p.to)-a.x(p.from), height)
		}
	}
}

// faults draws one row a nemesis.
func faults(c *history.Config, list []history.Fault, a axis) template.HTML {
	var names []string
	rows := make(map[string]int)
	for i := range list {
		if _, known := rows[list[i].Nemesis]; !known {
			rows[list[i].Nemesis] = len(names)
			names = append(names, list[i].Nemesis)
		}
	}
	height := row * float64(max(len(names), 1))
	var b strings.Builder
	open(&b, height, "faults")
	phases(&b, a, c, height)
	a.grid(&b, height)
	for i, name := range names {
		fmt.Fprintf(&b, `<text class="label" x="%.1f" y="%.1f">%s</text>`, left-8, row*float64(i)+13, html.EscapeString(name))
	}
	for i := range list {
		f := &list[i]
		end, class := f.End, "fault"
		if end < f.Start {
			end = c.Healed
		}
		if f.Error != "" {
			class = "fault failed"
		}
		y := row*float64(rows[f.Nemesis]) + 3
		if f.Service > end {
			fmt.Fprintf(&b, `<rect class="after" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`, a.x(end), y+4, a.x(f.Service)-a.x(end), row-14)
		}
		fmt.Fprintf(&b, `<rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="1.5"><title>%s</title></rect>`, class, a.x(f.Start), y,
			max(a.x(end)-a.x(f.Start), 2.5), row-6, html.EscapeString(tell(f, end)))
	}
	return closed(&b)
}

func tell(f *history.Fault, end history.Time) string {
	s := fmt.Sprintf("%s: %s %s, %.1f to %.1f s", f.Nemesis, f.Action, f.Target, f.Start.Seconds(), end.Seconds())
	if f.Service > 0 {
		s += fmt.Sprintf(", ready at %.1f s", f.Service.Seconds())
	}
	if f.Error != "" {
		s += "; " + f.Error
	}
	return s
}

// point is one value of a line; NaN interrupts it.
type point struct {
	at    time.Duration
	value float64
}

type line struct {
	name  string
	class string
	color string // instead of a class
	list  []point
}

// chart draws lines over the time axis. A logarithmic one begins at 1.
type chart struct {
	title  string
	unit   string
	log    bool
	config *history.Config
	faults []history.Fault
	lines  []line
}

func (c *chart) draw(a axis) template.HTML {
	top := 1.0
	for _, l := range c.lines {
		for _, p := range l.list {
			if !math.IsNaN(p.value) {
				top = max(top, p.value)
			}
		}
	}
	scale := nice(top)
	y := func(v float64) float64 { return tall - tall*min(v/scale, 1) }
	marks := []float64{0, scale / 2, scale}
	if c.log {
		scale = max(math.Pow(10, math.Ceil(math.Log10(top))), 10)
		y = func(v float64) float64 { return tall - tall*min(max(math.Log10(max(v, 1))/math.Log10(scale), 0), 1) }
		marks = marks[:0]
		for m := 1.0; m <= scale; m *= 10 {
			marks = append(marks, m)
		}
	}
	var b strings.Builder
	open(&b, tall, c.title)
	phases(&b, a, c.config, tall)
	for i := range c.faults {
		f := &c.faults[i]
		fmt.Fprintf(&b, `<rect class="shadow" x="%.1f" y="0" width="%.1f" height="%.1f"/>`, a.x(f.Start), max(a.x(f.End)-a.x(f.Start), 1), tall)
	}
	a.grid(&b, tall)
	for _, m := range marks {
		fmt.Fprintf(&b, `<line class="grid" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/><text class="label" x="%.1f" y="%.1f">%s</text>`,
			left, width-right, y(m), y(m), left-8, y(m)+4, number(m)+" "+html.EscapeString(c.unit))
	}
	for _, l := range c.lines {
		fmt.Fprintf(&b, `<path class="line %s" %s d="%s"><title>%s</title></path>`, l.class, l.style(), path(l.list, a, y), html.EscapeString(l.name))
	}
	return closed(&b)
}

func (l *line) style() string {
	if l.color == "" {
		return ""
	}
	return `style="stroke:` + html.EscapeString(l.color) + `"`
}

func path(list []point, a axis, y func(float64) float64) string {
	var b strings.Builder
	pen := "M"
	for _, p := range list {
		if math.IsNaN(p.value) {
			pen = "M"
			continue
		}
		fmt.Fprintf(&b, "%s%.1f %.1f", pen, a.x(p.at), y(p.value))
		pen = "L"
	}
	return b.String()
}

// nice is a round number not below v.
func nice(v float64) float64 {
	base := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 2.5, 5, 10} {
		if v <= m*base {
			return m * base
		}
	}
	return 10 * base
}

func number(v float64) string {
	if v >= 10_000 {
		return fmt.Sprintf("%gk", v/1000)
	}
	return fmt.Sprintf("%g", v)
}
