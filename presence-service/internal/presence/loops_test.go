package presence

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// rig runs a Keeper and a Journal in a bubble, with a gateway and ports in memory.
type rig struct {
	registry   *Registry
	leadership *Leadership

	mu       sync.Mutex // guards all below
	start    time.Time
	broken   bool // the link
	storeOff bool
	sent     []message
	seen     map[UserID]time.Time
}

type message struct {
	after time.Duration
	Online
	standIn bool
}

func (g *rig) PublishOnline(_ context.Context, o Online, standIn bool) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.broken {
		return errors.New("broken")
	}
	g.sent = append(g.sent, message{time.Since(g.start), o, standIn})
	return nil
}

func (g *rig) Prove(context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.broken {
		return errors.New("broken")
	}
	return nil
}

func (g *rig) SaveSightings(_ context.Context, sightings []Sighting) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.storeOff {
		return ErrUnavailable
	}
	for _, s := range sightings {
		g.seen[s.User] = s.At
	}
	return nil
}

func (g *rig) LastSeen(_ context.Context, _ []UserID) (map[UserID]time.Time, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.storeOff {
		return nil, ErrUnavailable
	}
	return maps.Clone(g.seen), nil
}

func (g *rig) set(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
}

// take gives the messages since the last call.
func (g *rig) take() []message {
	g.mu.Lock()
	defer g.mu.Unlock()
	sent := g.sent
	g.sent = nil
	return sent
}

// inBubble runs f with the loops running, as the holder of the lock.
func inBubble(t *testing.T, f func(t *testing.T, g *rig)) {
	synctest.Test(t, func(t *testing.T) {
		g := &rig{registry: testRegistry(), leadership: NewLeadership(Config{}, "b", time.Now()), start: time.Now(), seen: map[UserID]time.Time{}}
		g.leadership.SetClaim(ClaimHeld)
		log := slog.New(slog.DiscardHandler)
		ctx, cancel := context.WithCancel(t.Context())
		var loops sync.WaitGroup
		loops.Go(func() {
			_ = (&Keeper{Registry: g.registry, Leadership: g.leadership, Publisher: g, Link: g, Log: log}).Run(ctx)
		})
		loops.Go(func() { _ = (&Journal{Registry: g.registry, Leadership: g.leadership, Store: g, Log: log}).Run(ctx) })
		f(t, g)
		cancel()
		loops.Wait()
	})
}

func delta(version uint64, sockets []Socket, down ...SocketID) Delta {
	return Delta{Gateway: "g", Incarnation: 1, Version: version, Up: sockets, Down: down}
}

func TestKeeperPublishesNothingWhileWarming(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		g.registry.Apply(delta(1, up("s1", "ann")), time.Now())
		time.Sleep(4 * time.Second)
		if got := g.take(); len(got) != 0 {
			t.Errorf("messages while warming = %v, want none", got)
		}
		time.Sleep(time.Second)
		got := g.take()
		if len(got) != 1 || !slices.Equal(got[0].Users, []UserID{"ann"}) || !got[0].Complete || got[0].Count != 1 {
			t.Errorf("messages = %+v, want one with ann", got)
		}
	})
}

func TestKeeperCoalescesAndRefreshes(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		renew := func() { g.registry.Apply(delta(1, up("s0", "me")), time.Now()) }
		renew()
		time.Sleep(6900 * time.Millisecond) // the first message went out at 4.25 s
		g.take()
		began := time.Since(g.start)
		for i := range 25 { // a change every 100 ms
			g.registry.Apply(delta(uint64(2+i), up(fmt.Sprintf("s%d", i+1), fmt.Sprintf("u%02d", i))), time.Now())
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(10 * time.Second) // the lease has to live
		renew()
		var after []time.Duration
		for _, m := range g.take() {
			after = append(after, (m.after - began).Round(10*time.Millisecond))
		}
		want := []time.Duration{20 * time.Millisecond, 1020 * time.Millisecond, 2020 * time.Millisecond, 3020 * time.Millisecond, 8020 * time.Millisecond}
		if len(after) < len(want) || !slices.Equal(after[:len(want)], want) {
			t.Errorf("messages after %v, want %v and refreshes", after, want)
		}
	})
}

func TestKeeperGatewayKilled(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		g.registry.Apply(delta(1, up("s1", "ann")), time.Now())
		for range 6 {
			time.Sleep(3 * time.Second)
			g.registry.Renew(Lease{Gateway: "g", Incarnation: 1, Version: 1, Sockets: 1, Digest: digest("s1")}, time.Now())
		}
		killed := time.Since(g.start)
		g.take()
		time.Sleep(15 * time.Second)
		for _, m := range g.take() {
			if m.Count == 0 {
				if took := m.after - killed; took > 12*time.Second {
					t.Errorf("offline after %v, want 12s at most", took)
				}
				return
			}
		}
		t.Error("ann is still online after 15s")
	})
}

