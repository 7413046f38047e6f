package services

import (
	"strconv"
	"testing"

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
	c.Announced(&eventv1.Catalog{Service: "chat-service", Patterns: []string{"client.v1.*.message.send", "client.v1.chat.message"}})
	kind("client.v1.root.whatever", fault.Unavailable)
	c.Announced(&eventv1.Catalog{Service: "presence-service"})
	kind("client.v1.root.whatever", fault.UnknownEvent)
	kind("client.v1.root.message", fault.UnknownEvent)
	kind("client.v1.chat.message", fault.Unavailable)
	kind("client.v1.root.message.send", fault.Unavailable)
	kind("client.v1.root.message.send.more", fault.UnknownEvent)
	if got := c.Owner("client.v1.x.message.send"); got != "chat-service" {
		t.Errorf("Owner = %s, want chat-service", got)
	}
	c.Announced(&eventv1.Catalog{Service: "chat-service"}) // a new version without them
	kind("client.v1.root.message.send", fault.UnknownEvent)
	c.Announced(&eventv1.Catalog{Service: "new-service", Patterns: []string{"client.v1.*.x"}})
	kind("client.v1.root.x", fault.Unavailable)
	for i := range maxOwners + 10 {
		c.Owner("client.v1." + strconv.Itoa(i) + ".x")
		c.Owner("client.v1." + strconv.Itoa(i) + ".unknown")
	}
	if len(c.owners) > maxOwners {
		t.Errorf("%d looked-up subjects are kept, want %d at most", len(c.owners), maxOwners)
	}
}
