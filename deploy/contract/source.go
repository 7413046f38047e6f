package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// contract is the source, read and checked.
type contract struct {
	Version       string
	Files         []string
	Namespaces    []namespace
	ConnectErrors []connectError
	Features      []feature
	Codes         []code
	Reasons       []reason
	Refusals      map[string][]string

	schemas []named
	client  []*event
	server  []*event
}

type namespace struct {
	Name  string
	Types string // before the names of its TypeScript maps
	Text  string
}

// connectError is what a CONNECT is refused with.
type connectError struct{ Code, Message, Means string }

type feature struct{ Name, Text string }

type code struct {
	Code  string
	Any   bool // any event may be answered with it
	Means string
	Again string // whether to try again
}

type reason struct{ Reason, Code, Means string }

type named struct {
	name   string
	schema *schema
}

// event is an event that clients emit, or get.
type event struct {
	Event    string
	Since    string
	In       []string // namespaces
	By       string   // who answers
	Repeat   string
	Key      bool // the argument may have a key
	Optional bool // the argument may be absent
	Anything bool // any arguments, of any number
	Refused  []string
	Log      string // in whose sequence it is: a room's, a user's, or none
	Offset   bool   // the offset of recovery may come behind the payload, as it does with every event of a log
	Text, To string

	// What stands in the tables of docs/events.md instead of, or behind, what the schemas say.
	ArgumentText, AckText, PayloadText, PayloadNote string

	argument, payload *schema
	ack               []property
	ackName           string // of the schema that the ack is, beside ok; "" = it has no name
}

// The words of a few keys.
func answerers() []string { return []string{"chat-service", "presence-service", "gateway"} }
func repeats() []string   { return []string{"always", "never", "clientMsgId", "key"} }
func logs() []string      { return []string{"", "room", "user"} }

// load reads the source.
func load(dir string) (*contract, error) {
	c := &contract{}
	root, err := read(filepath.Join(dir, "contract.yaml"))
	if err != nil {
		return nil, err
	}
	err = eachMember(root, func(key string, n *yaml.Node) error {
		into := map[string]any{
			"version": &c.Version, "files": &c.Files, "namespaces": &c.Namespaces, "connectErrors": &c.ConnectErrors, "features": &c.Features,
			"codes": &c.Codes, "reasons": &c.Reasons, "refusals": &c.Refusals,
		}[key]
		switch {
		case into != nil:
			return strict(n, into)
		case key == "schemas":
			return c.readSchemas(n)
		}
		return fmt.Errorf("line %d: unknown key %q", n.Line, key)
	})
	if err != nil {
		return nil, fmt.Errorf("contract.yaml: %w", err)
	}
	c.schemas = append(c.schemas, c.words()...)
	for _, name := range c.Files {
		file, err := read(filepath.Join(dir, name+".yaml"))
		if err == nil {
			err = eachMember(file, c.readFile)
		}
		if err != nil {
			return nil, fmt.Errorf("%s.yaml: %w", name, err)
		}
	}
	if err := c.noOthers(dir); err != nil {
		return nil, err
	}
	return c, c.check()
}

// noOthers refuses a file that is not listed.
func (c *contract) noOthers(dir string) error {
	files, err := fs.Glob(os.DirFS(dir), "*.yaml")
	for _, file := range files {
		if name := strings.TrimSuffix(file, ".yaml"); name != "contract" && !slices.Contains(c.Files, name) {
			err = errors.Join(err, fmt.Errorf("contract.yaml does not list %s", name))
		}
	}
	return err
}

// words are the schemas of codes and reasons.
func (c *contract) words() []named {
	connect := &schema{Types: []string{"string"}, Description: "Why a CONNECT was refused."}
	for _, word := range c.ConnectErrors {
		connect.Enum = append(connect.Enum, word.Code)
	}
	codes := &schema{Types: []string{"string"}, Description: "Why an event was refused; it says whether to try again."}
	for _, word := range c.Codes {
		codes.Enum = append(codes.Enum, word.Code)
	}
	reasons := &schema{Types: []string{"string"}, Description: "Why an event was refused, more closely than the code; it says what to show."}
	for _, word := range c.Reasons {
		reasons.Enum = append(reasons.Enum, word.Reason)
	}
	return []named{{"ConnectCode", connect}, {"Code", codes}, {"Reason", reasons}}
}

