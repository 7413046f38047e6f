//go:build linux

package scenario

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/starling-chat/starling/test/bench/internal/benchtest"
	"github.com/starling-chat/starling/test/bench/internal/report"
	"github.com/starling-chat/starling/test/bench/internal/system"
)

func newBench(t *testing.T, handler http.Handler) *Bench {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	address := netip.MustParseAddrPort(server.Listener.Addr().String())
	return &Bench{
		Options: Options{
			Conns: 12, Rooms: 4, Window: 3, IdleConns: 40, Rate: 500, Pace: 600, Warmup: 20 * time.Millisecond,
			Duration: time.Second, Loops: 2, Pending: 16,
		},
		System: system.External("tiny", []netip.AddrPort{address}, benchtest.Secret, 0, ""),
		Run:    "test",
		Say:    t.Logf,
	}
}

func figures(r *report.Result) map[string]float64 {
	m := make(map[string]float64)
	for _, f := range r.Figures {
		m[f.Name] = f.Value
	}
	return m
}

func TestScenarios(t *testing.T) {
	for _, c := range []struct {
		scenario string
		positive []string
	}{
		{"send", []string{"acked", "deliveries", "ack p50", "ack p99"}},
		{"hot", []string{"acked", "deliveries"}},
		{"idle", []string{"connects", "handshake p99"}},
		{"pace", []string{"send: ack p99", "hot: ack p99", "hot: deliveries"}},
		{"latency", []string{"message:send: receipt p50", "room:message: receipt p99", "room:message: ack p50"}},
		{"mixed", []string{"residents: receipt p50", "residents: ack p99", "visitors: came back", "visitors: handshake p99"}},
	} {
		t.Run(c.scenario, func(t *testing.T) {
			t.Parallel()
			r, err := newBench(t, &benchtest.Server{}).Do(t.Context(), c.scenario)
			if err != nil || len(r.Problems) > 0 {
				t.Fatalf("Do(%q) = problems %q, error %v, want none", c.scenario, r.Problems, err)
			}
			got := figures(r)
			for _, name := range c.positive {
				if got[name] <= 0 {
					t.Errorf("Do(%q): %s = %v, want more than 0", c.scenario, name, got[name])
				}
			}
		})
	}
}

func TestFanoutShape(t *testing.T) {
	t.Parallel()
	b, r := newBench(t, &benchtest.Server{}), &report.Result{}
	if err := b.fanoutShape(t.Context(), r, 0, 3, 5); err != nil || len(r.Problems) > 0 {
		t.Fatalf("fanoutShape(3, 5) = problems %q, error %v, want none", r.Problems, err)
	}
	if got := figures(r)["3 × 5, 16 in flight: deliveries"]; got <= 0 {
		t.Errorf("fanoutShape(3, 5): deliveries = %v, want more than 0", got)
	}
}

// Everybody is in as many rooms as asked for, of ten each.
func TestIdleRooms(t *testing.T) {
	t.Parallel()
	b := newBench(t, &benchtest.Server{})
	b.IdleRooms = 2
	r := &report.Result{}
	c, err := b.newCrowd(60)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if _, err := c.connect(t.Context(), 60); err != nil {
		t.Fatal(err)
	}
	if err := b.settle(t.Context(), r, c, 0, false); err != nil {
		t.Fatal(err)
	}
	if got := c.sum(joinedCount); got != 120 || len(c.problems.list()) > 0 {
		t.Errorf("settle: %d joins, problems %q, want 120 and none", got, c.problems.list())
	}
	for k := range 2 {
		members := make(map[int]int)
		for i := range 60 {
			members[idleRoomOf(i, k, 6)]++
		}
		for room, n := range members {
			if n != idleRoom {
				t.Errorf("room %d of turn %d has %d members, want %d", room, k, n, idleRoom)
			}
		}
	}
}

// The one who does not read must not hold up the others, and has to be back in the end.
func TestSlowShape(t *testing.T) {
	t.Parallel()
	b, r := newBench(t, &benchtest.Server{}), &report.Result{}
	b.epoch = time.Now()
	if err := b.slowShape(t.Context(), r, 12, 100); err != nil || len(r.Problems) > 0 {
		t.Fatalf("slowShape = problems %q, error %v, want none", r.Problems, err)
	}
	got := figures(r)
	for _, name := range []string{
		"all read: receipt p99", "one does not read: receipt p99", "receipt p99 of the others, one does not read / all read",
	} {
		if got[name] <= 0 {
			t.Errorf("slowShape: %s = %v, want more than 0", name, got[name])
		}
	}
}

// The storm resets every connection.
func TestStormBringsAllBack(t *testing.T) {
	t.Parallel()
	b := newBench(t, &benchtest.Server{})
	r, err := b.Do(t.Context(), "storm")
	if err != nil || len(r.Problems) > 0 {
		t.Fatalf("Do(storm) = problems %q, error %v, want none", r.Problems, err)
	}
	if got := figures(r)["connections"]; got != 40 {
		t.Errorf("Do(storm): connections = %v, want 40", got)
	}
}

func TestAwait(t *testing.T) {
	t.Parallel()
	if err := newBench(t, &benchtest.Server{}).Await(t.Context()); err != nil {
		t.Errorf("Await = %v, want nil", err)
	}
}

func TestRepeatsAreProblems(t *testing.T) {
	t.Parallel()
	r, err := newBench(t, &benchtest.Server{Repeat: true}).Do(t.Context(), "send")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(r.Problems, func(p string) bool { return strings.Contains(p, "repeated") }) {
		t.Errorf("Do(send) on a server that repeats = problems %q, want repeated events among them", r.Problems)
	}
}

func TestRefusedToken(t *testing.T) {
	t.Parallel()
	b := newBench(t, &benchtest.Server{})
	b.System.Secret = "another secret that the server does not know"
	r, err := b.Do(t.Context(), "send")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(r.Problems, func(p string) bool { return strings.Contains(p, "refused") }) {
		t.Errorf("Do(send) with a wrong secret = problems %q, want the refusal", r.Problems)
	}
}
