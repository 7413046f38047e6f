package services

import (
	"strconv"

	"github.com/starling-chat/starling/platform/rawjson"
	"github.com/starling-chat/starling/proto/fault"
	"github.com/starling-chat/starling/proto/isotime"
)

// RefusalAck is the arguments of an ack that refuses: [{"ok":false,"error":{"code":…,"message":…,"reason":…,"retryAfterMs":…,"until":…}}].
func RefusalAck(f *fault.Error) []byte {
	b := append(make([]byte, 0, 96), `[{"ok":false,"error":{"code":`...)
	b = appendFault(b, f)
	return append(b, `}}]`...)
}

// RefusalEvent is those of event:error, where no ack is wanted: [{"event":…,"code":…,"message":…,"reason":…,"retryAfterMs":…,"until":…}].
func RefusalEvent(event string, f *fault.Error) []byte {
	b := append(make([]byte, 0, 96), `[{"event":`...)
	b = rawjson.AppendString(b, event)
	b = append(b, `,"code":`...)
	b = appendFault(b, f)
	return append(b, `}]`...)
}

func appendFault(b []byte, f *fault.Error) []byte {
	b = rawjson.AppendString(b, string(f.Kind))
	b = append(b, `,"message":`...)
	b = rawjson.AppendString(b, f.Message)
	if f.Reason != "" {
		b = append(b, `,"reason":`...)
		b = rawjson.AppendString(b, string(f.Reason))
	}
	if f.RetryAfter > 0 {
		b = append(b, `,"retryAfterMs":`...)
		b = strconv.AppendInt(b, max(f.RetryAfter.Milliseconds(), 1), 10)
	}
	if !f.Until.IsZero() {
		b = append(b, `,"until":"`...)
		b = append(isotime.Append(b, f.Until), '"')
	}
	return b
}
