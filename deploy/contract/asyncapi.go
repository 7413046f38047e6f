package main

import (
	"slices"
	"strings"
)

// asyncAPI writes the AsyncAPI 3 document. It is that of the gateway: what clients emit is received, what they get is sent. Objects are open in
// it, as in the contract: new fields may come.
func asyncAPI(c *contract) []byte {
	a := asyncDocument{contract: c, json: jsonSchema{refs: "#/components/schemas/"}}
	var channels, operations, messages object
	for _, n := range c.Namespaces {
		channel, here := a.channel(n)
		channels = append(channels, member{channelID(n.Name), channel})
		operations = append(operations, here...)
	}
	for _, e := range c.client {
		messages = append(messages, member{id("client", e), a.emitted(e)}, member{id("ack", e), a.ack(e)})
	}
	for _, e := range c.server {
		messages = append(messages, member{id("server", e), a.sent(e)})
	}
	return document(object{
		{"asyncapi", "3.0.0"},
		{"info", object{
			{"title", "Starling client events"},
			{"version", c.Version},
			{"description", "The events of Socket.IO clients, in both directions. docs/events.md describes them; a payload is the one argument of the event. " +
				"Fields and events that are not listed may come within v1: ignore them. /api/openapi.json describes the REST interface."},
		}},
		{"defaultContentType", "application/json"},
		{"servers", object{{"gateway", object{
			{"host", "{host}"},
			{"protocol", "wss"},
			{"protocolVersion", "Engine.IO 4, Socket.IO 5"},
			{"pathname", "/socket.io/"},
			{"description", "Any gateway. The official Socket.IO clients connect to it, by WebSocket or long polling."},
			{"variables", object{{"host", object{{"default", "localhost:3000"}}}}},
			{"security", []object{{{"$ref", "#/components/securitySchemes/token"}}}},
		}}}},
		{"channels", channels},
		{"operations", operations},
		{"components", object{
			{"messages", messages},
			{"schemas", a.json.schemas(c)},
			{"securitySchemes", object{{"token", object{
				{"type", "http"}, {"scheme", "bearer"}, {"bearerFormat", "JWT"}, {"description", "auth.token of the CONNECT, or the header Authorization."},
			}}}},
		}},
	})
}

type asyncDocument struct {
	contract *contract
	json     jsonSchema
}

// channel is a namespace, and its operations.
func (a asyncDocument) channel(n namespace) (channel, operations object) {
	name := channelID(n.Name)
	refs := object{}
	message := func(id string) object {
		refs = append(refs, member{id, object{{"$ref", "#/components/messages/" + id}}})
		return object{{"$ref", "#/channels/" + name + "/messages/" + id}}
	}
	to := object{{"$ref", "#/channels/" + name}}
	for _, e := range a.contract.client {
		if slices.Contains(e.In, n.Name) {
			operations = append(operations, member{name + "." + id("receive", e), object{
				{"action", "receive"},
				{"channel", to},
				{"summary", plain(e.Text)},
				{"messages", []object{message(id("client", e))}},
				{"reply", object{{"channel", to}, {"messages", []object{message(id("ack", e))}}}},
			}})
		}
	}
	for _, e := range a.contract.server {
		if slices.Contains(e.In, n.Name) {
			operations = append(operations, member{name + "." + id("send", e), object{
				{"action", "send"}, {"channel", to}, {"summary", "To " + plain(e.To)}, {"messages", []object{message(id("server", e))}},
			}})
		}
	}
	return object{
		{"address", n.Name},
		{"title", "The namespace " + n.Name},
		{"description", plain(n.Text)},
		{"servers", []object{{{"$ref", "#/servers/gateway"}}}},
		{"messages", refs},
	}, operations
}

func (a asyncDocument) emitted(e *event) object {
	codes, reasons, _ := a.contract.refusals(e.Refused)
	o := object{
		{"name", e.Event},
		{"title", e.Event},
		{"summary", plain(e.Text)},
		{"x-since", e.Since},
		{"x-repeat", e.Repeat},
		{"x-key", e.Key},
		{"x-codes", notNil(codes)},
		{"x-reasons", notNil(reasons)},
	}
	if argument := argumentOf(a.contract, e); argument != nil {
		o = append(o, member{"x-optional", e.Optional}, member{"payload", a.json.of(argument)})
	}
	return o
}

// ack is the answer to an event: a success, or a refusal.
func (a asyncDocument) ack(e *event) object {
	refusal := object{
		{"type", "object"},
		{"properties", object{{"ok", object{{"const", false}}}, {"error", object{{"$ref", a.json.refs + "Fault"}}}}},
		{"required", []string{"ok", "error"}},
	}
	return object{
		{"name", e.Event},
		{"title", "The ack of " + e.Event},
		{"payload", object{{"anyOf", []object{a.json.success(a.contract, e), refusal}}}},
	}
}

func (a asyncDocument) sent(e *event) object {
	o := object{{"name", e.Event}, {"title", e.Event}, {"summary", "To " + plain(e.To)}, {"x-since", e.Since}, {"x-log", e.Log}}
	if e.payload != nil {
		o = append(o, member{"payload", a.json.of(e.payload)})
	}
	return o
}

// id is a name without colons, which AsyncAPI has none of.
func id(kind string, e *event) string { return kind + "." + strings.ReplaceAll(e.Event, ":", ".") }

func channelID(namespace string) string {
	if namespace == "/" {
		return "main"
	}
	return strings.TrimPrefix(namespace, "/")
}
