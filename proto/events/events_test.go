package events_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/starling-chat/starling/proto/events/eventstest"
	"github.com/starling-chat/starling/proto/fault"
	"github.com/starling-chat/starling/proto/namespaces"
)

// TestWords compares the closed lists of the contract with those of the code, both ways.
func TestWords(t *testing.T) {
	contract := eventstest.Contract(t)
	var spaces, codes, reasons []string
	for _, n := range contract.Namespaces {
		spaces = append(spaces, n.Name)
	}
	for _, c := range contract.Codes {
		codes = append(codes, c.Code)
	}
	for _, r := range contract.Reasons {
		reasons = append(reasons, r.Reason)
	}
	var kinds []string
	for _, kind := range fault.Kinds() {
		kinds = append(kinds, string(kind))
	}
	for what, lists := range map[string][2][]string{
		"namespaces": {spaces, namespaces.All()}, "codes": {codes, kinds}, "reasons": {reasons, declaredReasons(t)},
	} {
		in, of := slices.Sorted(slices.Values(lists[0])), slices.Sorted(slices.Values(lists[1]))
		if !slices.Equal(in, of) {
			t.Errorf("%s in the contract = %q, want %q as in the code", what, in, of)
		}
	}
}

// declaredReasons lists the constants of fault.Reason that are no refusals of a CONNECT.
func declaredReasons(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../fault/reason.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var reasons []string
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "Reason") {
			return true
		}
		for _, value := range spec.Values {
			literal, ok := value.(*ast.BasicLit)
			if !ok {
				continue
			}
			word, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(fault.Refusals(), fault.Reason(word)) {
				reasons = append(reasons, word)
			}
		}
		return true
	})
	return reasons
}
