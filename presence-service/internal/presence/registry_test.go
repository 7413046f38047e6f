package presence

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func at(seconds float64) time.Time {
	return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Add(time.Duration(seconds * float64(time.Second)))
}

func testRegistry() *Registry {
	return NewRegistry(Config{LeaseExpiry: 10 * time.Second, OfflineGrace: 2 * time.Second})
}

func up(sockets ...string) []Socket {
	var s []Socket
	for i := 0; i < len(sockets); i += 2 {
		s = append(s, Socket{SocketID(sockets[i]), UserID(sockets[i+1])})
	}
	return s
}

func digest(ids ...SocketID) (d uint64) {
	for _, id := range ids {
		d ^= HashSocket(id)
	}
	return d
}

func names(r *Registry) []UserID { return r.Online().Users }

// sweepTo calls Sweep every 100 ms, as a Keeper with a proven link does.
func sweepTo(r *Registry, from, to float64) {
	for t := from; t < to; t += 0.1 {
		r.Sweep(at(t))
	}
	r.Sweep(at(to))
}

func TestHashSocket(t *testing.T) {
	// Reference values of FNV-1a, 64 bits.
	for id, want := range map[SocketID]uint64{"": 0xcbf29ce484222325, "a": 0xaf63dc4c8601ec8c, "foobar": 0x85944171f73967e8} {
		if got := HashSocket(id); got != want {
			t.Errorf("HashSocket(%q) = %#x, want %#x", id, got, want)
		}
	}
}