func (c *contract) readFile(key string, n *yaml.Node) error {
	switch key {
	case "schemas":
		return c.readSchemas(n)
	case "client":
		return eachElement(n, func(n *yaml.Node) error {
			e, err := readEvent(n, "argument", "ack")
			c.client = append(c.client, e)
			return err
		})
	case "server":
		return eachElement(n, func(n *yaml.Node) error {
			e, err := readEvent(n, "payload")
			e.Offset = e.Offset || e.Log != ""
			c.server = append(c.server, e)
			return err
		})
	}
	return fmt.Errorf("line %d: unknown key %q", n.Line, key)
}

func (c *contract) readSchemas(n *yaml.Node) error {
	return eachMember(n, func(name string, n *yaml.Node) error {
		s, err := readSchema(n)
		c.schemas = append(c.schemas, named{name, s})
		return err
	})
}

// readEvent reads an event that has these schemas.
func readEvent(n *yaml.Node, schemas ...string) (*event, error) {
	e := &event{}
	err := eachMember(n, func(key string, n *yaml.Node) (err error) {
		switch {
		case !slices.Contains(schemas, key):
			into := map[string]any{
				"event": &e.Event, "since": &e.Since, "in": &e.In, "by": &e.By, "repeat": &e.Repeat, "key": &e.Key, "optional": &e.Optional,
				"anything": &e.Anything, "refused": &e.Refused, "log": &e.Log, "offset": &e.Offset, "text": &e.Text, "to": &e.To, "argumentText": &e.ArgumentText,
				"ackText": &e.AckText, "payloadText": &e.PayloadText, "payloadNote": &e.PayloadNote,
			}[key]
			if into == nil {
				return fmt.Errorf("line %d: unknown key %q", n.Line, key)
			}
			return strict(n, into)
		case key == "argument":
			e.argument, err = readSchema(n)
		case key == "payload":
			e.payload, err = readSchema(n)
		case n.Kind == yaml.ScalarNode:
			e.ackName = n.Value
		default:
			e.ack, err = readProperties(n)
		}
		return err
	})
	return e, err
}

// check refuses what the parts say of each other and is not so.
func (c *contract) check() error {
	var wrong []error
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }
	for _, s := range c.schemas {
		s.schema.walk(func(s *schema) { c.checkSchema(s, say) })
	}
	seen := map[string]bool{}
	for i, e := range slices.Concat(c.client, c.server) {
		direction := "client"
		if i >= len(c.client) {
			direction = "server"
		}
		say := func(format string, args ...any) { say(direction+" event "+e.Event+": "+format, args...) }
		if seen[direction+e.Event] {
			say("is there twice")
		}
		seen[direction+e.Event] = true
		c.checkEvent(e, direction == "client", say)
	}
	return errors.Join(wrong...)
}

func (c *contract) checkEvent(e *event, client bool, say func(string, ...any)) {
	if !slices.ContainsFunc(c.Features, func(f feature) bool { return f.Name == e.Since }) {
		say("since %q is no feature", e.Since)
	}
	for _, name := range e.In {
		if !slices.ContainsFunc(c.Namespaces, func(n namespace) bool { return n.Name == name }) {
			say("there is no namespace %q", name)
		}
	}
	for _, s := range []*schema{e.argument, e.payload, {Properties: e.ack}} {
		if s != nil {
			s.walk(func(s *schema) { c.checkSchema(s, say) })
		}
	}
	switch {
	case e.Event == "" || len(e.In) == 0:
		say("lacks event or in")
	case !client && (e.payload == nil) != e.Anything:
		say("needs either payload or anything")
	case !slices.Contains(logs(), e.Log):
		say("log is one of %q", logs())
	case client && (!slices.Contains(answerers(), e.By) || !slices.Contains(repeats(), e.Repeat) || e.Text == ""):
		say("needs by (one of %q), repeat (one of %q) and text", answerers(), repeats())
	case client && e.ackName != "" && c.schema(e.ackName) == nil:
		say("there is no schema %q", e.ackName)
	case client && e.ackName == "" && e.ack == nil:
		say("needs ack: {} where it says nothing but ok")
	case e.Key && (e.argument == nil || e.ArgumentText != ""):
		say("has a key: it needs an argument, and argumentText would hide the key")
	}
	if _, _, err := c.refusals(e.Refused); err != nil {
		say("%v", err)
	}
}

