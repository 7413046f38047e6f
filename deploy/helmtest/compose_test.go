package helmtest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

type container struct {
	Image       string
	User        string
	ReadOnly    bool     `yaml:"read_only"`
	CapDrop     []string `yaml:"cap_drop"`
	CapAdd      []string `yaml:"cap_add"`
	SecurityOpt []string `yaml:"security_opt"`
	MemLimit    string   `yaml:"mem_limit"`
	PidsLimit   int      `yaml:"pids_limit"`
	StopSignal  string   `yaml:"stop_signal"`
	Volumes     []string
	Tmpfs       []string
	Networks    []string
	NetworkMode string `yaml:"network_mode"`
	Environment map[string]any
	DependsOn   map[string]struct{ Condition string } `yaml:"depends_on"`
}

func compose(t *testing.T) map[string]container {
	t.Helper()
	var file struct{ Services map[string]container }
	if err := yaml.Unmarshal([]byte(read(t, "../../docker-compose.yml")), &file); err != nil {
		t.Fatal(err)
	}
	return file.Services
}

// TestComposeLeavesNoVolumes: the folder that PostgreSQL's image declares as a volume is a named one or none, for every container of that
// image: Docker would make one without a name, which outlives `down`.
func TestComposeLeavesNoVolumes(t *testing.T) {
	const folder = "/var/lib/postgresql/data"
	found := 0
	for name, c := range compose(t) {
		if !strings.HasPrefix(c.Image, "postgres:") {
			continue
		}
		found++
		if !slices.Contains(c.Tmpfs, folder) && !slices.ContainsFunc(c.Volumes, func(v string) bool { return strings.HasSuffix(v, ":"+folder) }) {
			t.Errorf("%s gets a volume without a name at %s", name, folder)
		}
	}
	if found == 0 {
		t.Error("no container of PostgreSQL's image was found")
	}
}

// ownUser are images that run as a user of their own without being told: those of the services say so in the Dockerfile.
var ownUser = regexp.MustCompile(`^(starling/|haproxy:|prom/prometheus:|grafana/grafana:)`)

// TestComposeIsHardened: no container runs as root, may write its image, gains privileges, or takes memory and processes without end. The
// one that has to be root, to give a volume away, reaches no network and ends at once.
func TestComposeIsHardened(t *testing.T) {
	const rootForAMoment = "nats-volume"
	for name, c := range compose(t) {
		if c.User == "" && !ownUser.MatchString(c.Image) || strings.HasPrefix(c.User, "0") && name != rootForAMoment {
			t.Errorf("%s runs as root", name)
		}
		if len(c.CapAdd) > 0 && name != rootForAMoment {
			t.Errorf("%s has the capabilities %v", name, c.CapAdd)
		}
		if !c.ReadOnly || !slices.Contains(c.CapDrop, "ALL") || !slices.Contains(c.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s: its root can be written to, or it may gain privileges", name)
		}
		if c.MemLimit == "" || c.PidsLimit == 0 {
			t.Errorf("%s has no limit of memory or of processes", name)
		}
	}
	if c := compose(t)[rootForAMoment]; c.NetworkMode != "none" || compose(t)["nats"].DependsOn[rootForAMoment].Condition != "service_completed_successfully" {
		t.Errorf("%s = %+v, want it without a network, and over before NATS starts", rootForAMoment, c)
	}
}

// TestComposeAccounts: each role of the database has a password of its own, which those have who need it, and roles are in order before
// anybody uses them.
func TestComposeAccounts(t *testing.T) {
	all := compose(t)
	passwords := map[string]string{}
	for name, c := range all {
		url, _ := c.Environment["DATABASE_URL"].(string)
		m := regexp.MustCompile(`^postgres://(\w+):(.+)@postgres:5432/`).FindStringSubmatch(url)
		if m == nil {
			continue
		}
		role, password := m[1], m[2]
		if other, taken := passwords[password]; taken {
			t.Errorf("%s has the password of %s", role, other)
		}
		passwords[password] = role
		// What the role is given.
		variable := strings.ToUpper(strings.TrimPrefix(role, "starling_"))
		if owner, ok := strings.CutSuffix(variable, "_OWNER"); ok {
			variable = owner + "_DB_OWNER"
		} else {
			variable += "_DB"
		}
		if got := fmt.Sprint(all["roles"].Environment[variable+"_PASSWORD"]); got != password {
			t.Errorf("%s logs in as %s with %s, and the role has %s", name, role, password, got)
		}
		if strings.HasPrefix(name, "migrate-") && all[name].DependsOn["roles"].Condition != "service_completed_successfully" {
			t.Errorf("%s does not wait for the roles", name)
		}
	}
	if len(passwords) != 6 {
		t.Errorf("%d roles have passwords of their own, want 6: %v", len(passwords), passwords)
	}
	if got := fmt.Sprint(all["postgres"].Environment["POSTGRES_INITDB_ARGS"]); got != "--data-checksums" {
		t.Errorf("POSTGRES_INITDB_ARGS = %q, want checksums", got)
	}
	for name := range all["postgres"].Environment {
		if strings.Contains(name, "_DB_") && strings.HasSuffix(name, "_PASSWORD") {
			t.Errorf("the database server has %s, which is no business of its", name)
		}
	}
}

// TestBalancerStopsAtOnce: HAProxy's soft stop, which its image asks for, would refuse newcomers until the grace is over.
func TestBalancerStopsAtOnce(t *testing.T) {
	if got := compose(t)["lb"].StopSignal; got != "SIGTERM" {
		t.Errorf("stop_signal of lb = %q, want SIGTERM", got)
	}
}
