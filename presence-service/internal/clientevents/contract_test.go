package clientevents

import (
	"testing"

	"github.com/starling-chat/starling/proto/events/eventstest"
)

// TestContract: the service answers the events that the contract has for it, and no others.
func TestContract(t *testing.T) {
	var answered []eventstest.Answered
	for _, r := range Routes(nil) {
		if r.Event != "presence:get" { // which only reads
			t.Errorf("%s: nobody has decided what a repeat does that comes late (eventserver.Route.OneAtATime)", r.Event)
		}
		answered = append(answered, eventstest.Answered{Event: r.Event, Namespaces: r.Namespaces, Repeatable: r.Repeatable})
	}
	eventstest.Compare(t, "presence-service", answered)
}