func TestRegistryMessages(t *testing.T) {
	type step struct {
		delta    *Delta
		lease    *Lease
		snapshot *Snapshot
		ask      bool
		awaits   bool
		users    []UserID
	}
	tests := []struct {
		name  string
		steps []step
	}{
		{"a new gateway needs no snapshot", []step{
			{lease: &Lease{Gateway: "g", Incarnation: 1}},
			{delta: &Delta{Gateway: "g", Incarnation: 1, Version: 1, Up: up("s1", "ann")}, users: []UserID{"ann"}},
			{delta: &Delta{Gateway: "g", Incarnation: 1, Version: 2, Up: up("s2", "bob")}, users: []UserID{"ann", "bob"}},
			{lease: &Lease{Gateway: "g", Incarnation: 1, Version: 2, Sockets: 2, Digest: digest("s1", "s2")}, users: []UserID{"ann", "bob"}},
		}},
		{"the first delta is enough", []step{
			{delta: &Delta{Gateway: "g", Incarnation: 1, Version: 1, Up: up("s1", "ann")}, users: []UserID{"ann"}},
		}},
		{"a repeat changes nothing", []step{
			{delta: &Delta{Gateway: "g", Incarnation: 1, Version: 1, Up: up("s1", "ann")}, users: []UserID{"ann"}},
			{delta: &Delta{Gateway: "g", Incarnation: 1, Version: 1, Up: up("s9", "zoe")}, users: []UserID{"ann"}},
		}},
		{"an unknown gateway is asked, deltas wait", []step{
			{lease: &Lease{Gateway: "g", Incarnation: 1, Version: 5, Sockets: 1, Digest: digest("s1")}, ask: true, awaits: true},
			{delta: &Delta{Gateway: "g", Incarnation: 1, Version: 6, Up: up("s2", "bob")}, ask: true, awaits: true},
			{delta: &Delta{Gateway: "g", Incarnation: 1, Version: 7, Up: up("s3", "cat")}, ask: true, awaits: true},
			{snapshot: &Snapshot{Gateway: "g", Incarnation: 1, Version: 6, Sockets: up("s1", "ann", "s2", "bob")}, users: []UserID{"ann", "bob", "cat"}},
		}},
		{"a hole keeps what is known", []step{
			{delta: &Delta{Gateway: "g", Incarnation: 1, Version: 1, Up: up("s1", "ann")}, users: []UserID{"ann"}},
			{delta: &Delta{Gateway: "g", Incarnation: 1, Version: 3, Up: up("s3", "cat")}, ask: true, awaits: true, users: []UserID{"ann"}},
			{snapshot: &Snapshot{Gateway: "g", Incarnation: 1, Version: 2, Sockets: up("s1", "ann", "s2", "bob")}, users: []UserID{"ann", "bob", "cat"}},
		}},
		{"a hole behind the snapshot asks again", []step{
			{lease: &Lease{Gateway: "g", Incarnation: 1, Version: 5}, ask: true, awaits: true},
			{delta: &Delta{Gateway: "g", Incarnation: 1, Version: 8, Up: up("s8", "hal")}, ask: true, awaits: true},
			{snapshot: &Snapshot{Gateway: "g", Incarnation: 1, Version: 6, Sockets: up("s1", "ann")}, ask: true, awaits: true, users: []UserID{"ann"}},
			{snapshot: &Snapshot{Gateway: "g", Incarnation: 1, Version: 8, Sockets: up("s1", "ann", "s8", "hal")}, users: []UserID{"ann", "hal"}},
		}},
		{"a wrong digest asks, a late lease does not", []step{
			{delta: &Delta{Gateway: "g", Incarnation: 1, Version: 1, Up: up("s1", "ann")}, users: []UserID{"ann"}},
			{lease: &Lease{Gateway: "g", Incarnation: 1}, users: []UserID{"ann"}},
			{lease: &Lease{Gateway: "g", Incarnation: 1, Version: 1, Sockets: 1, Digest: 42}, ask: true, awaits: true, users: []UserID{"ann"}},
		}},
		{"a lease ahead asks", []step{
			{delta: &Delta{Gateway: "g", Incarnation: 1, Version: 1, Up: up("s1", "ann")}, users: []UserID{"ann"}},
			{lease: &Lease{Gateway: "g", Incarnation: 1, Version: 2, Sockets: 1, Digest: digest("s1")}, ask: true, awaits: true, users: []UserID{"ann"}},
		}},
		{"a newer incarnation replaces the older, which stays out", []step{
			{delta: &Delta{Gateway: "g", Incarnation: 1, Version: 1, Up: up("s1", "ann")}, users: []UserID{"ann"}},
			{delta: &Delta{Gateway: "g", Incarnation: 2, Version: 1, Up: up("s2", "bob")}, users: []UserID{"ann", "bob"}}, // ann in grace
			{delta: &Delta{Gateway: "g", Incarnation: 1, Version: 2, Up: up("s3", "cat")}, users: []UserID{"ann", "bob"}},
			{lease: &Lease{Gateway: "g", Incarnation: 1, Version: 2}, users: []UserID{"ann", "bob"}},
			{lease: &Lease{Gateway: "g", Incarnation: 2, Version: 1, Sockets: 1, Digest: digest("s2")}, users: []UserID{"ann", "bob"}},
		}},
		{"stragglers of an ended incarnation stay out", []step{
			{delta: &Delta{Gateway: "g", Incarnation: 1, Version: 1, Up: up("s1", "ann")}, users: []UserID{"ann"}},
			{lease: &Lease{Gateway: "g", Incarnation: 1, Version: 1, Ending: true}, users: []UserID{"ann"}}, // in grace
			{delta: &Delta{Gateway: "g", Incarnation: 1, Version: 2, Up: up("s2", "bob")}, users: []UserID{"ann"}},
			{snapshot: &Snapshot{Gateway: "g", Incarnation: 1, Version: 2, Sockets: up("s2", "bob")}, users: []UserID{"ann"}},
		}},
		{"a socket that came and went in one delta is gone", []step{
			{delta: &Delta{Gateway: "g", Incarnation: 1, Version: 1, Up: up("s1", "ann", "s2", "ann"), Down: []SocketID{"s1", "s0"}}, users: []UserID{"ann"}},
			{lease: &Lease{Gateway: "g", Incarnation: 1, Version: 1, Sockets: 1, Digest: digest("s2")}, users: []UserID{"ann"}},
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := testRegistry()
			for i, s := range test.steps {
				var got bool
				switch {
				case s.delta != nil:
					got = r.Apply(*s.delta, at(0))
				case s.lease != nil:
					got = r.Renew(*s.lease, at(0))
				default:
					got = r.Restore(*s.snapshot, at(0))
				}
				if got != s.ask {
					t.Errorf("step %d: ask = %v, want %v", i, got, s.ask)
				}
				if got := r.Awaits("g"); got != s.awaits {
					t.Errorf("step %d: Awaits = %v, want %v", i, got, s.awaits)
				}
				if diff := cmp.Diff(s.users, names(r), cmp.Transformer("empty", func(u []UserID) []UserID { return append([]UserID{}, u...) })); diff != "" {
					t.Errorf("step %d: users (-want +got):\n%s", i, diff)
				}
			}
		})
	}
}

