package typing

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starling-chat/starling/chat-service/internal/chat"
)

// replicas are some Trackers whose gossip reaches the others at once.
type replicas struct {
	typing []*Tracker
	mu     sync.Mutex
	events []string // of all replicas, with the time since the start
	told   []chat.RoomEvent
	start  time.Time
	hold   bool // notes arrive when released
	held   []func()
}

func (r *replicas) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.events)
}

func (r *replicas) release() {
	r.hold = false
	for _, deliver := range r.held {
		deliver()
	}
}

// empty fails unless all replicas have forgotten everybody.
func (r *replicas) empty(t *testing.T) {
	t.Helper()
	for i, typing := range r.typing {
		if typing.count != 0 || len(typing.rooms)+len(typing.sockets) > 0 {
			t.Errorf("replica %d remembers %d sockets typing, want none", i, typing.count)
		}
	}
}

type gossip struct {
	r    *replicas
	self int
}

func (g gossip) Tell(n Note) {
	for i, t := range g.r.typing {
		switch {
		case i == g.self:
		case g.r.hold:
			g.r.held = append(g.r.held, func() { t.Heard(n) })
		default:
			t.Heard(n)
		}
	}
}

func newReplicas(t *testing.T, n int) *replicas {
	r := &replicas{start: time.Now()}
	for i := range n {
		r.typing = append(r.typing, New(func(e chat.RoomEvent) error {
			name := "stop"
			if _, ok := e.Fact.(chat.TypingStarted); ok {
				name = "start"
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			r.told = append(r.told, e)
			r.events = append(r.events, name+" "+string(e.Room)+" "+time.Since(r.start).String())
			return nil
		}, gossip{r, i}))
	}
	t.Cleanup(func() {
		for _, typing := range r.typing {
			typing.Close()
		}
	})
	return r
}

func (r *replicas) want(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if diff := cmp.Diff(want, r.events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestTypingEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReplicas(t, 3)
		for i := range 8 { // renewed every second, at any replica
			if err := r.typing[i%3].Start("r", "ann", "Ann", "s"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		time.Sleep(10 * time.Second)
		r.want(t, "start r 0s", "start r 3s", "start r 6s", "stop r 12s")
	})
}

// TestTypingHoldsUntilToldAgain: however a client renews, who shows a start for Expiry shows the typing without a break.
func TestTypingHoldsUntilToldAgain(t *testing.T) {
	for _, pause := range []time.Duration{time.Millisecond, 900 * time.Millisecond, 2999 * time.Millisecond, 4999 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			r := newReplicas(t, 2)
			var told []time.Duration
			for i := 0; time.Since(r.start) < time.Minute; i++ {
				before := r.count()
				if err := r.typing[i%2].Start("r", "ann", "Ann", "s"); err != nil {
					t.Fatal(err)
				}
				if r.count() > before {
					told = append(told, time.Since(r.start))
				}
				time.Sleep(pause)
			}
			for i := 1; i < len(told); i++ {
				if gap := told[i] - told[i-1]; gap < Renewal || gap > Expiry {
					t.Errorf("renewed every %v, told at %v and then at %v, want after %v to %v", pause, told[i-1], told[i], Renewal, Expiry)
				}
			}
			if len(told) < 7 {
				t.Errorf("renewed every %v, told %d times in a minute, want it again and again", pause, len(told))
			}
		})
	}
}

func TestTypingStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReplicas(t, 2)
		_ = r.typing[0].Start("r", "ann", "Ann", "s")
		_ = r.typing[0].Start("q", "ann", "Ann", "s")
		time.Sleep(time.Second)
		r.typing[1].Stop("r", "s") // on the other replica
		r.typing[1].Stop("r", "s") // unknown by now
		for _, typing := range r.typing {
			typing.Disconnected("s")
		}
		_ = r.typing[1].Start("p", "ann", "Ann", "s")
		r.typing[0].StopUser("p", "ann")
		time.Sleep(time.Minute)
		r.want(t, "start r 0s", "start q 0s", "stop r 1s", "stop q 1s", "start p 1s", "stop p 1s")
		r.empty(t)
	})
}

// TestTypingOnTwoTabs: the room is told of a user, who types as long as one of the tabs does, whichever replicas hear of them.
func TestTypingOnTwoTabs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReplicas(t, 2)
		_ = r.typing[0].Start("r", "ann", "Ann", "1")
		time.Sleep(time.Second)
		_ = r.typing[1].Start("r", "ann", "Ann", "2")
		r.typing[0].Stop("r", "2")
		time.Sleep(time.Second)
		_ = r.typing[1].Start("r", "ann", "Ann", "2")
		time.Sleep(time.Second)
		r.typing[0].Disconnected("1")
		time.Sleep(10 * time.Second)
		r.want(t, "start r 0s", "stop r 7s")
		for _, e := range r.told {
			if e.ExceptUser != "ann" {
				t.Errorf("%v goes to all but %q, want all but ann: no tab hears its own user", e.Fact, e.ExceptUser)
			}
		}
		r.empty(t)
	})
}

// TestTypingOfTwoTabsEndsAtOnce: each replica stops one tab, and hears too late that the other has stopped.
func TestTypingOfTwoTabsEndsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReplicas(t, 2)
		_ = r.typing[0].Start("r", "ann", "Ann", "1")
		_ = r.typing[1].Start("r", "ann", "Ann", "2")
		r.hold = true
		r.typing[0].Stop("r", "1")
		r.typing[1].Stop("r", "2")
		r.release()
		time.Sleep(time.Minute)
		r.want(t, "start r 0s", "stop r 0s", "stop r 0s")
		r.empty(t)
	})
}

func TestTypists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReplicas(t, 2)
		for _, user := range []chat.UserID{"ann", "bob"} {
			_ = r.typing[0].Start("r", user, "name of "+string(user), "of "+string(user))
		}
		_ = r.typing[0].Start("q", "cid", "Cid", "of cid")
		for i, typing := range r.typing {
			if diff := cmp.Diff([]chat.TypingStarted{{User: "bob", Name: "name of bob"}}, typing.Typists("r", "ann")); diff != "" {
				t.Errorf("who types beside ann, by replica %d (-want +got):\n%s", i, diff)
			}
		}
		time.Sleep(time.Minute)
		if got := r.typing[0].Typists("r", "ann"); len(got) > 0 {
			t.Errorf("after a minute %v type, want nobody", got)
		}
	})
}

func TestTypingOfDeadReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReplicas(t, 2)
		_ = r.typing[0].Start("r", "ann", "Ann", "s")
		r.typing[0].Close()
		time.Sleep(time.Minute)
		r.want(t, "start r 0s", "stop r 7s")
	})
}
