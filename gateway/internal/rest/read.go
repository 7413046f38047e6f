package rest

import (
	"encoding/base64"
	"errors"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/starling-chat/starling/platform/rawjson"
	"github.com/starling-chat/starling/proto/fault"
)

// maxDepth is how deeply a body may nest. Arguments of events may by 32 levels, and lie in a field.
const maxDepth = 40

// jsonSuffix ends the names of fields that hold other fields as JSON text.
const jsonSuffix = "_json"

func hidden(field protoreflect.FieldDescriptor) bool {
	return strings.HasSuffix(string(field.Name()), jsonSuffix)
}

// readBody reads a JSON object into a message. Fields that are not known are ignored, of a field that is repeated the last one
// counts, and null is as good as nothing: as on sockets.
func readBody(m protoreflect.Message, body []byte) error {
	switch err := rawjson.Valid(body, maxDepth); {
	case errors.Is(err, rawjson.ErrTooDeep):
		return fault.New(fault.Invalid, "The body is nested too deeply")
	case err != nil:
		return fault.New(fault.Invalid, "The body must be JSON in UTF-8")
	}
	if body[rawjson.SkipSpace(body, 0)] != '{' {
		return fault.New(fault.Invalid, "The body must be a JSON object")
	}
	return readObject(m, body, "")
}

func readObject(m protoreflect.Message, object []byte, prefix string) error {
	for key, value := range rawjson.Members(object) {
		name, _ := rawjson.Unquote(key)
		field := fieldOf(m.Descriptor(), name)
		if field == nil {
			continue
		}
		m.Clear(field)
		if err := readField(m, field, value, prefix+field.JSONName()); err != nil {
			return err
		}
	}
	return nil
}

// fieldOf finds a field by its name in JSON or in the proto.
func fieldOf(d protoreflect.MessageDescriptor, name string) protoreflect.FieldDescriptor {
	field := d.Fields().ByJSONName(name)
	if field == nil && utf8.ValidString(name) {
		field = d.Fields().ByName(protoreflect.Name(name))
	}
	if field == nil || hidden(field) {
		return nil
	}
	return field
}

func readField(m protoreflect.Message, field protoreflect.FieldDescriptor, value []byte, path string) error {
	if kind := opaqueKind(field); kind != "" {
		return readOpaque(m, field, value, path)
	}
	switch {
	case string(value) == "null":
		return nil
	case field.IsList():
		if value[0] != '[' {
			if field.Kind() == protoreflect.MessageKind {
				return fault.Newf(fault.Invalid, "%s must be an array of objects", path)
			}
			return wrongKind(field, path)
		}
		list := m.Mutable(field).List()
		for element := range rawjson.Split(value) {
			if field.Kind() == protoreflect.MessageKind {
				if element[0] != '{' {
					return fault.Newf(fault.Invalid, "%s must be an array of objects", path)
				}
				if err := readObject(list.AppendMutable().Message(), element, path+"."); err != nil {
					return err
				}
				continue
			}
			v, ok := scalar(field, element)
			if !ok {
				return wrongKind(field, path)
			}
			list.Append(v)
		}
		return nil
	case field.Kind() == protoreflect.MessageKind:
		if value[0] != '{' {
			return fault.Newf(fault.Invalid, "%s must be an object", path)
		}
		return readObject(m.Mutable(field).Message(), value, path+".")
	}
	v, ok := scalar(field, value)
	if !ok {
		return wrongKind(field, path)
	}
	m.Set(field, v)
	return nil
}

// opaqueKind tells of a field whose content is of no concern here what it must be: an array, an object or, "any", any value.
func opaqueKind(field protoreflect.FieldDescriptor) string {
	if field.Kind() != protoreflect.MessageKind || field.IsList() {
		return ""
	}
	switch field.Message().FullName() {
	case "google.protobuf.ListValue":
		return "array"
	case "google.protobuf.Struct":
		return "object"
	case "google.protobuf.Value":
		return "any"
	}
	return ""
}

// readOpaque puts the JSON of a field as it came into the field beside it that takes it so. The field itself gets it as far as
// protobuf's numbers and texts go: a service of before knows no other.
func readOpaque(m protoreflect.Message, field protoreflect.FieldDescriptor, value []byte, path string) error {
	switch kind := opaqueKind(field); {
	case kind != "any" && string(value) == "null":
		return nil
	case kind == "array" && value[0] != '[':
		return fault.Newf(fault.Invalid, "%s must be an array", path)
	case kind == "object" && value[0] != '{':
		return fault.Newf(fault.Invalid, "%s must be an object", path)
	}
	if text := m.Descriptor().Fields().ByName(field.Name() + jsonSuffix); text != nil {
		m.Set(text, protoreflect.ValueOfBytes(value))
	}
	if lossy := m.NewField(field); protojson.Unmarshal(value, lossy.Message().Interface()) == nil {
		m.Set(field, lossy)
	}
	return nil
}

