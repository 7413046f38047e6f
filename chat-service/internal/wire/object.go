package wire

import (
	"errors"
	"slices"

	"github.com/starling-chat/starling/platform/rawjson"
	"github.com/starling-chat/starling/proto/fault"
)

// Most events are passed on, and need only their outermost fields: everything is checked as a whole first, and cut then.

// maxDepth is how deeply arguments may nest: that of encoding/json. Gateways allow less.
const maxDepth = 10_000

var errArgs = errors.New("arguments are not a JSON array")

// splitArgs cuts the arguments of an event, a JSON array, into its elements.
func splitArgs(args []byte) ([][]byte, error) {
	start := rawjson.SkipSpace(args, 0)
	if start == len(args) {
		return nil, nil
	}
	if args[start] != '[' || rawjson.Valid(args, maxDepth) != nil {
		return nil, fault.New(fault.Invalid, errArgs.Error())
	}
	return split(args), nil
}

// split cuts a valid JSON array into its elements.
func split(array []byte) [][]byte {
	return slices.AppendSeq(make([][]byte, 0, 1), rawjson.Split(array))
}

// field is one member of an object, raw: the key with its quotes.
type field struct {
	key   []byte
	value []byte
}

// object is the members of a JSON object in their order.
type object []field

// splitObject cuts a valid JSON value into its members; ok is false when it is no object.
func splitObject(value []byte) (o object, ok bool) {
	if len(value) == 0 || value[0] != '{' {
		return nil, false
	}
	o = make(object, 0, 6)
	for key, value := range rawjson.Members(value) {
		o = append(o, field{key, value})
	}
	return o, true
}

// get gives the raw value of a member, the last one where it is repeated, as JavaScript does. A null counts as absent. name
// is ASCII.
func (o object) get(name string) ([]byte, bool) {
	for _, f := range slices.Backward(o) {
		if rawjson.Is(f.key, name) {
			return f.value, string(f.value) != null
		}
	}
	return nil, false
}

// splice writes the object with some members replaced; overrides are the raw members to end with, such as `"a":1,"b":2`.
func (o object) splice(dst []byte, drop func(key []byte) bool, overrides []byte) []byte {
	dst = append(dst, '{')
	for _, f := range o {
		if drop(f.key) {
			continue
		}
		dst = append(dst, f.key...)
		dst = append(dst, ':')
		dst = append(dst, f.value...)
		dst = append(dst, ',')
	}
	dst = append(dst, overrides...)
	return append(dst, '}')
}

const null = "null"

// unquote decodes a valid JSON string.
func unquote(quoted []byte) string {
	s, _ := rawjson.Unquote(quoted)
	return s
}
