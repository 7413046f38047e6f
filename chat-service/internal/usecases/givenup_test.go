package usecases

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/rules/rulestest"
	"github.com/starling-chat/starling/proto/fault/faulttest"
)

// TestGivenUpWrites: what its asker has given up is not begun, and not done when that happens while it waits for the locks.
func TestGivenUpWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(rulestest.World{"r": {"ann"}})
		w, _ := newTestWriter(t, m, &published{}, patient)
		waits := func(d time.Duration) rules.Command {
			c := rulestest.Send("ann", "")
			c.Asker.Until = time.Now().Add(d)
			return c
		}
		got := submit(t, w, waits(commitGrace-1))
		pass(time.Second)
		wantWords(t, got, "unavailable")
		wantBatches(t, m) // the Store was not asked

		m.takes = time.Second // for the locks
		got = submit(t, w, waits(900*time.Millisecond), waits(time.Hour))
		pass(5 * time.Second)
		wantWords(t, got, "unavailable", "11")
	})
}

// TestBegunInTime: an attempt after which another one follows may be begun until then, and what was begun is not cut short; but it is not
// done when it waits for the locks for longer than that.
func TestBegunInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(rulestest.World{"r": {"ann"}})
		w, _ := newTestWriter(t, m, &published{}, patient)
		begins := func(d time.Duration) rules.Command {
			c := rulestest.Send("ann", "")
			c.Asker.Until, c.Asker.Grace = time.Now().Add(d), 3*time.Second
			return c
		}
		got := submit(t, w, begins(commitGrace-1))
		pass(time.Second)
		wantWords(t, got, "11")

		m.takes = time.Second                                                           // for the locks
		got = submit(t, w, begins(900*time.Millisecond), begins(2500*time.Millisecond)) // in one transaction, or in two
		pass(5 * time.Second)
		wantWords(t, got, "unavailable", "12")

		m.takes, m.batches = 2*time.Second, nil
		got = submit(t, w, begins(900*time.Millisecond))
		pass(5 * time.Second)
		wantWords(t, got, "unavailable")
		if len(m.batches) != 1 {
			t.Errorf("%d transactions were tried to their ends, want one", len(m.batches))
		}
	})
}

// TestGivenUpActs: what a moderator asks by a call that ends before it is decided is not done.
func TestGivenUpActs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(rulestest.World{"r": {"ann", "bob"}})
		m.takes = time.Second
		s, _ := newTestService(t, m, &published{}, Config{MembershipTTL: time.Minute})
		ctx, cancel := context.WithCancel(t.Context())
		ann := Caller{User: "ann", Asker: rules.AskedIn(ctx)}
		told := make(chan string, 2)
		done := func(_ ActResult, err error) { told <- faulttest.Word(err) }
		if err := s.AddMembers(ctx, ann, "r", []chat.UserID{"eve"}, "", done); err != nil {
			t.Fatal(err)
		}
		if err := s.RemoveMembers(ctx, ann, "r", []chat.UserID{"bob"}, "", done); err != nil {
			t.Fatal(err)
		}
		pass(time.Millisecond)
		cancel()
		pass(5 * time.Second)
		if diff := cmp.Diff([]string{"unavailable", "unavailable"}, []string{<-told, <-told}); diff != "" || m.state.Rooms["r"].Seq != 10 || len(m.evicted) != 0 {
			t.Errorf("head %d, evicted %v; answers (-want +got):\n%s", m.state.Rooms["r"].Seq, m.evicted, diff)
		}
	})
}
