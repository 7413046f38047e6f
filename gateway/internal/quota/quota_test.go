package quota

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestSockets: a user has as many sockets as it may, others do not suffer, and with the last one nothing is left of it.
func TestSockets(t *testing.T) {
	q := New(Limits{Sockets: 3})
	var users []*User
	for i := range 5 {
		if u := q.Enter("ann"); (u != nil) != (i < 3) {
			t.Errorf("socket %d of ann: let in %v, want %v", i, u != nil, i < 3)
		} else if u != nil {
			users = append(users, u)
		}
	}
	if q.Enter("bob") == nil {
		t.Error("bob is refused because of ann")
	}
	users[0].Leave()
	if again := q.Enter("ann"); again != users[1] {
		t.Error("ann is not one user over her sockets, or is refused after one went")
	}
	for _, u := range users {
		u.Leave()
	}
	if n := q.shard("ann").users.Len(); n > 0 && q.shard("ann").users.Get("ann") != nil {
		t.Error("ann is remembered after her last socket")
	}
}

// TestRates: events and bytes count over all sockets of a user, come back with the time, and refusals say after which.
func TestRates(t *testing.T) {
	q := New(Limits{Events: 10, Bursts: 20, Bytes: 1000, BurstSize: 5000})
	now := q.began.Add(time.Hour)
	a, b := q.Enter("ann"), q.Enter("ann")
	for i := range 20 {
		if _, ok := []*User{a, b}[i%2].Take(1, now); !ok {
			t.Fatalf("event %d of a burst of 20 is refused", i)
		}
	}
	wait, ok := a.Take(1, now)
	if ok || wait <= 0 || wait > 100*time.Millisecond {
		t.Errorf("event 21 = %v, %v, want a refusal of up to 100ms", wait, ok)
	}
	if _, ok := b.Take(1, now.Add(wait)); !ok {
		t.Errorf("an event after the %v that were said is refused", wait)
	}
	if _, ok := q.Enter("bob").Take(1, now); !ok {
		t.Error("bob is refused because of ann")
	}
	now = now.Add(time.Hour)
	if _, ok := a.Take(1_000_000, now); !ok {
		t.Error("an event of more than the burst is refused by a full bucket")
	}
	if wait, ok := b.Take(1000, now); ok || wait != time.Second {
		t.Errorf("1000 bytes behind it = %v, %v, want a refusal of 1s", wait, ok)
	}
	if _, ok := New(Limits{}).Enter("ann").Take(1<<30, now); !ok {
		t.Error("without limits something is refused")
	}
}

// TestTogether: sockets of one user that send at once get no more than one would.
func TestTogether(t *testing.T) {
	q := New(Limits{Events: 1, Bursts: 100})
	now := q.began.Add(time.Hour)
	var granted atomic.Int64
	var sockets sync.WaitGroup
	for i := range 8 {
		sockets.Go(func() {
			for n := range 100 {
				u := q.Enter("ann")
				if _, ok := u.Take(n, now); ok {
					granted.Add(1)
				}
				other := q.Enter(fmt.Sprint("other", i))
				other.Leave()
				if n < 99 { // one socket stays
					defer u.Leave()
				}
			}
		})
	}
	sockets.Wait()
	if got := granted.Load(); got != 100 {
		t.Errorf("%d events went through, want 100", got)
	}
}

func BenchmarkTake(b *testing.B) {
	q := New(Limits{Events: 1e9, Bursts: 1e9, Bytes: 1e9, BurstSize: 1e9})
	u := q.Enter("ann")
	b.ReportAllocs()
	for b.Loop() {
		u.Take(100, q.began)
	}
}
