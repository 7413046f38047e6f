package edge

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	clusterv1 "github.com/starling-chat/starling/proto/gen/starling/cluster/v1"
)

// marshaler is protobuf's JSON with 64-bit integers as numbers: the client contract has seq as a number, and sequences stay
// far below 2^53, where JavaScript's numbers end.
type marshaler struct{ runtime.JSONPb }

func newMarshaler() *marshaler {
	return &marshaler{runtime.JSONPb{
		MarshalOptions:   protojson.MarshalOptions{EmitUnpopulated: true},
		UnmarshalOptions: protojson.UnmarshalOptions{DiscardUnknown: true},
	}}
}

// Marshal implements runtime.Marshaler.
func (m *marshaler) Marshal(v any) ([]byte, error) {
	raw, err := m.JSONPb.Marshal(v)
	message, ok := v.(proto.Message)
	if err != nil || !ok {
		return raw, err
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var tree any
	if err := decoder.Decode(&tree); err != nil {
		return nil, fmt.Errorf("decode our own JSON: %w", err)
	}
	numbers(message.ProtoReflect().Descriptor(), tree)
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(tree); err != nil {
		return nil, fmt.Errorf("encode JSON: %w", err)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

// NewDecoder implements runtime.Marshaler. An emit without any target goes to everyone, as io.emit does; in protobuf an empty
// list of targets would look the same, so it is told apart here.
func (m *marshaler) NewDecoder(r io.Reader) runtime.Decoder {
	return runtime.DecoderFunc(func(v any) error {
		emit, ok := v.(*clusterv1.EmitRequest)
		if !ok {
			return m.JSONPb.NewDecoder(r).Decode(v)
		}
		raw, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		if err := m.Unmarshal(raw, emit); err != nil {
			return err
		}
		emit.All = emit.GetAll() || toEveryone(raw)
		return nil
	})
}

// toEveryone tells whether a body has nothing but an event. A field that is not known may be a target misspelt.
func toEveryone(raw []byte) bool {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return false
	}
	for name := range fields {
		switch name {
		case "event", "args", "data", "attachments", "namespace", "except", "volatile", "ack":
		default:
			return false
		}
	}
	return true
}

// numbers turns the strings of 64-bit fields into numbers, in place.
func numbers(d protoreflect.MessageDescriptor, tree any) {
	object, ok := tree.(map[string]any)
	if !ok || d.ParentFile().Package() == "google.protobuf" {
		return
	}
	for i := range d.Fields().Len() {
		field := d.Fields().Get(i)
		value, ok := object[field.JSONName()]
		if !ok || field.IsMap() {
			continue
		}
		if list, isList := value.([]any); isList {
			for j := range list {
				list[j] = number(field, list[j])
			}
			continue
		}
		object[field.JSONName()] = number(field, value)
	}
}

func number(field protoreflect.FieldDescriptor, value any) any {
	switch field.Kind() {
	case protoreflect.Int64Kind, protoreflect.Uint64Kind, protoreflect.Sint64Kind,
		protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind:
		if s, ok := value.(string); ok {
			return json.Number(s)
		}
	case protoreflect.MessageKind:
		numbers(field.Message(), value)
	default:
	}
	return value
}
