package main

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
)

// object is a JSON object whose members keep their order.
type object []member

type member struct {
	key   string
	value any
}

// MarshalJSON implements json.Marshaler.
func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		key, err := marshal(m.key)
		if err != nil {
			return nil, err
		}
		value, err := marshal(m.value)
		if err != nil {
			return nil, err
		}
		b.Write(key)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(v)
	return bytes.TrimSpace(b.Bytes()), err
}

// document is a JSON file.
func document(o object) []byte {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(o); err != nil {
		panic(err) // it has strings, numbers, lists and objects only
	}
	return b.Bytes()
}

const generated = "Generated from proto/events/source by `make contract`; do not edit."

// jsonSchema writes schemas. Draft 7 and the later ones read them alike.
type jsonSchema struct {
	refs   string // before the name of another schema
	closed bool   // what is not listed is not allowed
}

func (j jsonSchema) of(s *schema) object {
	var o object
	add := func(key string, value any) { o = append(o, member{key, value}) }
	if s.Description != "" {
		add("description", s.Description)
	}
	if s.Since != "" {
		add("x-since", s.Since)
	}
	if s.Ref != "" {
		ref := object{{"$ref", j.refs + s.Ref}}
		if len(o) == 0 {
			return ref
		}
		add("allOf", []object{ref}) // nothing beside $ref counts in draft 7
		return o
	}
	switch {
	case len(s.Types) == 1:
		add("type", s.Types[0])
	case len(s.Types) > 1:
		add("type", s.Types)
	case s.isObject():
		add("type", "object")
	}
	if s.Const != nil {
		add("const", s.Const)
	}
	if s.Enum != nil {
		add("enum", s.Enum)
	}
	if s.Pattern != "" {
		add("pattern", s.Pattern)
	}
	for _, b := range s.Bounds {
		add(b.name, b.value)
	}
	if s.Items != nil {
		add("items", j.of(s.Items))
	}
	if s.Properties != nil {
		o = append(o, j.properties(s.Properties, s.Open)...)
	}
	if s.AnyOf != nil {
		list := make([]object, len(s.AnyOf))
		for i, one := range s.AnyOf {
			list[i] = j.of(one)
		}
		add("anyOf", list)
	}
	return o
}

// properties writes the members of a schema of an object that are about properties.
func (j jsonSchema) properties(list []property, open bool) object {
	properties, required := object{}, []string{}
	for _, p := range list {
		properties = append(properties, member{p.name, j.of(p.schema)})
		if !p.optional {
			required = append(required, p.name)
		}
	}
	o := object{{"properties", properties}}
	if len(required) > 0 {
		o = append(o, member{"required", required})
	}
	if j.closed && !open {
		o = append(o, member{"additionalProperties", false})
	}
	return o
}

// success writes the schema of an ack that is ok.
func (j jsonSchema) success(c *contract, e *event) object {
	properties := append([]property{{"ok", false, &schema{Const: true}}}, c.answer(e)...)
	return append(object{{"type", "object"}}, j.properties(properties, false)...)
}

// schemas writes all that have a name.
func (j jsonSchema) schemas(c *contract) object {
	var o object
	for _, s := range c.schemas {
		o = append(o, member{s.name, j.of(s.schema)})
	}
	return o
}

// bundle is the contract as one JSON file, for programs: tests compare what services answer and what clients get with it. Its objects are
// closed: what is not listed is not sent.
func bundle(c *contract) []byte {
	j := jsonSchema{refs: "#/schemas/", closed: true}
	var client, server []object
	for _, e := range c.client {
		codes, reasons, _ := c.refusals(e.Refused)
		o := object{{"event", e.Event}, {"since", e.Since}, {"namespaces", e.In}, {"by", e.By}, {"repeat", e.Repeat}, {"key", e.Key}}
		switch argument := argumentOf(c, e); {
		case e.Anything:
			o = append(o, member{"anything", true})
		case argument != nil:
			o = append(o, member{"optional", e.Optional}, member{"argument", j.of(argument)})
		}
		o = append(o, member{"ack", j.success(c, e)}, member{"codes", notNil(codes)}, member{"reasons", notNil(reasons)}, member{"text", e.Text})
		client = append(client, o)
	}
	for _, e := range c.server {
		o := object{{"event", e.Event}, {"since", e.Since}, {"namespaces", e.In}, {"log", e.Log}, {"offset", e.Offset}}
		if e.Anything {
			o = append(o, member{"anything", true})
		} else {
			o = append(o, member{"payload", j.of(e.payload)})
		}
		server = append(server, append(o, member{"to", e.To}))
	}
	var namespaces, connect, features, codes, reasons []object
	for _, n := range c.Namespaces {
		namespaces = append(namespaces, object{{"name", n.Name}, {"text", n.Text}})
	}
	for _, r := range c.ConnectErrors {
		connect = append(connect, object{{"code", r.Code}, {"message", r.Message}, {"means", r.Means}})
	}
	for _, f := range c.Features {
		features = append(features, object{{"name", f.Name}, {"text", f.Text}})
	}
	for _, k := range c.Codes {
		codes = append(codes, object{{"code", k.Code}, {"any", k.Any}, {"means", k.Means}, {"again", k.Again}})
	}
	for _, r := range c.Reasons {
		reasons = append(reasons, object{{"reason", r.Reason}, {"code", r.Code}, {"means", r.Means}})
	}
	return document(object{
		{"$comment", generated},
		{"version", c.Version},
		{"namespaces", namespaces},
		{"connectErrors", connect},
		{"features", features},
		{"codes", codes},
		{"reasons", reasons},
		{"clientEvents", client},
		{"serverEvents", server},
		{"schemas", j.schemas(c)},
	})
}

func notNil(words []string) []string { return append([]string{}, words...) }

var link = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)

// unlinked is a text whose links are words: outside docs/events.md they lead nowhere.
func unlinked(text string) string { return link.ReplaceAllString(text, "$1") }

// plain is a text without its Markdown.
func plain(text string) string { return strings.ReplaceAll(unlinked(text), "`", "") }
