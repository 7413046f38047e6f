package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

const root = "../.."

// TestFresh: what is committed is what the source says.
func TestFresh(t *testing.T) {
	if err := run(root, true); err != nil {
		t.Error(err)
	}
}

// TestStale: whatever of the generated files is changed, or the source, is found, and made right by another run.
func TestStale(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{sourceDir, "proto/events/gen"} {
		if err := os.CopyFS(filepath.Join(dir, name), os.DirFS(filepath.Join(root, name))); err != nil {
			t.Fatal(err)
		}
	}
	page, err := os.ReadFile(filepath.Join(root, docsFile))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, docsFile), string(page))
	for name, change := range map[string][2]string{
		"proto/events/gen/contract.json":  {`"room:join"`, `"room:enter"`},
		"proto/events/gen/starling.d.ts":  {"Message", "Massage"},
		"proto/events/gen/asyncapi.json":  {`"3.0.0"`, `"2.6.0"`},
		docsFile:                          {"| `room:list` |", "| `room:lists` |"},
		sourceDir + "/notifications.yaml": {"title: string", "title: integer"},
	} {
		file := filepath.Join(dir, name)
		before, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(before, []byte(change[0])) {
			t.Fatalf("%s has no %s: %v", name, change[0], err)
		}
		write(t, file, strings.Replace(string(before), change[0], change[1], 1))
		if err := run(dir, true); err == nil {
			t.Errorf("%s with %s instead of %s is fresh", name, change[1], change[0])
		}
		write(t, file, strings.Replace(string(before), change[0], change[1], 1))
		if err := run(dir, false); err != nil {
			t.Error(err)
		}
		if err := run(dir, true); err != nil {
			t.Error(err)
		}
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestMistakes: a mistake in the source is named, with its line where it has one.
func TestMistakes(t *testing.T) {
	for _, test := range []struct{ file, from, to, want string }{
		{"messages", "repeat: never", "repeats: never", `messages.yaml: line \d+: unknown key "repeats"`},
		{"messages", "repeat: never", "repeat: sometimes", `room:message: needs by .* repeat`},
		{"rooms", "since: rooms", "since: tomorrow", `room:create: since "tomorrow" is no feature`},
		{"rooms", "in: [/, /chat]", "in: [/, /chad]", `room:create: there is no namespace "/chad"`},
		{"rooms", "ack: { room: Room }", "ack: { room: Rome }", `room:create: there is no schema "Rome"`},
		{"rooms", "ack: MembersResult", "ack: Result", `room:add: there is no schema "Result"`},
		{"rooms", "refused: [exists, ", "refused: [existing, ", `room:create: "existing" is neither a code nor a reason`},
		{"rooms", "- event: room:open", "- event: room:create", `room:create: is there twice`},
		{"rooms", "type: integer", "type: int", `rooms.yaml: line \d+: there is no type "int"`},
		{"rooms", "maximum:", "maximal:", `rooms.yaml: line \d+: unknown key "maximal"`},
		{"rooms", "server:", "servers:", `rooms.yaml: line \d+: unknown key "servers"`},
		{"messages", "log: room", "log: rooms", `message:new: log is one of`},
		{"messages", "    argument: MessageSend\n    ack: MessageSent\n", "    argument: MessageSend\n", `message:send: needs ack`},
		{"rooms", "    argument: RoomOnly\n    ack: {}\n    refused: [moderate]\n", "    argument: RoomOnly\n    argumentText: x\n    ack: {}\n    refused: [moderate]\n", `room:archive: has a key: .* would hide`},
		{"contract", "files: [rooms, ", "files: [", `contract.yaml does not list rooms`},
		{"contract", "  - { code: invalid, any: true,", "  - { code: invalid, every: true,", `contract.yaml: line \d+: field every not found`},
	} {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(filepath.Join(root, sourceDir))); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, test.file+".yaml")
		before, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(before), test.from) {
			t.Fatalf("%s has no %q: %v", file, test.from, err)
		}
		write(t, file, strings.Replace(string(before), test.from, test.to, 1))
		if _, err := load(dir); err == nil || !regexp.MustCompile(test.want).MatchString(err.Error()) {
			t.Errorf("%s with %q = %v, want %q", test.file, test.to, err, test.want)
		}
	}
}

