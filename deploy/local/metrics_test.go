package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/starling-chat/starling/platform/obs"
)

// TestMetricsAreDocumented: what the processes of a system in which nothing has happened yet expose is in the table of
// docs/operations.md, and what the documentation, the alerts and the dashboard name is exposed.
func TestMetricsAreDocumented(t *testing.T) {
	if testing.Short() {
		t.Skip("starts PostgreSQL, NATS and all services")
	}
	t.Setenv("API_KEY", "")
	t.Setenv("TOKEN_ISSUERS", `[{"issuer":"https://id.example.invalid"}]`) // whose keys are counted
	exposed := exposedMetrics(t)
	documented := make(map[string]bool)
	for name := range named(t, "../../docs/operations.md") {
		documented[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(exposed)) {
		if !documented[name] {
			t.Errorf("%s is not in docs/operations.md", name)
		}
	}
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("../../docs/*/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range slices.Concat(files, more, []string{"../../README.md", "../grafana/alerts.yml", "../helm/starling/files/alerts.yml", "../helm/starling/files/dashboard.json"}) {
		for name := range named(t, file) {
			series := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
			if !exposed[name] && !exposed[series] {
				t.Errorf("%s names %s, which no process has", file, name)
			}
		}
	}
}

// named are the metrics that a file names. In the table of docs/operations.md, _rooms beside starling_gateway_connections is
// starling_gateway_rooms.
func named(t *testing.T, file string) map[string]bool {
	t.Helper()
	names := make(map[string]bool)
	prefix := ""
	for line := range strings.Lines(read(t, file)) {
		for _, m := range regexp.MustCompile("\\bstarling_[a-z0-9_]*[a-z0-9]|`(_[a-z0-9_]+)").FindAllStringSubmatch(line, -1) {
			switch name := m[0]; {
			case m[1] != "" && prefix != "" && strings.HasPrefix(line, "| `starling_"):
				names[prefix+m[1]] = true
			case m[1] == "" && !slices.Contains([]string{"starling_nats", "starling_round_robin"}, name) && !strings.HasSuffix(name, "_owner") && !isRole(name):
				names[name] = true
				if parts := strings.SplitN(name, "_", 3); len(parts) == 3 {
					prefix = parts[0] + "_" + parts[1]
				}
			}
		}
	}
	return names
}

// isRole tells of names of PostgreSQL's roles.
func isRole(name string) bool {
	return slices.Contains([]string{"starling_auth", "starling_chat", "starling_presence"}, name)
}

// exposedMetrics starts a system and asks each process for its metrics.
func exposedMetrics(t *testing.T) map[string]bool {
	t.Helper()
	cfg := Config{Listen: address(portsInARow(t, 2)), Gateways: 1, Data: filepath.Join(t.TempDir(), "data"), FileLevel: "warn"}
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	out := new(screen)
	s := &system{cfg: cfg, out: out, token: randomHex(), began: time.Now()}
	defer s.closeListeners()
	if err := s.prepare(ctx); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		t.Fatal(err)
	}
	admins := make(map[string]string)
	for name, o := range map[string]*obs.Settings{"auth": &s.auth.Obs, "chat": &s.chat.Obs, "presence": &s.presence.Obs, "gateway": &s.gateways[0].Obs} {
		listener, err := net.Listen("tcp", address(0))
		if err != nil {
			t.Fatal(err)
		}
		o.Listener, admins[name] = listener, listener.Addr().String()
	}
	ended := make(chan error, 1)
	go func() { ended <- s.run(ctx, slog.New(slog.DiscardHandler)) }()
	for !strings.Contains(out.String(), "Starling is ready: http://") {
		select {
		case err := <-ended:
			t.Fatalf("run = %v before it was ready\n%s", err, out)
		case <-time.After(pollInterval):
		}
	}
	exposed := make(map[string]bool)
	for name, admin := range admins {
		text, err := scrape(ctx, admin)
		if err != nil {
			t.Errorf("metrics of %s: %v", name, err)
		}
		for _, m := range regexp.MustCompile(`(?m)^# TYPE (starling_\w+) `).FindAllStringSubmatch(text, -1) {
			exposed[m[1]] = true
		}
	}
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("run = %v\n%s", err, out)
		}
	case <-time.After(patience):
		t.Fatal("the system does not stop")
	}
	return exposed
}

func scrape(ctx context.Context, admin string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/metrics", nil)
	if err != nil {
		return "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s", res.Status)
	}
	return string(text), err
}
