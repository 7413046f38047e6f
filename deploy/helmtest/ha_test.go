package helmtest

import (
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestHighAvailability: deploy/compose/ha.yml has every service know both PostgreSQLs and all NATS servers, what is kept by NATS is on all
// of them, the further servers are hardened as the first, and its passwords are guarded as the others.
func TestHighAvailability(t *testing.T) {
	type service struct {
		Environment map[string]any
		Command     []string
		CapDrop     []string `yaml:"cap_drop"`
		ReadOnly    bool     `yaml:"read_only"`
		User        string
		MemLimit    string `yaml:"mem_limit"`
		Networks    []string
		Healthcheck map[string]any
	}
	var base, more struct{ Services map[string]service }
	if err := yaml.Unmarshal([]byte(read(t, "../../docker-compose.yml")), &base); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal([]byte(read(t, "../compose/ha.yml")), &more); err != nil {
		t.Fatal(err)
	}
	for name, one := range base.Services {
		ha := more.Services[name]
		if url, ok := one.Environment["DATABASE_URL"].(string); ok {
			if want := strings.Replace(url, "@postgres:5432/", "@postgres:5432,postgres-2:5432/", 1); ha.Environment["DATABASE_URL"] != want {
				t.Errorf("%s has the DATABASE_URL %v, want %s", name, ha.Environment["DATABASE_URL"], want)
			}
		}
		if slices.Contains(services, name) && ha.Environment["NATS_URL"] != "nats://nats:4222,nats://nats-2:4222,nats://nats-3:4222" {
			t.Errorf("%s has the NATS_URL %v, want all servers", name, ha.Environment["NATS_URL"])
		}
	}
	for name, setting := range map[string]string{"chat-service": "STREAM_REPLICAS", "gateway": "RECOVERY_REPLICAS"} {
		if got, _ := more.Services[name].Environment[setting].(string); !strings.Contains(got, ":-3}") {
			t.Errorf("%s of %s is %q, want 3 by default", setting, name, got)
		}
	}
	for further, first := range map[string]string{"nats-2": "nats", "nats-3": "nats", "postgres-2": "postgres"} {
		a, b := more.Services[further], base.Services[first]
		if !slices.Equal(a.CapDrop, b.CapDrop) || a.ReadOnly != b.ReadOnly || a.User != b.User || a.MemLimit != b.MemLimit || !slices.Equal(a.Networks, b.Networks) || a.Healthcheck == nil {
			t.Errorf("%s is not as closed as %s: %+v", further, first, a)
		}
		if first == "postgres" && !slices.Equal(a.Command, b.Command) {
			t.Errorf("%s runs %q, %s runs %q", further, a.Command, first, b.Command)
		}
	}
	guarded := strings.Fields(more.Services["guard"].Environment["GUARDED"].(string))
	for _, name := range strings.Fields(base.Services["guard"].Environment["GUARDED"].(string)) {
		if !slices.Contains(guarded, name) {
			t.Errorf("the guard does not look at %s any more", name)
		}
	}
	for _, m := range regexp.MustCompile(`\$\{([A-Z_]+):-(?:\$\{[A-Z_]+:-)?local-only-`).FindAllStringSubmatch(read(t, "../compose/ha.yml"), -1) {
		if !slices.Contains(guarded, m[1]) {
			t.Errorf("the guard does not look at %s", m[1])
		}
	}
	for shell, script := range map[string]string{"sh": "../compose/ha-postgres.sh", "bash": "../compose/ha.sh"} {
		if out, err := exec.CommandContext(t.Context(), shell, "-n", script).CombinedOutput(); err != nil {
			t.Errorf("%s: %s", script, out)
		}
	}
	if primary := strings.TrimSpace(read(t, "../compose/primary")); primary != "postgres" {
		t.Errorf("the primary is %q to begin with, want postgres, which may have data already", primary)
	}
}

// TestExamples: the values beside the operators' are taken by the chart, and speak of the same names.
func TestExamples(t *testing.T) {
	if len(objects(t, read(t, "../helm/examples/starling.yaml"))) == 0 {
		t.Error("nothing comes of the values")
	}
	var cluster struct {
		Kind     string
		Metadata struct{ Name string }
		Spec     struct {
			Instances  int
			Postgresql struct{ Synchronous map[string]any }
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, "../helm/examples/cloudnative-pg.yaml")), &cluster); err != nil {
		t.Fatal(err)
	}
	if cluster.Kind != "Cluster" || cluster.Spec.Instances < 3 || cluster.Spec.Postgresql.Synchronous["number"] != 1 {
		t.Errorf("cluster = %+v, want three servers, of which one more than the primary has each commit", cluster)
	}
	if want := "host: " + cluster.Metadata.Name + "-rw"; !strings.Contains(read(t, "../helm/examples/starling.yaml"), want) {
		t.Errorf("the values do not say %q", want)
	}
	var nats struct {
		Config struct {
			Cluster struct{ Replicas int }
			Merge   map[string]any
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, "../helm/examples/nats.yaml")), &nats); err != nil {
		t.Fatal(err)
	}
	conf := read(t, "../nats/nats.conf")
	for _, name := range []string{"max_payload", "max_pending", "write_deadline", "ping_interval", "ping_max"} {
		value := regexp.MustCompile(`(?m)^` + name + `: "?([^"\n]+)"?$`).FindStringSubmatch(conf)
		if value == nil || strings.TrimSpace(value[1]) != toText(nats.Config.Merge[name]) {
			t.Errorf("%s is %v for the operator's servers, %v in nats.conf", name, nats.Config.Merge[name], value)
		}
	}
	if nats.Config.Cluster.Replicas != 3 {
		t.Errorf("%d NATS servers, want 3", nats.Config.Cluster.Replicas)
	}
}

func toText(v any) string {
	raw, _ := yaml.Marshal(v)
	return strings.Trim(strings.TrimSpace(string(raw)), "<> '")
}
