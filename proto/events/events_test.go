package events_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/starling-chat/starling/proto/events"
	"github.com/starling-chat/starling/proto/events/eventstest"
	"github.com/starling-chat/starling/proto/fault"
	"github.com/starling-chat/starling/proto/limits"
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
	var refused, refusals []string // with their messages
	for _, e := range contract.ConnectErrors {
		refused = append(refused, e.Code+": "+e.Message)
	}
	for _, reason := range fault.Refusals() {
		refusals = append(refusals, string(reason)+": "+fault.Refusal(reason, nil).Message)
	}
	for what, lists := range map[string][2][]string{
		"namespaces": {spaces, namespaces.All()}, "errors of CONNECT": {refused, refusals}, "codes": {codes, kinds}, "reasons": {reasons, declaredReasons(t)},
	} {
		in, of := slices.Sorted(slices.Values(lists[0])), slices.Sorted(slices.Values(lists[1]))
		if !slices.Equal(in, of) {
			t.Errorf("%s in the contract = %q, want %q as in the code", what, in, of)
		}
	}
}

// TestLimits: what the schemas say of the length of ids is what is taken in.
func TestLimits(t *testing.T) {
	var contract struct {
		Schemas map[string]struct {
			MaxLength  int
			Properties map[string]struct{ MaxLength int }
		}
	}
	if err := json.Unmarshal(events.JSON, &contract); err != nil {
		t.Fatal(err)
	}
	for name, lengths := range map[string][2]int{
		"UserId":                  {contract.Schemas["UserId"].MaxLength, limits.UserIDChars},
		"RoomId":                  {contract.Schemas["RoomId"].MaxLength, limits.RoomIDChars},
		"MessageSend.clientMsgId": {contract.Schemas["MessageSend"].Properties["clientMsgId"].MaxLength, limits.ClientMsgIDChars},
	} {
		if lengths[0] != lengths[1] {
			t.Errorf("%s has %d characters in the contract, want %d", name, lengths[0], lengths[1])
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