func TestRegistryGrace(t *testing.T) {
	r := testRegistry()
	r.Sweep(at(0))
	r.Apply(Delta{Gateway: "g", Incarnation: 1, Version: 1, Up: up("s1", "ann", "s2", "bob")}, at(0))
	r.Apply(Delta{Gateway: "g", Incarnation: 1, Version: 2, Down: []SocketID{"s1", "s2"}}, at(1))
	sweepTo(r, 0, 2)
	r.Apply(Delta{Gateway: "h", Incarnation: 1, Version: 1, Up: up("s3", "ann")}, at(2))
	sweepTo(r, 2, 2.9)
	if got, want := names(r), []UserID{"ann", "bob"}; !slices.Equal(got, want) {
		t.Errorf("in grace: users = %v, want %v", got, want)
	}
	r.Sweep(at(3))
	if got, want := names(r), []UserID{"ann"}; !slices.Equal(got, want) {
		t.Errorf("after the grace: users = %v, want %v", got, want)
	}
	if got, want := r.Departures(10), []Sighting{{"bob", at(1)}}; !slices.Equal(got, want) {
		t.Errorf("Departures = %v, want %v: last seen when the socket went", got, want)
	}
	r.Stored([]Sighting{{"bob", at(1)}})
	if got := r.Departures(10); len(got) != 0 {
		t.Errorf("Departures after Stored = %v, want none", got)
	}
}

func TestRegistryLeaseExpiry(t *testing.T) {
	r := testRegistry()
	r.Apply(Delta{Gateway: "g", Incarnation: 1, Version: 1, Up: up("s1", "ann", "s2", "bob")}, at(0))
	r.Apply(Delta{Gateway: "h", Incarnation: 1, Version: 1, Up: up("s1", "bob")}, at(5))
	sweepTo(r, 0, 9.9)
	if got, want := names(r), []UserID{"ann", "bob"}; !slices.Equal(got, want) {
		t.Errorf("before expiry: users = %v, want %v", got, want)
	}
	r.Sweep(at(10))
	if got, want := names(r), []UserID{"bob"}; !slices.Equal(got, want) {
		t.Errorf("after expiry: users = %v, want %v", got, want)
	}
	if got, want := r.Departures(10), []Sighting{{"ann", at(0)}}; !slices.Equal(got, want) {
		t.Errorf("Departures = %v, want %v: when the gateway was heard last", got, want)
	}
	// The gateway was only stopped: it comes back with the same incarnation.
	if !r.Renew(Lease{Gateway: "g", Incarnation: 1, Version: 1, Sockets: 2, Digest: digest("s1", "s2")}, at(12)) {
		t.Error("Renew after expiry = false, want true: a snapshot is needed")
	}
	r.Restore(Snapshot{Gateway: "g", Incarnation: 1, Version: 1, Sockets: up("s1", "ann", "s2", "bob")}, at(12))
	if got, want := names(r), []UserID{"ann", "bob"}; !slices.Equal(got, want) {
		t.Errorf("after return: users = %v, want %v", got, want)
	}
	if got, want := r.Stats(), (Stats{Users: 2, Sockets: 3, Gateways: 2}); got != want {
		t.Errorf("Stats = %+v, want %+v", got, want)
	}
}

func TestRegistryOutageProlongsLeases(t *testing.T) {
	r := testRegistry()
	r.Apply(Delta{Gateway: "g", Incarnation: 1, Version: 1, Up: up("s1", "ann", "s2", "bob")}, at(0))
	r.Apply(Delta{Gateway: "g", Incarnation: 1, Version: 2, Down: []SocketID{"s2"}}, at(1))
	sweepTo(r, 0, 2)
	// The link is down for 30 s: nobody calls Sweep. bob reconnected meanwhile; nobody heard it.
	r.Sweep(at(32))
	if got, want := names(r), []UserID{"ann", "bob"}; !slices.Equal(got, want) {
		t.Errorf("right after the outage: users = %v, want %v", got, want)
	}
	if !r.Apply(Delta{Gateway: "g", Incarnation: 1, Version: 9}, at(34)) {
		t.Error("Apply with a hole = false, want true")
	}
	r.Restore(Snapshot{Gateway: "g", Incarnation: 1, Version: 9, Sockets: up("s1", "ann", "s7", "bob")}, at(34))
	sweepTo(r, 32, 43.9)
	if got, want := names(r), []UserID{"ann", "bob"}; !slices.Equal(got, want) {
		t.Errorf("users = %v, want %v", got, want)
	}
	r.Sweep(at(44))
	if got := names(r); len(got) != 0 {
		t.Errorf("after the lease: users = %v, want none", got)
	}
}