// scalar reads one JSON value that is no object. A whole number may be written as JavaScript and others do: 5, 5.0, "5".
func scalar(field protoreflect.FieldDescriptor, value []byte) (v protoreflect.Value, ok bool) {
	switch field.Kind() {
	case protoreflect.StringKind, protoreflect.BytesKind:
		text, isText := rawjson.Unquote(value)
		if !isText {
			return v, false
		}
		return fromText(field, text)
	case protoreflect.BoolKind:
		word := string(value)
		return protoreflect.ValueOfBool(word == "true"), word == "true" || word == "false"
	default:
		text, quoted := rawjson.Unquote(value)
		if !quoted {
			text = string(value)
		}
		return fromText(field, text)
	}
}

// fromText reads a scalar that stands in a query or in a JSON string.
func fromText(field protoreflect.FieldDescriptor, text string) (v protoreflect.Value, ok bool) {
	switch field.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(text), utf8.ValidString(text)
	case protoreflect.BytesKind:
		raw, err := fromBase64(text)
		return protoreflect.ValueOfBytes(raw), err == nil
	case protoreflect.BoolKind:
		is, err := strconv.ParseBool(text)
		return protoreflect.ValueOfBool(is), err == nil
	case protoreflect.Int32Kind:
		n, ok := whole(text, 0, math.MaxInt32)
		return protoreflect.ValueOfInt32(int32(n)), ok //nolint:gosec // within its bounds
	case protoreflect.Uint32Kind:
		n, ok := whole(text, 0, math.MaxUint32)
		return protoreflect.ValueOfUint32(uint32(n)), ok //nolint:gosec // within its bounds
	case protoreflect.Uint64Kind:
		n, ok := whole(text, 0, math.MaxUint64)
		return protoreflect.ValueOfUint64(n), ok
	default:
		return v, false
	}
}

// whole reads a whole number.
func whole(text string, least, most uint64) (n uint64, ok bool) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || f != math.Trunc(f) || f < 0 || f > 1<<53 {
			return 0, false
		}
		n = uint64(f)
	}
	return n, least <= n && n <= most
}

// fromBase64 takes both alphabets, with and without padding.
func fromBase64(text string) ([]byte, error) {
	text = strings.TrimRight(text, "=")
	if strings.ContainsAny(text, "-_") {
		return base64.RawURLEncoding.DecodeString(text)
	}
	return base64.RawStdEncoding.DecodeString(text)
}

func wrongKind(field protoreflect.FieldDescriptor, path string) error {
	one, many := "", ""
	switch field.Kind() {
	case protoreflect.StringKind:
		one, many = "a string", "strings"
	case protoreflect.BytesKind:
		one, many = "base64", "base64 strings"
	case protoreflect.BoolKind:
		one, many = "true or false", "booleans"
	case protoreflect.Uint64Kind:
		one, many = "a whole number from 0", "whole numbers from 0"
	default:
		one, many = "a whole number from 0 to "+most(field), "whole numbers from 0 to "+most(field)
	}
	if field.IsList() {
		return fault.Newf(fault.Invalid, "%s must be an array of %s", path, many)
	}
	return fault.Newf(fault.Invalid, "%s must be %s", path, one)
}

func most(field protoreflect.FieldDescriptor) string {
	if field.Kind() == protoreflect.Int32Kind {
		return strconv.Itoa(math.MaxInt32)
	}
	return strconv.FormatUint(math.MaxUint32, 10)
}

// readQuery reads the parameters of a URL into a message: rooms=a&rooms=b&except.users=c. Those that are not known are ignored.
func readQuery(m protoreflect.Message, raw string) error {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return fault.New(fault.Invalid, "The query must be URL-encoded")
	}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names) // so that the same request gets the same refusal
	for _, name := range names {
		if err := readParameter(m, name, values[name]); err != nil {
			return err
		}
	}
	return nil
}

func readParameter(m protoreflect.Message, name string, values []string) error {
	to := m
	steps := strings.Split(name, ".")
	for i, step := range steps {
		field := fieldOf(to.Descriptor(), step)
		switch {
		case field == nil:
			return nil
		case i < len(steps)-1:
			if field.Kind() != protoreflect.MessageKind || field.IsList() || opaqueKind(field) != "" {
				return nil
			}
			to = to.Mutable(field).Message()
		case field.Kind() == protoreflect.MessageKind:
			return fault.Newf(fault.Invalid, "%s must be given by its fields", name)
		default:
			return readTexts(to, field, name, values)
		}
	}
	return nil
}

func readTexts(m protoreflect.Message, field protoreflect.FieldDescriptor, name string, values []string) error {
	if !field.IsList() && len(values) > 1 {
		return fault.Newf(fault.Invalid, "%s must be given once", name)
	}
	for _, text := range values {
		v, ok := fromText(field, text)
		switch {
		case !ok && field.Kind() == protoreflect.StringKind:
			return fault.Newf(fault.Invalid, "%s must be UTF-8", name)
		case !ok:
			return wrongKind(field, name)
		case field.IsList():
			m.Mutable(field).List().Append(v)
		default:
			m.Set(field, v)
		}
	}
	return nil
}

// setPath puts the parts of the path that are fields into a message; they win over the body and the query.
func (r *route) setPath(m proto.Message, values []string) {
	for _, s := range r.path {
		if s.field != nil {
			m.ProtoReflect().Set(s.field, protoreflect.ValueOfString(values[0]))
			values = values[1:]
		}
	}
}
