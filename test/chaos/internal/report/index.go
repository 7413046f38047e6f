package report

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/starling-chat/starling/test/chaos/internal/check"
)

// Index writes several runs as one table in Markdown.
func Index(w io.Writer, runs []Summary) error {
	var b strings.Builder
	b.WriteString("| seed | verdict | faults | messages | acked | refused | unknown | never acked | deliveries | connections (recovered) | ack p50 / p99 | delivery p50 / p99 |\n")
	b.WriteString("|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	for i := range runs {
		s, t := &runs[i], &runs[i].Totals
		fmt.Fprintf(&b, "| %d | %s | %d | %d | %d | %d | %d | %d | %d | %d (%d) | %s / %s | %s / %s |\n", s.Config.Seed, verdict(s), len(s.Faults), t.Messages,
			t.Acked, t.Failed, t.Unknown, t.Lost, t.Deliveries, t.Conns, t.Recovered, millis(t.AckP50), millis(t.AckP99), millis(t.P50), millis(t.P99))
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write the table: %w", err)
	}
	return nil
}

func verdict(s *Summary) string {
	text := "all held"
	if check.Failed(s.Results) > 0 {
		var broken []string
		for _, r := range s.Results {
			if r.Count > 0 {
				broken = append(broken, fmt.Sprintf("%d (%d×)", r.Number, r.Count))
			}
		}
		text = "**violated: " + strings.Join(broken, ", ") + "**"
	}
	if len(s.Problems) > 0 {
		problems := strings.ReplaceAll(strings.Join(s.Problems, "; "), "|", "/")
		if check.Failed(s.Results) > 0 {
			text += ", **" + problems + "**"
		} else {
			text = "**" + problems + "**"
		}
	}
	if s.Config.Sabotage != "" {
		text += "; sabotage " + s.Config.Sabotage
	}
	return text
}

func millis(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}
