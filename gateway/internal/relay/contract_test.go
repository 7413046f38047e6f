package relay

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/starling-chat/starling/proto/events/eventstest"
	"github.com/starling-chat/starling/proto/namespaces"
)

// TestContract: the gateway answers the events that the contract has for it, and no others. All names of events that it declares are asked
// for, and all of the contract.
func TestContract(t *testing.T) {
	names := slices.Concat(declaredEvents(t, "events.go"), declaredEvents(t, "../watches/watch.go"))
	if len(names) < 5 {
		t.Fatalf("events = %q, want those that the gateway answers", names)
	}
	for _, e := range eventstest.Contract(t).ClientEvents {
		names = append(names, e.Event)
	}
	slices.Sort(names)
	var answered []eventstest.Answered
	for _, name := range slices.Compact(names) {
		a := eventstest.Answered{Event: name, Repeatable: true}
		for _, namespace := range namespaces.All() {
			if taskOf(namespace, name) != nil {
				a.Namespaces = append(a.Namespaces, namespace)
			}
		}
		if len(a.Namespaces) > 0 {
			answered = append(answered, a)
		}
	}
	eventstest.Compare(t, "gateway", answered)
}

// declaredEvents lists the constants of a file whose names begin with event.
func declaredEvents(t *testing.T, name string) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 || !strings.HasPrefix(strings.ToLower(spec.Names[0].Name), "event") {
			return true
		}
		if literal, ok := spec.Values[0].(*ast.BasicLit); ok {
			if word, err := strconv.Unquote(literal.Value); err == nil {
				list = append(list, word)
			}
		}
		return true
	})
	return list
}
