package cluster

import (
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/starling-chat/starling/test/chaos/internal/history"
	"github.com/starling-chat/starling/test/internal/launch"
)

// TestStart runs the whole system once, on small disks where it may mount, and leaves nothing behind.
func TestStart(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts everything")
	}
	root, err := launch.Root()
	if err != nil {
		t.Fatal(err)
	}
	programs, err := Build(t.Context(), root, false)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := NewDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { Remove(dir) })
	_, err = exec.LookPath("pgbouncer")
	pooler := err == nil
	began := time.Now()
	c, err := Start(t.Context(), Config{Root: root, Dir: dir, Programs: programs, Nodes: 3, Copies: 2, Disks: true, Pooler: pooler, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("ready after %v; notes: %q", time.Since(began), c.Notes)
	gateways, err := c.Gateways()
	if len(gateways) != 2 || err != nil {
		t.Errorf("Gateways = %v, %v, want 2", gateways, err)
	}
	if pooler && c.Process(PoolerName).PID() == 0 {
		t.Error("the pooler does not run")
	}
	settings, err := c.Postgres.Settings(t.Context())
	if err != nil || len(settings) != 4 {
		t.Errorf("Settings = %v, %v, want 4", settings, err)
	}
	h := &history.History{Rooms: []history.Room{{ID: "nobody"}}}
	if err := c.Dump(t.Context(), h); err != nil {
		t.Error(err)
	}
	if err := c.DumpStream(t.Context(), h, began); err != nil {
		t.Error(err)
	}
	samples := c.sample(t.Context(), func() history.Time { return 0 }, true)
	gauges := slices.ContainsFunc(samples, func(s history.Sample) bool { return s.Process == "gateway-0" && s.Gauges["go_goroutines"] > 0 })
	if want := len(c.processes()) + 1; len(samples) != want || !gauges {
		t.Errorf("sample = %+v, want %d, of services with gauges", samples, want)
	}
	if err := c.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil || strings.Contains(string(mounts), dir) {
		t.Errorf("mounts after Stop: %s, %v, want none in %s", mounts, err, dir)
	}
}

func TestParseGauges(t *testing.T) {
	got := parseGauges(strings.NewReader(`# HELP starling_a x
# TYPE starling_a gauge
starling_a{state="idle"} 2
starling_a{state="used"} 3
# TYPE starling_b_total counter
starling_b_total 7
# TYPE go_goroutines gauge
go_goroutines 40
# TYPE go_threads gauge
go_threads 5
`))
	if len(got) != 2 || got["starling_a"] != 5 || got["go_goroutines"] != 40 {
		t.Errorf("parseGauges = %v, want starling_a 5 and go_goroutines 40", got)
	}
}
