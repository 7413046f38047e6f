package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The head of the types: what they are for, and how to use them.
const typesHead = `// ` + generated + `
//
// The events of Starling for the plain socket.io-client, as the gateway serves them at /api/starling.d.ts:
//
//	import { io, type Socket } from 'socket.io-client';
//	import type { ClientToServerEvents, ServerToClientEvents } from './starling';
//	const socket: Socket<ServerToClientEvents, ClientToServerEvents> = io('http://localhost:3000', { auth: { token } });
//
// With StarlingSocket in place of Socket<…>, events may be emitted without an ack, and timeout(ms).emitWithAck has the type of its answer.

import type { Socket } from 'socket.io-client';

/** What an event is answered with. */
export type Ack<T = unknown> = ({ ok: true } & T) | { ok: false; error: Fault };

/** What is given to an event as its last argument, and called with the answer. */
export type AckCallback<T = unknown> = (answer: Ack<T>) => void;

/** What connect_error brings: with data the CONNECT was refused, which is final; without it the client tries again by itself. */
export interface ConnectError extends Error {
  data?: ConnectRefusal;
}
`

// The end of the types: the sockets.
const typesTail = `
type ArgumentsOf<F> = F extends (...args: infer A) => void ? (A extends [...infer H, unknown] ? H : never) : never;
type AnswerOf<F> = F extends (...args: infer A) => void ? (A extends [...unknown[], (answer: infer R) => void] ? R : never) : never;

/** What the types of socket.io-client lack: an event without an ack, and the answer to one with a limit of time. */
export interface Emitting<Events> {
  emit<E extends keyof Events>(event: E, ...args: ArgumentsOf<Events[E]>): this;
  timeout(ms: number): {
    emitWithAck<E extends keyof Events>(event: E, ...args: ArgumentsOf<Events[E]>): Promise<AnswerOf<Events[E]>>;
    emit<E extends keyof Events>(event: E, ...args: [...ArgumentsOf<Events[E]>, (err: Error | null, answer: AnswerOf<Events[E]>) => void]): unknown;
  };
}
`

// typeScript writes the types.
func typeScript(c *contract) []byte {
	t := &types{contract: c}
	t.line("%s", strings.TrimSuffix(typesHead, "\n"))
	for _, s := range c.schemas {
		t.schema(s.name, s.schema)
	}
	for _, n := range c.Namespaces {
		t.namespace(n)
	}
	t.line("%s", strings.TrimSuffix(typesTail, "\n"))
	for _, n := range c.Namespaces {
		t.line("")
		t.comment("", "The socket of the namespace "+n.Name+".")
		t.line("export type %sSocket = Emitting<%sClientToServerEvents> & Socket<%sServerToClientEvents, %sClientToServerEvents>;",
			map[bool]string{true: "Starling", false: n.Types}[n.Types == ""], n.Types, n.Types, n.Types)
	}
	return []byte(t.text.String())
}

type types struct {
	contract *contract
	text     strings.Builder
}

func (t *types) line(format string, args ...any) { fmt.Fprintf(&t.text, format+"\n", args...) }

func (t *types) comment(indent, text string) {
	if text != "" {
		t.line("%s/** %s */", indent, strings.ReplaceAll(text, "*/", "* /"))
	}
}

func (t *types) schema(name string, s *schema) {
	t.line("")
	t.comment("", s.Description)
	if s.Properties == nil {
		t.line("export type %s = %s;", name, typeOf(s))
		return
	}
	t.line("export interface %s {", name)
	for _, p := range s.Properties {
		t.comment("  ", p.schema.Description)
		t.line("  %s", propertyOf(p))
	}
	if s.Open {
		t.line("  [field: string]: unknown;")
	}
	t.line("}")
}

// namespace writes the two maps of a namespace.
func (t *types) namespace(n namespace) {
	here := func(e *event) bool { return slices.Contains(e.In, n.Name) }
	t.line("")
	t.comment("", "What clients emit on "+n.Name+".")
	t.line("export interface %sClientToServerEvents {", n.Types)
	for _, e := range t.contract.client {
		if here(e) {
			t.comment("  ", unlinked(e.Text)+".")
			t.line("  %s: (%s) => void;", quote(e.Event), t.parameters(e))
		}
	}
	t.line("}")
	t.line("")
	t.comment("", "What clients get on "+n.Name+".")
	t.line("export interface %sServerToClientEvents {", n.Types)
	for _, e := range t.contract.server {
		if !here(e) {
			continue
		}
		t.comment("  ", "To "+unlinked(e.To)+".")
		switch {
		case e.Anything:
			t.line("  %s: (...anything: any[]) => void;", quote(e.Event))
		case e.Offset:
			t.line("  %s: (payload: %s, offset?: string) => void;", quote(e.Event), typeOf(e.payload))
		default:
			t.line("  %s: (payload: %s) => void;", quote(e.Event), typeOf(e.payload))
		}
	}
	t.line("}")
}

func (t *types) parameters(e *event) string {
	ack := "ack: AckCallback"
	switch {
	case e.ackName != "":
		ack += "<" + e.ackName + ">"
	case len(e.ack) > 0:
		ack += "<" + typeOf(&schema{Properties: e.ack}) + ">"
	}
	argument := argumentOf(t.contract, e)
	switch {
	case e.Anything:
		return "...args: [...anything: any[], " + ack + "]"
	case argument == nil:
		return ack
	case e.Optional:
		return fmt.Sprintf("...args: [%s] | [argument: %s, %s]", ack, typeOf(argument), ack)
	}
	return "argument: " + typeOf(argument) + ", " + ack
}

// typeOf is a schema as a TypeScript type.
func typeOf(s *schema) string {
	switch {
	case s.Ref != "":
		return s.Ref
	case s.Const != nil:
		return literal(s.Const)
	case s.Enum != nil:
		words := make([]string, len(s.Enum))
		for i, word := range s.Enum {
			words[i] = literal(word)
		}
		return strings.Join(words, " | ")
	case s.AnyOf != nil:
		one := make([]string, len(s.AnyOf))
		for i := range s.AnyOf {
			one[i] = typeOf(s.AnyOf[i])
		}
		return strings.Join(one, " | ")
	case s.Items != nil:
		if item := typeOf(s.Items); !strings.ContainsAny(item, " ") {
			return item + "[]"
		}
		return "Array<" + typeOf(s.Items) + ">"
	case s.Properties != nil:
		fields := make([]string, 0, len(s.Properties)+1)
		for _, p := range s.Properties {
			fields = append(fields, strings.TrimSuffix(propertyOf(p), ";"))
		}
		if s.Open {
			fields = append(fields, "[field: string]: unknown")
		}
		return "{ " + strings.Join(fields, "; ") + " }"
	case len(s.Types) == 0:
		return "unknown"
	}
	words := make([]string, len(s.Types))
	for i, word := range s.Types {
		switch word {
		case "integer":
			word = "number"
		case "object":
			word = "Record<string, unknown>"
		}
		words[i] = word
	}
	return strings.Join(words, " | ")
}

func propertyOf(p property) string {
	optional := ""
	if p.optional {
		optional = "?"
	}
	return p.name + optional + ": " + typeOf(p.schema) + ";"
}

func literal(v any) string {
	if s, ok := v.(string); ok {
		return quote(s)
	}
	raw, _ := json.Marshal(v)
	return string(raw)
}

func quote(s string) string {
	return "'" + strings.ReplaceAll(strings.Trim(strconv.Quote(s), `"`), "'", `\'`) + "'"
}
