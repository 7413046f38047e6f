package rules_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/rules/rulestest"
)

// TestGivenUp: nothing is done for who waits no more, and the others of the batch do not suffer. Where an earlier try may have done it,
// the answer does not say that it was not.
func TestGivenUp(t *testing.T) {
	state := rulestest.World{"r": {"ann", "bob"}}.State()
	state.Now = time.Now()
	gone := make(chan struct{})
	close(gone)
	by := func(asker rules.Asker, key string) rules.Send {
		c := rulestest.Send("ann", key)
		c.Asker = asker
		return c
	}
	commands := []rules.Command{
		by(rules.Asker{Until: state.Now.Add(-1)}, ""),
		by(rules.Asker{Until: state.Now, Gone: make(chan struct{})}, ""),
		by(rules.Asker{Gone: gone}, ""),
		by(rules.Asker{Until: state.Now.Add(time.Hour), Gone: gone}, "a"),
		rules.Keyed{Commands: []rules.Command{by(rules.Asker{Gone: gone}, "")}},
		rulestest.Send("bob", ""),
	}
	changes, outcomes := rules.Decide(state, commands)
	want := []string{"unavailable", "11", "unavailable", "unavailable", "unavailable", "12"}
	if diff := cmp.Diff(want, rulestest.Short(outcomes)); diff != "" || len(changes.Events) != 2 || len(changes.Answers) != 0 {
		t.Errorf("%d events, %d answers kept; outcomes (-want +got):\n%s", len(changes.Events), len(changes.Answers), diff)
	}
	state.Again = true
	if _, outcomes = rules.Decide(state, commands[:1]); rulestest.Short(outcomes)[0] != "timeout" {
		t.Errorf("after a try of unknown outcome = %v, want timeout", outcomes[0].Err)
	}
	_, outcomes = rules.Decide(state, []rules.Command{rules.Reactions{
		Origin: rules.Origin{Room: "r"}, Each: []rules.React{{Origin: by(rules.Asker{Gone: gone}, "").Origin}, {Origin: rulestest.By("bob")}},
	}})
	if diff := cmp.Diff([]string{"timeout", "not_found"}, rulestest.Short(outcomes[0].Details.Parts)); diff != "" {
		t.Errorf("of reactions together (-want +got):\n%s", diff)
	}
}
