package postgres

import (
	"log/slog"
	"testing"
	"time"

	"github.com/starling-chat/starling/platform/pg"
	"github.com/starling-chat/starling/platform/pg/pgtest"
	"github.com/starling-chat/starling/presence-service/internal/presence"
)

// TestElectionFollowsTheFailover: the former primary would keep the leader's lock for this replica, while another one takes it
// on the new primary.
func TestElectionFollowsTheFailover(t *testing.T) {
	servers := pgtest.NewPair(t)
	pool, err := pg.Open(t.Context(), servers.Config("presence"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	e := &Election{Pool: pool, Schema: "presence", Log: slog.New(slog.DiscardHandler)}
	t.Cleanup(func() { e.hangUp(t.Context()) })
	await := func(want presence.Claim) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); e.claim(t.Context()) != want; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the claim does not become %v", want)
			}
		}
	}
	await(presence.ClaimHeld)
	servers.Demote(t)
	await(presence.ClaimUnknown)
	servers.Promote(t)
	await(presence.ClaimHeld)
	servers.FailOver(t)
	const held = "SELECT count(*)::text FROM pg_locks WHERE locktype = 'advisory'"
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if e.claim(t.Context()) == presence.ClaimHeld && servers.Ask(t, held) == "1" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the lock is not taken on the new primary")
		}
	}
}
