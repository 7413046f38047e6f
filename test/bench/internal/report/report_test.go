package report

import (
	"strings"
	"testing"
)

func TestPrintAndCompare(t *testing.T) {
	a := &Result{Scenario: "send", System: "starling"}
	a.Add("acked", "1/s", 12345.6, Higher)
	a.Add("ack p99", "ms", 2.5, Lower)
	b := &Result{Scenario: "send", System: "reference"}
	b.Add("acked", "1/s", 1234.56, Higher)
	b.Add("ack p99", "ms", 5, Lower)
	b.Problem("1 message was lost")
	run := Run{Results: []*Result{a, b}}
	run.Compare("starling", "reference")
	if len(run.Ratios) != 2 || run.Ratios[0].Value < 9.9 || run.Ratios[1].Value != 2 {
		t.Errorf("Compare = %v, want 10 and 2", run.Ratios)
	}
	var out strings.Builder
	if err := run.Print(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"SEND", "12,346", "10.00", "2.50", "PROBLEM  send on reference: 1 message was lost"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("Print = %s, want %q in it", out.String(), want)
		}
	}
	if !run.Failed() {
		t.Error("Failed() = false, want true")
	}
}

// TestHTML: the page has every figure with its bars, and what a system is called is no markup.
func TestHTML(t *testing.T) {
	a := &Result{Scenario: "send", System: "starling"}
	a.Add("acked", "1/s", 2000, Higher)
	a.Add("only here", "", 0, Neutral)
	b := &Result{Scenario: "send", System: "<other>"}
	b.Add("acked", "1/s", 500, Higher)
	b.Problem("1 message was lost")
	c := &Result{Scenario: "idle", System: "<other>"}
	c.Add("RSS", "KB", -3, Lower)
	run := Run{Results: []*Result{a, b, c}, Options: map[string]string{"conns": "200"}}
	got, err := run.HTML()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`<h2>send `, `<h2>idle `, `<b>4.00 ×</b>`, `width="100%"`, `width="25%"`, `width="0%"`, "2,000", "more is better", "less is better",
		"&lt;other&gt;: 1 message was lost", `class="bar s0"`, `class="bar s1"`, "<dt>conns</dt><dd>200</dd>",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("HTML has no %q", want)
		}
	}
	for _, never := range []string{"<other>", "ZgotmplZ", "http:", "https:"} {
		if strings.Contains(got, never) {
			t.Errorf("HTML has %q", never)
		}
	}
	if n := strings.Count(got, `<h2>`); n != 2 {
		t.Errorf("HTML has %d scenarios, want 2", n)
	}
}
