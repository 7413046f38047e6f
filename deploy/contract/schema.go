package main

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/starling-chat/starling/proto/limits"
)

// schema is the part of JSON Schema that the contract uses. In the source a word alone is a type (string, boolean, integer, number, object,
// null, any) or the name of a schema; objects list their properties, of which those whose names end in ? may be absent, and have no others
// unless they are open.
type schema struct {
	Ref         string // the name of another schema; beside it there are description and since only
	Description string
	Since       string
	Types       []string
	Const       any
	Enum        []any
	Pattern     string
	Bounds      []bound
	Items       *schema
	Properties  []property
	Open        bool
	AnyOf       []*schema
}

type bound struct {
	name  string // minimum, maxLength, …
	value int64
}

type property struct {
	name     string
	optional bool
	schema   *schema
}

func isPrimitive(word string) bool {
	return slices.Contains([]string{"string", "boolean", "integer", "number", "object", "null"}, word)
}

func isBound(key string) bool {
	return slices.Contains([]string{"minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems"}, key)
}

// isObject tells of a schema that lists properties, or may have any.
func (s *schema) isObject() bool {
	return s.Properties != nil || s.Open || slices.Equal(s.Types, []string{"object"})
}

// walk visits a schema and those in it.
func (s *schema) walk(visit func(*schema)) {
	visit(s)
	if s.Items != nil {
		s.Items.walk(visit)
	}
	for _, p := range s.Properties {
		p.schema.walk(visit)
	}
	for _, one := range s.AnyOf {
		one.walk(visit)
	}
}

func readSchema(n *yaml.Node) (*schema, error) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind == yaml.ScalarNode {
		switch word := n.Value; {
		case word == "any":
			return &schema{}, nil
		case isPrimitive(word):
			return &schema{Types: []string{word}}, nil
		default:
			return &schema{Ref: word}, nil
		}
	}
	s := &schema{}
	err := eachMember(n, func(key string, n *yaml.Node) error { return s.readKey(key, n) })
	if err == nil && s.Ref != "" && (s.Types != nil || s.Properties != nil || s.Items != nil || s.AnyOf != nil) {
		err = fmt.Errorf("line %d: beside schema there are description and since only", n.Line)
	}
	return s, err
}

func (s *schema) readKey(key string, n *yaml.Node) (err error) {
	switch {
	case isBound(key):
		b := bound{name: key}
		err = n.Decode(&b.value)
		s.Bounds = append(s.Bounds, b)
		return err
	case key == "type" && n.Kind == yaml.ScalarNode:
		s.Types = []string{n.Value}
	case key == "items":
		s.Items, err = readSchema(n)
	case key == "properties":
		s.Properties, err = readProperties(n)
	case key == "anyOf":
		err = eachElement(n, func(n *yaml.Node) error {
			one, err := readSchema(n)
			s.AnyOf = append(s.AnyOf, one)
			return err
		})
	default:
		into := map[string]any{
			"schema": &s.Ref, "description": &s.Description, "since": &s.Since, "type": &s.Types, "const": &s.Const, "enum": &s.Enum,
			"pattern": &s.Pattern, "open": &s.Open,
		}[key]
		if into == nil {
			return fmt.Errorf("line %d: unknown key %q", n.Line, key)
		}
		err = n.Decode(into)
	}
	for _, word := range s.Types {
		if word != "array" && !isPrimitive(word) {
			return fmt.Errorf("line %d: there is no type %q", n.Line, word)
		}
	}
	return err
}

// readProperties reads { name: schema, name?: schema }. The result is never nil.
func readProperties(n *yaml.Node) ([]property, error) {
	list := []property{}
	err := eachMember(n, func(name string, n *yaml.Node) error {
		s, err := readSchema(n)
		bare, optional := strings.CutSuffix(name, "?")
		list = append(list, property{bare, optional, s})
		return err
	})
	return list, err
}

// keyProperty is the key of an event that may have one.
func keyProperty() property {
	return property{"key", true, &schema{
		Since: "keys", Types: []string{"string"}, Bounds: []bound{{"minLength", 1}, {"maxLength", limits.IdempotencyKeyChars}},
		Description: "Tells that a repeat is one: it gets the first answer.",
	}}
}

// argumentOf is the argument of an event that clients emit, with the key that it may have; nil = it has none.
func argumentOf(c *contract, e *event) *schema {
	if !e.Key {
		return e.argument
	}
	return withKey(c, e.argument)
}

// withKey adds the key to the objects that an argument may be.
func withKey(c *contract, s *schema) *schema {
	if s.Ref != "" {
		if of := c.schema(s.Ref); of.isObject() || of.AnyOf != nil {
			return withKey(c, of)
		}
		return s
	}
	with := *s
	if s.Properties != nil {
		with.Properties = append(slices.Clone(s.Properties), keyProperty())
	}
	with.AnyOf = nil
	for _, one := range s.AnyOf {
		with.AnyOf = append(with.AnyOf, withKey(c, one))
	}
	return &with
}
