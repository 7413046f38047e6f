package services

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/proto/fault"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

func TestCatalogExplains(t *testing.T) {
	c := NewCatalog([]string{"chat-service", "presence-service"})
	kind := func(subj string, want fault.Kind) {
		t.Helper()
		if got := c.Missing(subj); got.Kind != want || (got.RetryAfter > 0) != (want == fault.Unavailable) {
			t.Errorf("Missing(%s) = %v, want %s", subj, got, want)
		}
	}
	kind("client.v1.root.message.send", fault.Unavailable) // nobody has said anything yet
	c.Announced(&eventv1.Catalog{Service: "chat-service", Patterns: []string{"client.v1.*.message.send", "client.v1.chat.message"}}, time.Now())
	kind("client.v1.root.whatever", fault.Unavailable)
	c.Announced(&eventv1.Catalog{Service: "presence-service"}, time.Now())
	kind("client.v1.root.whatever", fault.UnknownEvent)
	kind("client.v1.root.message", fault.UnknownEvent)
	kind("client.v1.chat.message", fault.Unavailable)
	kind("client.v1.root.message.send", fault.Unavailable)
	kind("client.v1.root.message.send.more", fault.UnknownEvent)
	if got := c.Owner("client.v1.x.message.send"); got != "chat-service" {
		t.Errorf("Owner = %s, want chat-service", got)
	}
	c.Announced(&eventv1.Catalog{Service: "chat-service"}, time.Now()) // a new version without them
	kind("client.v1.root.message.send", fault.UnknownEvent)
	c.Announced(&eventv1.Catalog{Service: "new-service", Patterns: []string{"client.v1.*.x"}}, time.Now())
	kind("client.v1.root.x", fault.Unavailable)
	for i := range maxOwners + 10 {
		c.Owner("client.v1." + strconv.Itoa(i) + ".x")
		c.Owner("client.v1." + strconv.Itoa(i) + ".unknown")
	}
	if len(c.owners) > maxOwners {
		t.Errorf("%d looked-up subjects are kept, want %d at most", len(c.owners), maxOwners)
	}
}

// TestOneAtATime: what a service announces of an event holds for that event on the namespaces that it names, until it announces another thing.
func TestOneAtATime(t *testing.T) {
	c := NewCatalog(nil)
	announce := func(oneAtATime ...string) {
		c.Announced(&eventv1.Catalog{
			Service: "chat", Repeats: true, Patterns: []string{"client.v1.*.react", "client.v1.*.send"}, OneAtATime: oneAtATime,
		}, time.Now())
	}
	want := func(subj string, repeats, oneAtATime bool) {
		t.Helper()
		for range 2 { // the second time it is known
			if r, one := c.Repeats(subj); r != repeats || one != oneAtATime {
				t.Errorf("Repeats(%s) = %v, %v, want %v, %v", subj, r, one, repeats, oneAtATime)
			}
		}
	}
	want("client.v1.root.react", false, false)
	announce("client.v1.*.react")
	want("client.v1.root.react", true, true)
	want("client.v1.root.send", true, false)
	want("client.v1.root.other", false, false)
	announce()
	want("client.v1.root.react", true, false)
}

// TestHeard: a request tells a replica what was heard of its clock last, and of replicas that are gone nothing.
func TestHeard(t *testing.T) {
	c, start := NewCatalog(nil), time.Now()
	hear := func(service string, replica, clock uint64, after time.Duration) {
		c.Announced(&eventv1.Catalog{Service: service, Patterns: []string{"client.v1.root." + service}, Replica: replica, ClockMs: clock}, start.Add(after))
	}
	heard := func(subj string) []uint64 {
		var e eventv1.ClientEvent
		if err := proto.Unmarshal(c.Heard(subj), &e); err != nil {
			t.Fatal(err)
		}
		return e.GetHeard()
	}
	hear("chat", 1, 10, 0)
	hear("chat", 2, 1<<40, 0)
	hear("other", 3, 30, 0)
	c.Announced(&eventv1.Catalog{Service: "old", Patterns: []string{"client.v1.root.old"}}, start)
	before := c.of("client.v1.root.chat")
	hear("chat", 1, 510, time.Second)
	if c.of("client.v1.root.chat") != before {
		t.Error("a clock that goes on is another catalog")
	}
	want := map[string][]uint64{"chat": {2, 1 << 40, 1, 510}, "other": {3, 30}, "old": nil, "unknown": nil}
	for service, pairs := range want {
		if got := heard("client.v1.root." + service); !slices.Equal(got, pairs) {
			t.Errorf("heard of %s: %v, want %v", service, got, pairs)
		}
	}
	for replica := range uint64(100) {
		hear("chat", 10+replica, 1, time.Second)
	}
	if got := heard("client.v1.root.chat"); len(got) != 2*maxClocks || got[len(got)-2] != 109 {
		t.Errorf("of many replicas heard: %v, want the last %d", got, maxClocks)
	}
	hear("chat", 5, 7, time.Second+forgetClock+1)
	if got := heard("client.v1.root.chat"); !slices.Equal(got, []uint64{5, 7}) {
		t.Errorf("heard, long after the others: %v, want 5 alone", got)
	}
}
