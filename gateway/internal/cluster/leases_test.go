package cluster

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/platform/bus/bustest"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

func TestLeases(t *testing.T) {
	const expiry = 10 * time.Second
	start := time.Now()
	l := leases{gateways: make(map[string]lease)}
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	heard := func(s int, id string, incarnation int64, ending bool) {
		l.heard(&eventv1.PresenceLease{GatewayId: id, Incarnation: incarnation, Ending: ending}, at(s))
	}
	wantAlive := func(s int, connected bool, want ...string) {
		t.Helper()
		if got := slices.Sorted(maps.Keys(l.alive(at(s), expiry, connected))); !slices.Equal(got, want) {
			t.Errorf("after %d s alive are %q, want %q", s, got, want)
		}
	}
	heard(0, "a", 1, false)
	heard(0, "b", 1, false)
	heard(0, "c", 1, false)
	heard(5, "a", 1, false)
	heard(5, "b", 2, false)
	heard(6, "b", 1, true) // the process before; its last words came late
	heard(6, "c", 1, true)
	wantAlive(6, true, "a", "b")
	wantAlive(15, false) // but not forgotten: this gateway may be the one that is cut off
	l.renew(at(20))
	wantAlive(29, true, "a", "b")
	wantAlive(30, true)
	l.renew(at(31))
	wantAlive(31, true) // forgotten
}

// TestAlone: a gateway knows that it is alone once others would have answered, and not while the bus is away.
func TestAlone(t *testing.T) {
	server := bustest.Server(t)
	first := startGateway(t, server, "first")
	sessiontest.Eventually(t, first.cluster.Alone, func() string { return "the only gateway does not know that it is alone" })
	second := startGateway(t, server, "second")
	second.announce()
	sessiontest.Eventually(t, func() bool { return !first.cluster.Alone() }, func() string { return "a gateway does not hear another one" })
	first.expire("second")
	if !first.cluster.Alone() {
		t.Error("a gateway that is silent for long counts")
	}
	first.nc.Close()
	if first.cluster.Alone() {
		t.Error("a gateway without the bus thinks that it is alone")
	}
}
