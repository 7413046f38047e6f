package eventserver_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/platform/eventserver"
	"github.com/starling-chat/starling/proto/fault"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// clockAfter gives the replica's number and what its clock shows, when that is more than last.
func (w *world) clockAfter(t *testing.T, announced *nats.Subscription, last uint64) (replica, shows uint64) {
	t.Helper()
	for {
		if err := w.gateway.Publish(subject.CatalogAsk, nil); err != nil {
			t.Fatal(err)
		}
		m, err := announced.NextMsg(patience)
		if err != nil {
			t.Fatal(err)
		}
		var c eventv1.Catalog
		if err := proto.Unmarshal(m.Data, &c); err != nil {
			t.Fatal(err)
		}
		if c.GetClockMs() > last {
			return c.GetReplica(), c.GetClockMs()
		}
	}
}

// TestGivenUp: a request that its gateway has given up is not begun, however long it was on its way, and neither is one of which nobody
// knows how old it is. A route hears until when its request is waited for.
func TestGivenUp(t *testing.T) {
	var begun atomic.Int32
	until := make(chan *eventserver.Request, 10)
	w := serve(t, eventserver.Service{Routes: []eventserver.Route{
		handle(func(_ context.Context, r *eventserver.Request) (*eventserver.Reply, error) {
			begun.Add(1)
			until <- r
			return nil, nil
		}),
		{Event: "write", Write: func(_ context.Context, _ *eventserver.Request, done func(*eventserver.Reply, error)) {
			begun.Add(1)
			done(nil, nil)
		}},
	}}, eventserver.Limits{})
	announced := w.catalogs(t)
	replica, heard := w.clockAfter(t, announced, 0)
	if replica == 0 {
		t.Fatal("the catalog tells of no replica")
	}
	_, now := w.clockAfter(t, announced, heard+10)

	for _, name := range []string{"do", "write"} {
		late := event(name, `[1]`)
		late.Heard, late.PatienceMs = []uint64{replica, heard}, 5
		if got := w.ask(t, late).GetFault(); got.GetCode() != string(fault.Unavailable) || got.GetRetryAfterMs() == 0 {
			t.Errorf("%s, given up since = %v, want unavailable", name, got)
		}
		stranger := event(name, `[1]`)
		stranger.Heard, stranger.PatienceMs = []uint64{replica + 1, now}, 60_000
		if got := w.ask(t, stranger).GetFault().GetCode(); got != string(fault.Unavailable) {
			t.Errorf("%s of a gateway that has not heard of the replica = %q, want unavailable", name, got)
		}
	}
	if n := begun.Load(); n != 0 {
		t.Errorf("%d requests were begun that nobody waits for", n)
	}
	var last eventserver.Request
	for _, wait := range []uint32{10_000, 20_000} { // shorter than the limit of serve
		e := event("do", `[1]`)
		e.Heard, e.PatienceMs = []uint64{replica, now}, wait
		if got := w.ask(t, e).GetFault(); got != nil {
			t.Fatalf("a request that is waited for = %v", got)
		}
		r := <-until
		if between := r.Deadline.Sub(last.Deadline).Milliseconds(); wait == 20_000 && between != 10_000 {
			t.Errorf("with ten more seconds of patience the deadline is %d ms later", between)
		}
		last.Deadline = r.Deadline
	}
	if got := w.ask(t, event("do", `[1]`)).GetFault(); got != nil {
		t.Errorf("a request of a gateway of the release before = %v", got)
	}
}

// TestBegunInTime: an attempt after which another one follows may be begun until then, and its answer is waited for longer.
func TestBegunInTime(t *testing.T) {
	begun := make(chan *eventserver.Request, 10)
	w := serve(t, eventserver.Service{Routes: []eventserver.Route{
		{Event: "do", Repeatable: true, OneAtATime: true, Write: func(_ context.Context, r *eventserver.Request, done func(*eventserver.Reply, error)) {
			begun <- r
			done(nil, nil)
		}},
	}}, eventserver.Limits{})
	announced := w.catalogs(t)
	replica, heard := w.clockAfter(t, announced, 0)
	_, now := w.clockAfter(t, announced, heard+10)

	late := event("do", `[1]`)
	late.Heard, late.PatienceMs, late.BeginMs = []uint64{replica, heard}, 20_000, 5
	if got := w.ask(t, late).GetFault().GetCode(); got != string(fault.Unavailable) || len(begun) != 0 {
		t.Errorf("an attempt that is waited for, but may not be begun any more = %q, and %d were begun; want unavailable and 0", got, len(begun))
	}
	deadline := func(patience, begin uint32) (at time.Time, grace time.Duration) {
		t.Helper()
		e := event("do", `[1]`)
		e.More = []*eventv1.FollowingEvent{{Args: []byte(`[2]`)}}
		e.Heard, e.PatienceMs, e.BeginMs = []uint64{replica, now}, patience, begin
		if got := w.ask(t, e).GetFault(); got != nil {
			t.Fatalf("an attempt that may be begun = %v", got)
		}
		first, second := <-begun, <-begun
		if !first.Deadline.Equal(second.Deadline) || first.Grace != second.Grace {
			t.Errorf("two events of a request: until %v and %v longer, and until %v and %v longer", first.Deadline, first.Grace, second.Deadline, second.Grace)
		}
		return first.Deadline, first.Grace
	}
	whole, none := deadline(20_000, 0) // less than the limit of serve
	if none != 0 {
		t.Errorf("an event of which no attempt follows is waited for %v after its deadline", none)
	}
	for begin, want := range map[uint32]time.Duration{15_000: 5 * time.Second, 20_000: 0, 30_000: 0} {
		at, grace := deadline(20_000, begin)
		if earlier := whole.Sub(at); earlier != want || grace != want {
			t.Errorf("of 20 s it may be begun for %d ms: the deadline is %v earlier, the answer is waited for %v after it; want %v", begin, earlier, grace, want)
		}
	}
	if _, grace := deadline(3_600_000, 1_800_000); grace != 0 {
		t.Errorf("an event is waited for %v after the limit of the service", grace)
	}
}
