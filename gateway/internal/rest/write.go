package rest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/starling-chat/starling/platform/rawjson"
	"github.com/starling-chat/starling/proto/fault"
	"github.com/starling-chat/starling/proto/isotime"
)

// writeAnswer writes the answer of a call.
func writeAnswer(w http.ResponseWriter, answer proto.Message) error {
	contentType, body := "application/json", []byte(nil)
	if raw, ok := answer.(*httpbody.HttpBody); ok {
		contentType, body = raw.GetContentType(), raw.GetData()
	} else {
		var err error
		if body, err = appendMessage(nil, answer.ProtoReflect()); err != nil {
			return fmt.Errorf("write the answer as JSON: %w", err)
		}
	}
	w.Header().Set("Content-Type", contentType)
	_, _ = w.Write(body) // the client is gone otherwise
	return nil
}

// appendMessage writes a message with its empty fields. 64-bit integers are numbers: the client contract has seq as a number, and
// sequences stay far below 2^53, where JavaScript's numbers end.
func appendMessage(dst []byte, m protoreflect.Message) ([]byte, error) {
	if m.Descriptor().ParentFile().Package() == "google.protobuf" { // times, and what has no JSON text beside it
		raw, err := protojson.Marshal(m.Interface())
		return append(dst, raw...), err
	}
	dst = append(dst, '{')
	start := len(dst)
	for i := range m.Descriptor().Fields().Len() {
		field := m.Descriptor().Fields().Get(i)
		if hidden(field) || field.ContainingOneof() != nil && !m.Has(field) {
			continue
		}
		if len(dst) > start {
			dst = append(dst, ',')
		}
		dst = append(rawjson.AppendString(dst, field.JSONName()), ':')
		var err error
		if dst, err = appendField(dst, m, field); err != nil {
			return nil, err
		}
	}
	return append(dst, '}'), nil
}

func appendField(dst []byte, m protoreflect.Message, field protoreflect.FieldDescriptor) (_ []byte, err error) {
	switch {
	case field.IsMap():
		return nil, fmt.Errorf("%s is a map", field.FullName())
	case opaqueKind(field) != "":
		text := m.Descriptor().Fields().ByName(field.Name() + jsonSuffix)
		if text != nil && m.Has(text) {
			return append(dst, m.Get(text).Bytes()...), nil
		}
	case field.IsList():
		dst = append(dst, '[')
		list := m.Get(field).List()
		for i := range list.Len() {
			if i > 0 {
				dst = append(dst, ',')
			}
			if dst, err = appendValue(dst, field, list.Get(i)); err != nil {
				return nil, err
			}
		}
		return append(dst, ']'), nil
	}
	if field.HasPresence() && !m.Has(field) {
		return append(dst, "null"...), nil
	}
	return appendValue(dst, field, m.Get(field))
}

func appendValue(dst []byte, field protoreflect.FieldDescriptor, v protoreflect.Value) ([]byte, error) {
	switch field.Kind() {
	case protoreflect.BoolKind:
		return strconv.AppendBool(dst, v.Bool()), nil
	case protoreflect.StringKind:
		return rawjson.AppendString(dst, v.String()), nil
	case protoreflect.BytesKind:
		return append(base64.StdEncoding.AppendEncode(append(dst, '"'), v.Bytes()), '"'), nil
	case protoreflect.Int32Kind, protoreflect.Int64Kind:
		return strconv.AppendInt(dst, v.Int(), 10), nil
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind:
		return strconv.AppendUint(dst, v.Uint(), 10), nil
	case protoreflect.MessageKind:
		return appendMessage(dst, v.Message())
	default:
		return nil, fmt.Errorf("%s is of kind %v", field.FullName(), field.Kind())
	}
}

// WriteFault writes { code, message, reason?, retryAfterMs?, until? }.
func WriteFault(w http.ResponseWriter, status int, f *fault.Error) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	if f.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(max(1, int(f.RetryAfter.Seconds()+0.999))))
	}
	until := ""
	if !f.Until.IsZero() {
		until = isotime.Format(f.Until)
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(struct { // the client is gone otherwise
		Code         fault.Kind   `json:"code"`
		Message      string       `json:"message"`
		Reason       fault.Reason `json:"reason,omitempty"`
		RetryAfterMS int64        `json:"retryAfterMs,omitempty"`
		Until        string       `json:"until,omitempty"`
	}{f.Kind, f.Message, f.Reason, f.RetryAfter.Milliseconds(), until})
}
