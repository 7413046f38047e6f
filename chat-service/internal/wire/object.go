package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"unicode/utf8"

	"github.com/starling-chat/starling/proto/fault"
)

// The scanner cuts JSON into raw values without decoding them: most events are passed on, and need only their outermost
// fields. Everything is validated as a whole first, so the cutting itself may trust what it sees.

var errArgs = errors.New("arguments are not a JSON array")

// splitArgs cuts the arguments of an event, a JSON array, into its elements.
func splitArgs(args []byte) ([][]byte, error) {
	args = trimSpace(args)
	if len(args) == 0 {
		return nil, nil
	}
	if args[0] != '[' || !utf8.Valid(args) || !json.Valid(args) {
		return nil, fault.New(fault.Invalid, errArgs.Error())
	}
	elements := make([][]byte, 0, 1)
	for i := skipSpace(args, 1); args[i] != ']'; {
		end := skipValue(args, i)
		elements = append(elements, args[i:end])
		i = skipSpace(args, end)
		if args[i] == ',' {
			i = skipSpace(args, i+1)
		}
	}
	return elements, nil
}

// field is one member of an object: the name decoded, the value raw.
type field struct {
	name   string
	rawKey []byte // with quotes
	value  []byte
}

// object is the members of a JSON object in their order.
type object []field

// splitObject cuts a valid JSON value into its members; ok is false when it is no object.
func splitObject(value []byte) (o object, ok bool) {
	if len(value) == 0 || value[0] != '{' {
		return nil, false
	}
	o = make(object, 0, 6)
	for i := skipSpace(value, 1); value[i] != '}'; {
		keyEnd := skipValue(value, i)
		key := value[i:keyEnd]
		i = skipSpace(value, skipSpace(value, keyEnd)+1) // past the colon
		end := skipValue(value, i)
		o = append(o, field{name: unquote(key), rawKey: key, value: value[i:end]})
		i = skipSpace(value, end)
		if value[i] == ',' {
			i = skipSpace(value, i+1)
		}
	}
	return o, true
}

// get gives the raw value of a member, the last one where it is repeated, as JavaScript does. A null counts as absent.
func (o object) get(name string) ([]byte, bool) {
	for _, f := range slices.Backward(o) {
		if f.name == name {
			return f.value, !bytes.Equal(f.value, null)
		}
	}
	return nil, false
}

// splice writes the object with some members replaced; overrides are the raw members to end with, such as `"a":1,"b":2`.
func (o object) splice(dst []byte, drop func(name string) bool, overrides []byte) []byte {
	dst = append(dst, '{')
	for _, f := range o {
		if drop(f.name) {
			continue
		}
		dst = append(dst, f.rawKey...)
		dst = append(dst, ':')
		dst = append(dst, f.value...)
		dst = append(dst, ',')
	}
	dst = append(dst, overrides...)
	return append(dst, '}')
}

var null = []byte("null") //nolint:gochecknoglobals // a constant

// unquote decodes a valid JSON string.
func unquote(quoted []byte) string {
	inner := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return string(inner)
	}
	var s string
	if err := json.Unmarshal(quoted, &s); err != nil {
		return "" // validated before: cannot happen
	}
	return s
}

// skipValue gives the index after the value that begins at i.
func skipValue(b []byte, i int) int {
	switch b[i] {
	case '"':
		return skipString(b, i)
	case '{', '[':
		return skipNested(b, i)
	}
	for i < len(b) && b[i] != ',' && b[i] != '}' && b[i] != ']' && b[i] != ':' && !isSpace(b[i]) {
		i++
	}
	return i
}

func skipString(b []byte, i int) int {
	for i++; b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	return i + 1
}

func skipNested(b []byte, i int) int {
	depth := 0
	for {
		switch b[i] {
		case '"':
			i = skipString(b, i)
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		i++
		if depth == 0 {
			return i
		}
	}
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && isSpace(b[i]) {
		i++
	}
	return i
}

func trimSpace(b []byte) []byte { return bytes.Trim(b, " \t\r\n") }

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }
