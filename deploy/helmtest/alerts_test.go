package helmtest

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	sigsyaml "sigs.k8s.io/yaml"
)

// TestAlertForWhatIsGone: a service of which no target is left has no series of `up`, and is missed all the same.
func TestAlertForWhatIsGone(t *testing.T) {
	var rules struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	if err := sigsyaml.Unmarshal(readChart(t, "files/alerts.yml"), &rules); err != nil {
		t.Fatal(err)
	}
	var down string
	for _, group := range rules.Groups {
		for _, rule := range group.Rules {
			if rule.Alert == "StarlingServiceDown" {
				down = rule.Expr
			}
		}
	}
	jobs := regexp.MustCompile(`job=~"([^"]+)"`).FindStringSubmatch(down)
	if jobs == nil {
		t.Fatalf("StarlingServiceDown = %q, want one that names its jobs", down)
	}
	names := strings.Split(jobs[1], "|")
	for _, service := range services {
		if job := strings.TrimSuffix(service, "-service"); !slices.Contains(names, job) {
			t.Errorf("StarlingServiceDown does not look at %s", job)
		}
	}
	for _, job := range names {
		if want := `absent(up{job="` + job + `"})`; !strings.Contains(down, want) {
			t.Errorf("StarlingServiceDown = %q, want %s in it", down, want)
		}
	}
}

// TestRunbook: each alert leads to an entry that says what it means, what to look at and what to do, and no entry is of an alert that there
// is not.
func TestRunbook(t *testing.T) {
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert       string
				Annotations map[string]string
			}
		}
	}
	if err := sigsyaml.Unmarshal([]byte(read(t, "../grafana/alerts.yml")), &rules); err != nil {
		t.Fatal(err)
	}
	_, runbook, found := strings.Cut(read(t, "../../docs/operations/troubleshoot.md"), "\n## Runbook\n")
	if !found {
		t.Fatal("docs/operations/troubleshoot.md has no runbook")
	}
	entries := map[string]string{}
	for _, section := range strings.Split(runbook, "\n### ")[1:] {
		name, text, _ := strings.Cut(section, "\n")
		entries[name] = text
	}
	for _, group := range rules.Groups {
		for _, rule := range group.Rules {
			if want := "/docs/operations/troubleshoot.md#" + strings.ToLower(rule.Alert); !strings.HasSuffix(rule.Annotations["runbook_url"], want) {
				t.Errorf("%s: runbook_url = %q, want one that ends in %s", rule.Alert, rule.Annotations["runbook_url"], want)
			}
			for _, part := range []string{"**Means:**", "**Look at:**", "**Do:**"} {
				if !strings.Contains(entries[rule.Alert], part) {
					t.Errorf("the runbook's entry for %s has no %s", rule.Alert, part)
				}
			}
			delete(entries, rule.Alert)
		}
	}
	for name := range entries {
		t.Errorf("the runbook has an entry for %s, which is no alert", name)
	}
}

// TestAlertsFire has Prometheus's own tool play the cases of alerts_test.yml.
func TestAlertsFire(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed (it comes with Prometheus): the alerts are not played through")
	}
	dir := t.TempDir()
	for _, name := range []string{"alerts.yml", "alerts_test.yml"} {
		text, err := os.ReadFile("../grafana/" + name)
		if err == nil {
			err = os.WriteFile(dir+"/"+name, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.CommandContext(t.Context(), promtool, "test", "rules", dir+"/alerts_test.yml").CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}