func (c *contract) checkSchema(s *schema, say func(string, ...any)) {
	if s.Ref != "" && c.schema(s.Ref) == nil {
		say("there is no schema %q", s.Ref)
	}
	if s.Since != "" && !slices.ContainsFunc(c.Features, func(f feature) bool { return f.Name == s.Since }) {
		say("since %q is no feature", s.Since)
	}
}

// schema is the one of that name.
func (c *contract) schema(name string) *schema {
	for _, s := range c.schemas {
		if s.name == name {
			return s.schema
		}
	}
	return nil
}

// refusals tells which codes and reasons the words of `refused` stand for, each once, in the order of the tables. Codes that any event may be
// answered with are left out.
func (c *contract) refusals(words []string) (codes, reasons []string, err error) {
	found := map[string]bool{}
	var add func(words []string)
	add = func(words []string) {
		for _, word := range words {
			if group, isGroup := c.Refusals[word]; isGroup {
				add(group)
				continue
			}
			found[word] = true
		}
	}
	add(words)
	for _, r := range c.Reasons {
		if found[r.Reason] {
			reasons = append(reasons, r.Reason)
			found[r.Code] = true
			delete(found, r.Reason)
		}
	}
	for _, k := range c.Codes {
		if found[k.Code] && !k.Any {
			codes = append(codes, k.Code)
		}
		delete(found, k.Code)
	}
	for word := range found {
		err = errors.Join(err, fmt.Errorf("%q is neither a code nor a reason", word))
	}
	return codes, reasons, err
}

// answer is the ack of a success, without its ok.
func (c *contract) answer(e *event) []property {
	if e.ackName != "" {
		return c.schema(e.ackName).Properties
	}
	return e.ack
}

// read reads a YAML file.
func read(file string) (*yaml.Node, error) {
	raw, err := os.ReadFile(file) //nolint:gosec // in the repository
	if err != nil {
		return nil, err
	}
	var document yaml.Node
	if err := yaml.Unmarshal(raw, &document); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if len(document.Content) != 1 {
		return nil, fmt.Errorf("%s is empty", file)
	}
	return document.Content[0], nil
}

// strict decodes a value that may have no other fields than into.
func strict(n *yaml.Node, into any) error {
	raw, err := yaml.Marshal(n)
	if err != nil {
		return err
	}
	decoder := yaml.NewDecoder(strings.NewReader(string(raw)))
	decoder.KnownFields(true)
	err = decoder.Decode(into)
	if wrong, ok := errors.AsType[*yaml.TypeError](err); ok { // its lines are those of raw
		_, said, _ := strings.Cut(wrong.Errors[0], ": ")
		return fmt.Errorf("line %d: %s", n.Line, said)
	}
	return err
}

// eachMember gives the members of a mapping in their order, those of a merged one (<<) at its place.
func eachMember(n *yaml.Node, visit func(key string, value *yaml.Node) error) error {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: want a mapping", n.Line)
	}
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		var err error
		if key.Tag == "!!merge" {
			err = eachMember(value, visit)
		} else {
			err = visit(key.Value, value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func eachElement(n *yaml.Node, visit func(*yaml.Node) error) error {
	if n.Kind != yaml.SequenceNode {
		return fmt.Errorf("line %d: want a list", n.Line)
	}
	for _, element := range n.Content {
		if element.Kind == yaml.AliasNode {
			element = element.Alias
		}
		if err := visit(element); err != nil {
			return err
		}
	}
	return nil
}
