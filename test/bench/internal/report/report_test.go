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