func TestRegistryWarming(t *testing.T) {
	lease := Lease{Gateway: "g", Incarnation: 1, Version: 5, Sockets: 1, Digest: digest("s1")}
	snapshot := Snapshot{Gateway: "g", Incarnation: 1, Version: 5, Sockets: up("s1", "ann")}
	tests := []struct {
		name  string
		steps map[float64]func(*Registry, time.Time)
		want  float64 // seconds
	}{
		{"no gateway", nil, 4},
		{"answered", map[float64]func(*Registry, time.Time){
			1: func(r *Registry, now time.Time) { r.Renew(lease, now) },
			2: func(r *Registry, now time.Time) { r.Restore(snapshot, now) },
		}, 4},
		{"answered late", map[float64]func(*Registry, time.Time){
			1: func(r *Registry, now time.Time) { r.Renew(lease, now) },
			7: func(r *Registry, now time.Time) { r.Restore(snapshot, now) },
		}, 7},
		{"never answered", map[float64]func(*Registry, time.Time){
			1: func(r *Registry, now time.Time) { r.Renew(lease, now) },
			9: func(r *Registry, now time.Time) { r.Renew(lease, now) },
		}, 10},
		{"heard late", map[float64]func(*Registry, time.Time){
			4: func(r *Registry, now time.Time) { r.Renew(lease, now) },
		}, 4},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := testRegistry()
			for ms := 0; !r.IsWarm(); ms += 250 {
				if step := test.steps[float64(ms)/1000]; step != nil {
					step(r, at(float64(ms)/1000))
				}
				r.Sweep(at(float64(ms) / 1000))
				if got := float64(ms) / 1000; r.IsWarm() && got != test.want {
					t.Errorf("warm at %v s, want %v s", got, test.want)
				} else if got > 20 {
					t.Fatal("never warm")
				}
			}
		})
	}
}

// TestRegistryAboveList: above MaxListed nobody is listed, and all changes are told once to those who watch.
func TestRegistryAboveList(t *testing.T) {
	r := testRegistry()
	d := Delta{Gateway: "g", Incarnation: 1, Version: 1}
	for i := range 1200 {
		d.Up = append(d.Up, Socket{SocketID(fmt.Sprintf("s%d", i)), UserID(fmt.Sprintf("u%04d", i))})
	}
	r.Apply(d, at(0))
	o := r.Online()
	if o.Complete || o.Count != 1200 || len(o.Users) != 0 || len(o.Changes) != 1200 {
		t.Errorf("Online = complete %v, count %d, %d users, %d changes, want 1200 and their changes, nobody by name", o.Complete, o.Count, len(o.Users), len(o.Changes))
	}
	r.Published(o, at(1))
	if _, pending := r.Pending(); pending {
		t.Error("Pending = true after all was told, want false")
	}
	// What happens between composing and sending stays pending.
	o = r.Online()
	r.Apply(Delta{Gateway: "g", Incarnation: 1, Version: 2, Up: up("n", "new")}, at(2))
	r.Published(o, at(2))
	if _, pending := r.Pending(); !pending {
		t.Error("Pending = false, want true")
	}
	if diff := cmp.Diff([]Change{{User: "new", Online: true}}, r.Online().Changes); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	r.Forget(at(3))
	if _, pending := r.Pending(); pending {
		t.Error("Pending after Forget = true, want false")
	}
}

// TestRegistryScope: who is listed, and whose changes are told, as the operator says.
func TestRegistryScope(t *testing.T) {
	for _, test := range []struct {
		scope Scope
		want  Online
	}{
		{"", Online{Users: []UserID{"ann"}, Count: 1, Complete: true, Changes: []Change{{User: "ann", Online: true}}}},
		{ScopeEveryone, Online{Users: []UserID{"ann"}, Count: 1, Complete: true, Changes: []Change{{User: "ann", Online: true}}}},
		{ScopeRooms, Online{Changes: []Change{{User: "ann", Online: true}}}},
		{ScopeNone, Online{}},
	} {
		r := NewRegistry(Config{LeaseExpiry: 10 * time.Second, Scope: test.scope})
		r.Apply(Delta{Gateway: "g", Incarnation: 1, Version: 1, Up: up("a", "ann")}, at(0))
		o := r.Online()
		r.Published(o, at(1))
		if _, pending := r.Pending(); pending {
			t.Errorf("Pending with scope %q = true after all was told, want false", test.scope)
		}
		o.upTo = 0
		if diff := cmp.Diff(test.want, o, cmp.AllowUnexported(Online{})); diff != "" {
			t.Errorf("Online with scope %q (-want +got):\n%s", test.scope, diff)
		}
	}
}

