package chat

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// replicas are some Typing whose gossip reaches the others at once.
type replicas struct {
	typing []*Typing
	events []string // of all replicas, with the time since the start
	start  time.Time
}

type gossip struct {
	r    *replicas
	self int
}

func (g gossip) Tell(n TypingNote) {
	for i, t := range g.r.typing {
		if i != g.self {
			t.Heard(n)
		}
	}
}

func newReplicas(t *testing.T, n int) *replicas {
	r := &replicas{start: time.Now()}
	for i := range n {
		r.typing = append(r.typing, NewTyping(func(e RoomEvent) error {
			name := "stop"
			if _, ok := e.Fact.(TypingStarted); ok {
				name = "start"
			}
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
	if diff := cmp.Diff(want, r.events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestTypingEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReplicas(t, 3)
		for i := range 4 {
			if err := r.typing[i%3].Start("r", "ann", "Ann", "s"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second)
		}
		time.Sleep(10 * time.Second)
		r.want(t, "start r 0s", "stop r 11s")
	})
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
		if n := r.typing[0].count + r.typing[1].count; n != 0 {
			t.Errorf("%d states left, want 0", n)
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
