package settingstest

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// TestGuard: compose does not let others in with passwords that are in its file.
func TestGuard(t *testing.T) {
	compose, err := os.ReadFile("../../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	_, guarded, _ := strings.Cut(string(compose), "GUARDED: ")
	guarded, _, _ = strings.Cut(guarded, "\n")
	names := strings.Fields(guarded)
	for _, match := range regexp.MustCompile(`\$\{([A-Z_]+):-(?:\$\{[A-Z_]+:-)?local-only-`).FindAllStringSubmatch(string(compose), -1) {
		// Grafana is published to this machine only.
		if name := match[1]; name != "GRAFANA_PASSWORD" && !strings.Contains(" "+guarded+" ", " "+name+" ") {
			t.Errorf("the guard does not look at %s", name)
		}
	}
	run := func(bind string, change map[string]string) (string, bool) {
		cmd := exec.CommandContext(t.Context(), "sh", "../docker/guard.sh")
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "STARLING_BIND=" + bind, "GUARDED=" + guarded}
		for _, name := range names {
			value, ok := change[name]
			if !ok {
				value = "a value of mine"
			}
			cmd.Env = append(cmd.Env, name+"="+value)
		}
		out, err := cmd.CombinedOutput()
		return string(out), err == nil
	}
	public := map[string]string{"GATEWAY_SERVICE_TOKEN": "local-only-gateway-token"}
	for bind, mine := range map[string]bool{"127.0.0.1": true, "127.0.0.2": true, "localhost": true, "::1": true, "[::1]": true, "0.0.0.0": false, "192.168.1.7": false, "[::]": false, "::": false} {
		if out, ok := run(bind, public); ok != mine || !mine && (!strings.Contains(out, "GATEWAY_SERVICE_TOKEN") || strings.Contains(out, "NATS_")) {
			t.Errorf("with a public token on %s the guard says %q, passes %v; want it to pass: %v", bind, out, ok, mine)
		}
		if out, ok := run(bind, nil); !ok {
			t.Errorf("with own secrets on %s the guard says %q", bind, out)
		}
	}
	if _, ok := run("0.0.0.0", map[string]string{names[0]: ""}); ok {
		t.Errorf("the guard lets %s be empty", names[0])
	}
}
