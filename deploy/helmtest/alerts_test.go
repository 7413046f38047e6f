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
