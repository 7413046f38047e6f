package settingstest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestTrial: what the tests of deployments report: a step that was cut off or failed is failed, what was not reached or cannot be done here
// is told as not run, and only what came to its end has passed.
func TestTrial(t *testing.T) {
	const script = `set -euo pipefail
all_steps=one,two,three,four,five,six report=$results/report.md
. deploy/trial.sh
trap 'status=$(judge $?); trap - ERR; stop_crowd; write_report $status Title "Of a test."; exit $status' EXIT
if step one 60 "the first"; then ok "one holds"; fi
if step two 60 "the second"; then cannot "there is no second"; fi
if step three 60 "the third"; then false; fi
if step four 1 "the fourth"; then bounded sleep 3600; fi
if step five 60 "the fifth"; then fail "five is broken"; fi
if step six 60 "the sixth"; then exit 0; fi
the_end
`
	run := func(steps string) (report string, ok bool) {
		t.Helper()
		dir := t.TempDir()
		cmd := exec.CommandContext(t.Context(), "bash", "-c", script)
		cmd.Dir = "../.."
		cmd.Env = append(os.Environ(), "steps="+steps, "results="+dir)
		out, err := cmd.CombinedOutput()
		text, readErr := os.ReadFile(filepath.Join(dir, "report.md"))
		if readErr != nil && !strings.Contains(string(out), "unknown step") {
			t.Fatalf("%v: %s", readErr, out)
		}
		return string(text), err == nil
	}
	for steps, want := range map[string]struct {
		ok   bool
		says []string
	}{
		"one":           {true, []string{"| one | passed |", "| two | not run |", "* one holds"}},
		"one,two":       {true, []string{"| one | passed |", "| two | not run: there is no second |"}},
		"two,three,one": {false, []string{"| two | not run: there is no second |", "| one | passed |", "| three | failed |", "**It failed**: `false` failed"}},
		"four,five":     {false, []string{"| four | failed |", "| five | not run |"}},
		"five":          {false, []string{"| five | failed |", "**It failed**: five is broken."}},
		"six":           {false, []string{"| six | failed |", "**It failed**: it ended before its end."}},
		"seven":         {false, nil},
	} {
		report, ok := run(steps)
		if ok != want.ok {
			t.Errorf("steps %s: passed = %v, want %v\n%s", steps, ok, want.ok, report)
		}
		for _, line := range want.says {
			if !strings.Contains(report, line) {
				t.Errorf("steps %s: no %q in the report\n%s", steps, line, report)
			}
		}
	}
}
