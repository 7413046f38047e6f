package sessionstore

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/platform/bus/bustest"
	enginev1 "github.com/starling-chat/starling/proto/gen/starling/engine/v1"
)

// keys lists what the bucket has of sockets, markers of removed keys included.
func (g *gateway) keys(t *testing.T) (keys []string) {
	t.Helper()
	watcher, err := g.kv.WatchAll(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = watcher.Stop() }()
	for {
		select {
		case entry := <-watcher.Updates():
			if entry == nil {
				return keys
			}
			if strings.HasPrefix(entry.Key(), "s.") || strings.HasPrefix(entry.Key(), "c.") {
				keys = append(keys, entry.Key())
			}
		case <-time.After(sessiontest.Patience):
			t.Fatal("the bucket does not list its keys")
		}
	}
}

// TestLeftIsRemoved: sockets that left on purpose leave nothing behind, and are not recovered from the first moment on.
func TestLeftIsRemoved(t *testing.T) {
	g := start(t, bustest.Server(t), "g1", 1)
	for i := range 100 {
		pid := fmt.Sprintf("left%d", i)
		g.Save(pid, state())
		g.End(pid, &enginev1.SessionEnd{Nonce: "n", Generation: 2})
		g.End(pid, &enginev1.SessionEnd{Nonce: "n", Generation: 2, Final: true})
		if _, err := g.Load(t.Context(), pid, own, g.takeover); !errors.Is(err, ErrNoState) {
			t.Errorf("Load = %v at once after the end, want %v", err, ErrNoState)
		}
	}
	g.Save("broken", state())
	g.End("broken", &enginev1.SessionEnd{Nonce: "n", Generation: 2})
	elsewhere := state()
	elsewhere.Nonce = "of another gateway"
	g.Save("elsewhere", elsewhere)
	g.End("elsewhere", &enginev1.SessionEnd{Nonce: "n", Generation: 2, Final: true})
	sessiontest.Eventually(t, func() bool { return len(g.keys(t)) == 4 }, func() string {
		return fmt.Sprintf("the bucket has %q, want the states and ends of the two others", g.keys(t))
	})
	for _, pid := range []string{"broken", "elsewhere"} {
		if _, err := g.Load(t.Context(), pid, own, g.takeover); err != nil {
			t.Errorf("Load(%s) = %v, want it kept", pid, err)
		}
	}
}

// TestBucketIsFull: a write that is refused is counted, and the level tells why.
func TestBucketIsFull(t *testing.T) {
	g := start(t, bustest.Server(t), "g1", 1)
	big := state()
	for i := range 2000 {
		big.Rooms = append(big.Rooms, &enginev1.SessionRoom{Index: uint32(i), RoomId: strings.Repeat("r", 100)})
	}
	for i := range 200 { // more than 16 MiB
		g.Save(fmt.Sprintf("p%d", i), big)
	}
	sessiontest.Eventually(t, func() bool { return testutil.ToFloat64(g.stats.RecoveryRefused) > 0 }, func() string { return "no write was refused" })
	g.measure(t.Context(), g.kv)
	level, limit := testutil.ToFloat64(g.stats.RecoveryBytes), testutil.ToFloat64(g.stats.RecoveryLimit)
	if limit != 16<<20 || level < 0.9*limit || level > limit {
		t.Errorf("the level is %.0f of %.0f bytes, want it full, of 16 MiB", level, limit)
	}
}
