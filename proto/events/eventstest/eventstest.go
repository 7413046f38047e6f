// Package eventstest compares what a part of Starling answers with the contract of client events.
package eventstest

import (
	"slices"
	"testing"

	"github.com/starling-chat/starling/proto/events"
	"github.com/starling-chat/starling/proto/namespaces"
)

// Answered is an event that a part answers.
type Answered struct {
	Event      string
	Namespaces []string // "*" stands for all
	Repeatable bool
}

// Compare fails unless a part answers exactly the events that the contract has for it, on the same namespaces, and those may be repeated of
// which the contract says so.
func Compare(t *testing.T, part string, answered []Answered) {
	t.Helper()
	contract := Contract(t)
	wanted := map[string]events.ClientEvent{}
	for _, e := range contract.AnsweredBy(part) {
		wanted[e.Event] = e
	}
	if len(wanted) == 0 {
		t.Fatalf("the contract has no events of %s", part)
	}
	for _, a := range answered {
		want, known := wanted[a.Event]
		if !known {
			t.Errorf("%s answers %s, which is not in the contract (proto/events/source)", part, a.Event)
			continue
		}
		delete(wanted, a.Event)
		have := a.Namespaces
		if slices.Contains(have, "*") {
			have = namespaces.All()
		}
		if !slices.Equal(slices.Sorted(slices.Values(have)), slices.Sorted(slices.Values(want.Namespaces))) {
			t.Errorf("%s is answered on %q, want %q as in the contract", a.Event, have, want.Namespaces)
		}
		if a.Repeatable != (want.Repeat != "never") {
			t.Errorf("%s: Repeatable is %v, and its repeat in the contract %q", a.Event, a.Repeatable, want.Repeat)
		}
	}
	for event := range wanted {
		t.Errorf("the contract has %s, which %s does not answer", event, part)
	}
}

// Contract reads the contract.
func Contract(t *testing.T) events.Contract {
	t.Helper()
	contract, err := events.Read()
	if err != nil {
		t.Fatal(err)
	}
	return contract
}
