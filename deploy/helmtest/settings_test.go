package helmtest

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// setting is a field of a service's Config that can be set by the environment.
type setting struct{ env, fallback string }

var (
	settingTag  = regexp.MustCompile("`([^`]*\\bname:\"[^`]*)`")
	envTag      = regexp.MustCompile(`\benv:"([^"]+)"`)
	fallbackTag = regexp.MustCompile(`\bdefault:"([^"]*)"`)
	// A Config embeds what several services have: `NATS bus.Settings` lies in platform/bus/settings.go.
	embedTag = regexp.MustCompile("\\b(\\w+)\\.Settings\\s+`embed:\"\"([^`]*)`")
	// The defaults in it that differ by service are set where it is embedded.
	setTag = regexp.MustCompile(`\bset:"(\w+)=([^"]*)"`)
)

// settings reads the tags of a Config: the services are no dependency of this module.
func settings(t *testing.T, service string) []setting {
	t.Helper()
	source := read(t, "../../"+service+"/config.go")
	all := tagged(source, nil)
	for _, embedded := range embedTag.FindAllStringSubmatch(source, -1) {
		var own []string
		for _, set := range setTag.FindAllStringSubmatch(embedded[2], -1) {
			own = append(own, "${"+set[1]+"}", set[2])
		}
		all = append(all, tagged(read(t, "../../platform/"+embedded[1]+"/settings.go"), own)...)
	}
	if len(all) < 10 {
		t.Fatalf("%s/config.go: %d settings found, want more", service, len(all))
	}
	return all
}

// tagged returns the settings in a file; own are the pairs of names and values that replace the names in its defaults.
func tagged(source string, own []string) []setting {
	var all []setting
	for _, tag := range settingTag.FindAllStringSubmatch(source, -1) {
		s := setting{}
		if m := envTag.FindStringSubmatch(tag[1]); m != nil {
			s.env = m[1]
		}
		if m := fallbackTag.FindStringSubmatch(tag[1]); m != nil {
			s.fallback = strings.NewReplacer(own...).Replace(m[1])
		}
		if s.env != "" {
			all = append(all, s)
		}
	}
	return all
}

func read(t *testing.T, path string) string {
	t.Helper()
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(source)
}

var services = []string{"gateway", "auth-service", "chat-service", "presence-service"}

// TestSettingsAreDocumented: docs/operations.md lists every setting of every service with its default.
func TestSettingsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, tables, _ := strings.Cut(string(text), "<!-- settings: begin -->")
	for _, service := range services {
		_, table, _ := strings.Cut(tables, "### "+service+"\n")
		table, _, _ = strings.Cut(table, "### ")
		for _, s := range settings(t, service) {
			fallback := ""
			if s.fallback != "" {
				fallback = "`" + s.fallback + "`"
			}
			if row := "| `" + s.env + "` | " + fallback + " | "; !strings.Contains(table, row) {
				t.Errorf("docs/operations.md, %s: no row that begins with %q", service, row)
			}
		}
	}
}

// fixedInContainers are settings that a container has no use for, or that its image's user does not choose.
var fixedInContainers = []string{
	"LISTEN", "ADMIN_LISTEN", "GRPC_LISTEN", "GATEWAY_ID", "DB_SCHEMA", "DB_MIGRATE_ONLY",
	// The balancer speaks to gateways in plain text, and has the certificate.
	"TLS_CERT", "TLS_KEY", "ACME_DOMAINS", "ACME_EMAIL", "ACME_DIRECTORY", "ACME_CACHE", "HTTP_LISTEN",
}

// TestComposePassesSettings: every setting of a service can be given in .env, and every variable of the compose file
// that is not a setting's own name is in .env.example.
func TestComposePassesSettings(t *testing.T) {
	text, err := os.ReadFile("../../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	var compose struct {
		Services map[string]struct {
			Environment map[string]any
		}
	}
	if err := yaml.Unmarshal(text, &compose); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, service := range services {
		for _, s := range settings(t, service) {
			known[s.env] = true
			if _, ok := compose.Services[service].Environment[s.env]; !ok && !slices.Contains(fixedInContainers, s.env) {
				t.Errorf("docker-compose.yml: %s does not get %s", service, s.env)
			}
		}
	}
	example, err := os.ReadFile("../../.env.example")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`\$\{([A-Z0-9_]+)`).FindAllStringSubmatch(string(text), -1) {
		if name := m[1]; !known[name] && !strings.Contains(string(example), name) {
			t.Errorf(".env.example does not tell of %s", name)
		}
	}
}