func TestKeeperOutageFlapsNobody(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		lease := Lease{Gateway: "g", Incarnation: 1, Version: 1, Sockets: 1, Digest: digest("s1")}
		g.registry.Apply(delta(1, up("s1", "ann")), time.Now())
		time.Sleep(5 * time.Second)
		g.set(func() { g.broken = true })
		time.Sleep(40 * time.Second)
		g.set(func() { g.broken = false })
		for range 10 {
			time.Sleep(3 * time.Second)
			g.registry.Renew(lease, time.Now())
		}
		for _, m := range g.take() {
			if m.Count != 1 {
				t.Errorf("message after %v has %d users, want 1", m.after, m.Count)
			}
		}
	})
}

func TestJournal(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		seen := func() (m map[UserID]time.Time) {
			g.set(func() { m = maps.Clone(g.seen) })
			return m
		}
		g.registry.Apply(delta(1, up("s1", "ann", "s2", "bob")), time.Now())
		time.Sleep(7 * time.Second)
		if got := seen(); len(got) != 2 {
			t.Errorf("seen = %v, want ann and bob right after the lead was taken", got)
		}
		g.set(func() { g.storeOff = true })
		left := time.Now()
		g.registry.Apply(delta(2, nil, "s1"), left)
		time.Sleep(8 * time.Second)
		query := &Query{Registry: g.registry, Store: g}
		if got, err := query.Users(t.Context(), []UserID{"ann", "bob", "ann"}); err != nil ||
			!slices.Equal(got, []Status{{User: "ann", LastSeen: left}, {User: "bob", Online: true}}) {
			t.Errorf("Users = %v, %v, want ann as not yet stored, bob online", got, err)
		}
		if _, err := query.Users(t.Context(), []UserID{"zoe"}); !errors.Is(err, ErrUnavailable) {
			t.Errorf("Users of a stranger without a store = %v, want ErrUnavailable", err)
		}
		g.registry.Apply(delta(3, nil), time.Now())
		g.set(func() { g.storeOff = false })
		time.Sleep(5 * time.Second)
		if got := seen()["ann"]; !got.Equal(left) {
			t.Errorf("ann was seen at %v, want %v", got, left)
		}
		g.registry.Apply(delta(4, nil), time.Now())
		for range 8 { // beyond a minute
			time.Sleep(9 * time.Second)
			g.registry.Renew(Lease{Gateway: "g", Incarnation: 1, Version: 4, Sockets: 1, Digest: digest("s2")}, time.Now())
		}
		if got := time.Since(seen()["bob"]); got > time.Minute {
			t.Errorf("bob, online, was seen %v ago, want a minute at most", got)
		}
		if got := seen()["ann"]; !got.Equal(left) {
			t.Errorf("ann was seen at %v, want still %v", got, left)
		}
	})
}

func TestFollowerTakesOver(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		g.leadership.SetClaim(ClaimDenied)
		g.registry.Apply(delta(1, up("s1", "ann", "s2", "bob")), time.Now())
		time.Sleep(8 * time.Second)
		left := time.Now()
		g.registry.Apply(delta(2, nil, "s1"), left)
		time.Sleep(4 * time.Second)
		if got := g.take(); len(got) != 0 || len(g.seen) != 0 {
			t.Errorf("a follower published %v and wrote %v, want nothing", got, g.seen)
		}
		g.leadership.SetClaim(ClaimHeld)
		time.Sleep(3 * time.Second)
		if got := g.take(); len(got) != 1 || !slices.Equal(got[0].Users, []UserID{"bob"}) {
			t.Errorf("messages = %+v, want one with bob", got)
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		if got := g.seen["ann"]; !got.Equal(left) {
			t.Errorf("ann was seen at %v, want %v: the old leader may not have written it", got, left)
		}
	})
}

func TestLeadership(t *testing.T) {
	type heard struct {
		replica string
		standIn bool
	}
	tests := []struct {
		name    string
		claim   Claim
		heard   []heard // every second
		leads   bool
		standIn bool
	}{
		{"the lock leads", ClaimHeld, []heard{{"a", false}, {"a", true}}, true, false},
		{"denied follows", ClaimDenied, nil, false, false},
		{"silence makes a stand-in", ClaimUnknown, nil, true, true},
		{"own voice is not another replica", ClaimUnknown, []heard{{"b", true}}, true, true},
		{"a holder is better", ClaimUnknown, []heard{{"c", false}}, false, true},
		{"a lower stand-in is better", ClaimUnknown, []heard{{"a", true}}, false, true},
		{"a higher stand-in is not", ClaimUnknown, []heard{{"c", true}}, true, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := NewLeadership(Config{}, "b", at(0))
			l.SetClaim(test.claim)
			for s := range 10 {
				for _, h := range test.heard {
					l.Heard(h.replica, h.standIn, at(float64(s)))
				}
			}
			if leads, standIn := l.Leads(at(10)); leads != test.leads || leads && standIn != test.standIn {
				t.Errorf("Leads = %v, %v, want %v, %v", leads, standIn, test.leads, test.standIn)
			}
		})
	}
	l := NewLeadership(Config{}, "b", at(0))
	if leads, _ := l.Leads(at(5.9)); leads {
		t.Error("Leads before the silence = true, want false")
	}
}
