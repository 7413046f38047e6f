// Command openapi finishes the OpenAPI document that protoc-gen-openapiv2 made, in place: `make proto` runs it. The generator
// describes grpc-gateway, which we do not use: it does not know who may call what, what errors look like, that 64-bit integers are
// numbers here, and which fields are no part of the REST interface.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"unicode"
)

type object = map[string]any

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: openapi FILE")
		os.Exit(2)
	}
	if err := finish(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "openapi:", err)
		os.Exit(1)
	}
}

func finish(file string) error {
	raw, err := os.ReadFile(file) //nolint:gosec // given by the Makefile
	if err != nil {
		return err
	}
	var doc object
	if err := json.Unmarshal(raw, &doc); err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	doc["info"] = object{
		"title": "Starling REST API", "version": "v1",
		"description": "For users with an access token, and for other backends with an API key. docs/events.md describes the calls.",
	}
	doc["securityDefinitions"] = object{
		"accessToken": object{"type": "apiKey", "in": "header", "name": "Authorization", "description": "An access token of a user: Bearer <token>"},
		"apiKey":      object{"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The API key of another backend. A key has scopes; each call says which one it needs."},
	}
	definitions := doc["definitions"].(object)
	for path, methods := range doc["paths"].(object) {
		for method, operation := range methods.(object) {
			if err := finishOperation(method, path, operation.(object)); err != nil {
				return fmt.Errorf("%s %s: %w", method, path, err)
			}
		}
	}
	names := make(map[string]string)
	walk(doc, func(o object) { collect(o, names) })
	walk(doc, func(o object) { finishSchema(o, names) })
	// Of what HttpBody consists.
	delete(definitions, "apiHttpBody")
	delete(definitions, "protobufAny")
	definitions["Error"] = errorSchema()
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(doc); err != nil {
		return err
	}
	return os.WriteFile(file, out.Bytes(), 0o644) //nolint:gosec // source text
}

// finishOperation says who may make a call, as its comment does in words, and what errors look like.
func finishOperation(method, path string, operation object) error {
	text := strings.Join(strings.Fields(fmt.Sprint(operation["summary"], " ", operation["description"])), " ") // however its lines break
	switch {
	case strings.Contains(text, "Needs an end user"):
		operation["security"] = []any{object{"accessToken": []any{}}}
	case strings.HasPrefix(path, "/api/v1/auth/") || strings.HasPrefix(path, "/.well-known/"):
		operation["security"] = []any{}
	case strings.Contains(text, "or an access token"):
		operation["security"] = []any{object{"apiKey": []any{}}, object{"accessToken": []any{}}}
	case strings.Contains(text, "scope"):
		operation["security"] = []any{object{"apiKey": []any{}}}
	default:
		return fmt.Errorf("the comment does not say who may call it: %q", text)
	}
	responses := operation["responses"].(object)
	responses["default"] = object{"description": "A refusal or a failure; the status fits the code.", "schema": ref("Error")}
	if path == "/.well-known/jwks.json" {
		responses["200"].(object)["schema"] = object{
			"type": "object", "properties": object{"keys": object{"type": "array", "items": object{"type": "object"}}},
		}
	}
	parameters, _ := operation["parameters"].([]any)
	for _, p := range parameters {
		parameter := p.(object)
		if schema, ok := parameter["schema"].(object); ok && schema["$ref"] == ref("AuthServiceRevokeUserBody")["$ref"] {
			parameter["required"] = false // there is nothing to say in it
		}
	}
	if method != "get" && (strings.HasPrefix(path, "/api/v1/rooms") || strings.HasPrefix(path, "/api/v1/blocks") || path == "/api/v1/notifications") {
		operation["parameters"] = append(parameters, object{
			"name": "Idempotency-Key", "in": "header", "type": "string", "required": false,
			"description": "1 to 64 printable ASCII characters. Sent again with the same key the call gets the first answer, and nothing is done twice.",
		})
	}
	return nil
}

func ref(definition string) object { return object{"$ref": "#/definitions/" + definition} }

func errorSchema() object {
	return object{
		"type": "object", "required": []any{"code", "message"},
		"properties": object{
			"code": object{
				"type": "string", "description": "Why, as in the acks of the events.",
				"enum": []any{
					"invalid", "unauthenticated", "forbidden", "not_found", "conflict", "too_large", "rate_limited",
					"unknown_event", "unavailable", "timeout", "internal",
				},
			},
			"message":      object{"type": "string", "description": "For developers; it names the field."},
			"reason":       object{"type": "string", "description": "Why, more closely than the code."},
			"until":        object{"type": "string", "description": "When it is allowed again: ISO 8601, UTC, milliseconds."},
			"retryAfterMs": object{"type": "integer", "format": "int64", "description": "When to try again, in milliseconds."},
		},
	}
}

// walk calls visit for every object of a document.
func walk(v any, visit func(object)) {
	switch v := v.(type) {
	case object:
		visit(v)
		for _, member := range v {
			walk(member, visit)
		}
	case []any:
		for _, element := range v {
			walk(element, visit)
		}
	}
}

// collect notes the names of fields by how the protos spell them.
func collect(o object, names map[string]string) {
	properties, _ := o["properties"].(object)
	for name := range properties {
		names[snake(name)] = name
	}
}

func snake(name string) string {
	var b strings.Builder
	for _, r := range name {
		if unicode.IsUpper(r) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

var snakeName = regexp.MustCompile(`\b[a-z]+(_[a-z]+)+\b`)

// finishSchema makes one schema say what is sent.
func finishSchema(o object, names map[string]string) {
	if format := o["format"]; o["type"] == "string" && (format == "uint64" || format == "int64") {
		o["type"], o["format"] = "integer", "int64"
	}
	if _, isRef := o["$ref"]; isRef {
		delete(o, "type")
	}
	for _, key := range []string{"description", "summary"} {
		if text, ok := o[key].(string); ok {
			o[key] = snakeName.ReplaceAllStringFunc(text, func(word string) string {
				if name, known := names[word]; known {
					return name
				}
				return word
			})
		}
	}
	properties, _ := o["properties"].(object)
	for name, schema := range properties {
		if strings.HasSuffix(name, "Json") { // holds another field as JSON text, for gRPC
			delete(properties, name)
			continue
		}
		if items, ok := schema.(object)["items"].(object); ok && len(items) == 1 && items["type"] == "object" && name == "args" {
			schema.(object)["items"] = object{} // of any kind
		}
	}
}