// TestRegistryRandom compares the registry with a plain model under random deltas.
func TestRegistryRandom(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	r := NewRegistry(Config{LeaseExpiry: 10 * time.Second})
	model := map[SocketID]UserID{}
	for version := uint64(1); version <= 400; version++ {
		d := Delta{Gateway: "g", Incarnation: 1, Version: version}
		for id := range model {
			if rng.IntN(8) == 0 {
				d.Down = append(d.Down, id)
				delete(model, id)
			}
		}
		fresh := rng.IntN(500)
		if version/100%2 == 1 {
			fresh = rng.IntN(20) // let it shrink, too
		}
		for i := range fresh {
			s := Socket{SocketID(fmt.Sprintf("%d-%d", version, i)), UserID(fmt.Sprintf("u%04d", rng.IntN(5000)))}
			d.Up = append(d.Up, s)
			model[s.ID] = s.User
		}
		r.Apply(d, at(0))
		users := map[UserID]bool{}
		var sum uint64
		for id, u := range model {
			users[u] = true
			sum ^= HashSocket(id)
		}
		want := make([]UserID, 0, len(users))
		for id := range users {
			want = append(want, id)
		}
		slices.Sort(want)
		o := r.Online()
		if len(want) > MaxListed {
			want = nil
		}
		if o.Count != len(users) || !slices.Equal(o.Users, want) {
			t.Fatalf("version %d: Online = %d users, %d listed; want %d, %d", version, o.Count, len(o.Users), len(users), len(want))
		}
		if r.Renew(Lease{Gateway: "g", Incarnation: 1, Version: version, Sockets: uint32(len(model)), Digest: sum}, at(0)) {
			t.Fatalf("version %d: the digest differs", version)
		}
	}
}

func TestAssembly(t *testing.T) {
	page := func(incarnation int64, version uint64, number, pages uint32, sockets ...string) Page {
		return Page{Snapshot{"g", incarnation, version, up(sockets...)}, number, pages}
	}
	tests := []struct {
		name  string
		pages []Page
		want  []Socket // nil: not whole
		err   bool
	}{
		{"one", []Page{page(1, 3, 0, 1, "a", "ann")}, up("a", "ann"), false},
		{"any order, repeats", []Page{page(1, 3, 1, 2, "b", "bob"), page(1, 3, 1, 2, "b", "bob"), page(1, 3, 0, 2, "a", "ann")}, up("b", "bob", "a", "ann"), false},
		{"missing", []Page{page(1, 3, 0, 2, "a", "ann")}, nil, false},
		{"newer incarnation wins", []Page{page(1, 9, 0, 2, "a", "ann"), page(2, 1, 0, 1, "b", "bob")}, up("b", "bob"), false},
		{"older incarnation is ignored", []Page{page(2, 1, 0, 2, "b", "bob"), page(1, 9, 0, 1, "a", "ann"), page(2, 1, 1, 2)}, up("b", "bob"), false},
		{"out of bounds", []Page{page(1, 1, 2, 2)}, nil, true},
		{"no pages", []Page{page(1, 1, 0, 0)}, nil, true},
		{"pages differ", []Page{page(1, 1, 0, 2), page(1, 1, 1, 3)}, nil, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := NewAssembly("g")
			for i, p := range test.pages {
				s, done, err := a.Add(p)
				if last := i == len(test.pages)-1; !last {
					if done || err != nil {
						t.Fatalf("Add(page %d) = %v, %v, want more", i, done, err)
					}
					continue
				}
				if (err != nil) != test.err || done != (test.want != nil) {
					t.Fatalf("Add = done %v, %v, want %v, error %v", done, err, test.want != nil, test.err)
				}
				if diff := cmp.Diff(test.want, s.Sockets); done && diff != "" {
					t.Errorf("sockets (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func BenchmarkApply(b *testing.B) {
	for _, size := range []int{1000, 100_000} {
		b.Run(fmt.Sprintf("online=%d", size), func(b *testing.B) {
			r := testRegistry()
			d := Delta{Gateway: "g", Incarnation: 1, Version: 1}
			for i := range size {
				d.Up = append(d.Up, Socket{SocketID(fmt.Sprintf("s%d", i)), UserID(fmt.Sprintf("u%d", i))})
			}
			r.Apply(d, at(0))
			version := uint64(1)
			for b.Loop() {
				version++
				r.Apply(Delta{Gateway: "g", Incarnation: 1, Version: version, Up: up("x", "zed")}, at(0))
				version++
				r.Apply(Delta{Gateway: "g", Incarnation: 1, Version: version, Down: []SocketID{"x"}}, at(0))
				if version%1000 < 2 {
					r.endGraces(at(10))
				}
			}
		})
	}
}