// TestMarkers: the tables of the page come all, or it is said which is missing.
func TestMarkers(t *testing.T) {
	c, err := load(filepath.Join(root, sourceDir))
	if err != nil {
		t.Fatal(err)
	}
	for page, want := range map[string]string{
		"<!-- contract: client -->\n<!-- /contract -->\n": "contract: server",
		"<!-- contract: clients -->\n<!-- /contract -->":  `"clients" has no table`,
		"<!-- contract: client -->\n":                     "no end",
	} {
		if _, err := tables(c, []byte(page)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("tables(%q) = %v, want %q", page, err, want)
		}
	}
}

// TestSchemas: the schemas are JSON Schema, and say of payloads what the contract means.
func TestSchemas(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(root, "proto/events/gen/contract.json"))
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("contract.json", document); err != nil {
		t.Fatal(err)
	}
	var contract struct {
		ClientEvents []struct {
			Event         string
			Argument, Ack json.RawMessage
		}
		ServerEvents []struct {
			Event   string
			Payload json.RawMessage
		}
	}
	if err := json.Unmarshal(raw, &contract); err != nil {
		t.Fatal(err)
	}
	at := map[string]*jsonschema.Schema{}
	compile := func(name, pointer string, there json.RawMessage) {
		if there == nil {
			return
		}
		if at[name], err = compiler.Compile("contract.json#" + pointer); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i, e := range contract.ClientEvents {
		pointer := "/clientEvents/" + strconv.Itoa(i)
		compile("argument "+e.Event, pointer+"/argument", e.Argument)
		compile("ack "+e.Event, pointer+"/ack", e.Ack)
	}
	for i, e := range contract.ServerEvents {
		compile("payload "+e.Event, "/serverEvents/"+strconv.Itoa(i)+"/payload", e.Payload)
	}
	const message = `{"id":"01890a5d-ac96-774b-bcce-b302099a8057","roomId":"r","seq":1,"sender":{"id":"a","name":"A"},"content":"c","type":"text","createdAt":"2026-01-01T00:00:00.000Z"`
	for _, test := range []struct {
		schema, value string
		good          bool
	}{
		{"payload message:new", message + `}`, true},
		{"payload message:new", message + `,"system":true}`, true},
		{"payload message:new", message + `,"system":false}`, false},
		{"payload message:new", message + `,"mood":"good"}`, false},
		{"payload message:new", strings.Replace(message, `"seq":1`, `"seq":"1"`, 1) + `}`, false},
		{"payload message:new", strings.Replace(message, `"name":"A"`, `"nom":"A"`, 1) + `}`, false},
		{"payload room:message", `{"sender":"a","timestamp":1,"mood":"good"}`, true},
		{"argument room:join", `"lobby"`, true},
		{"argument room:join", `{"roomId":"lobby","since":0}`, true},
		{"argument room:join", `{"roomId":"lobby","since":-1}`, false},
		{"argument room:join", `{"since":0}`, false},
		{"ack message:send", `{"ok":true}`, false},
		{"ack typing:start", `{"ok":true}`, true},
		{"ack typing:start", `{"ok":false}`, false},
	} {
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(test.value))
		if err != nil || at[test.schema] == nil {
			t.Fatalf("%s: %v", test.schema, err)
		}
		if err := at[test.schema].Validate(value); (err == nil) != test.good {
			t.Errorf("%s of %s = %v, want good = %v", test.schema, test.value, err, test.good)
		}
	}
}

// TestKey: an event with a key takes it in every object that its argument may be, and nowhere else.
func TestKey(t *testing.T) {
	c := &contract{schemas: []named{
		{"RoomId", &schema{Types: []string{"string"}}},
		{"RoomOnly", &schema{AnyOf: []*schema{{Ref: "RoomId"}, {Properties: []property{{"roomId", false, &schema{Ref: "RoomId"}}}}}}},
	}}
	e := &event{Key: true, argument: &schema{Ref: "RoomOnly"}}
	if got, want := typeOf(argumentOf(c, e)), "RoomId | { roomId: RoomId; key?: string }"; got != want {
		t.Errorf("argument = %s, want %s", got, want)
	}
	if got, want := (docs{c}).argument(e), "`roomId` or `{ roomId, key? }`"; got != want {
		t.Errorf("in docs/events.md it is %s, want %s", got, want)
	}
	if got, want := typeOf(e.argument), "RoomOnly"; got != want {
		t.Errorf("the schema is %s by now, want %s", got, want)
	}
}
