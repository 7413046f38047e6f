package socketio

import (
	"strconv"

	"github.com/starling-chat/starling/platform/rawjson"
)

// NoID stands for the ack id of an event that wants no ack.
const NoID = -1

// AppendConnect appends the answer to a CONNECT, or a CONNECT itself. content is a raw JSON object such as
// {"sid":"…","pid":"…"}, or empty.
func AppendConnect(dst []byte, namespace string, content []byte) []byte {
	return append(appendHeader(dst, Connect, 0, namespace, NoID), content...)
}

// AppendConnectError appends the refusal of a CONNECT: 4/ns,{"message":"…","data":{…}}. detail is raw JSON; empty
// leaves "data" out.
func AppendConnectError(dst []byte, namespace, message string, detail []byte) []byte {
	dst = appendHeader(dst, ConnectError, 0, namespace, NoID)
	dst = append(dst, `{"message":`...)
	dst = rawjson.AppendString(dst, message)
	if len(detail) > 0 {
		dst = append(append(dst, `,"data":`...), detail...)
	}
	return append(dst, '}')
}

// AppendDisconnect appends the end of a socket: 1/ns,
func AppendDisconnect(dst []byte, namespace string) []byte {
	return appendHeader(dst, Disconnect, 0, namespace, NoID)
}

// AppendEvent appends an EVENT, or a BINARY_EVENT if there are attachments. id is NoID or the ack id that is wanted;
// args is a raw JSON array of the arguments after the name, empty for none. The content of args is trusted to be
// JSON; only its ends are looked at. The error is a *UsageError and then dst is returned as it was.
//
//	args                    [ {"a":1},2 ]
//	packet   2/chat,12["name",{"a":1},2 ]
func AppendEvent(dst []byte, namespace string, id int64, name string, args []byte, attachments int) ([]byte, error) {
	elements, err := inner(args, attachments)
	if err != nil {
		return dst, err
	}
	if Reserved(name) {
		return dst, &UsageError{Problem: "event has a reserved name"}
	}
	if id > MaxID {
		return dst, &UsageError{Problem: "ack id is too large"}
	}
	t := Event
	if attachments > 0 {
		t = BinaryEvent
	}
	dst = appendHeader(dst, t, attachments, namespace, id)
	dst = append(dst, '[')
	dst = rawjson.AppendString(dst, name)
	if len(elements) > 0 {
		dst = append(dst, ',')
		dst = append(dst, elements...)
	}
	return append(dst, ']'), nil
}

// AppendAck appends an ACK, or a BINARY_ACK if there are attachments. args and the error are as for AppendEvent.
func AppendAck(dst []byte, namespace string, id int64, args []byte, attachments int) ([]byte, error) {
	elements, err := inner(args, attachments)
	if err != nil {
		return dst, err
	}
	if id < 0 || id > MaxID {
		return dst, &UsageError{Problem: "ack without an id"}
	}
	t := Ack
	if attachments > 0 {
		t = BinaryAck
	}
	dst = appendHeader(dst, t, attachments, namespace, id)
	dst = append(dst, '[')
	dst = append(dst, elements...)
	return append(dst, ']'), nil
}

// inner returns what stands between the brackets of args, without the space at its ends, and checks the attachments.
func inner(args []byte, attachments int) ([]byte, error) {
	if attachments < 0 || attachments > maxAttachments {
		return nil, &UsageError{Problem: "number of attachments is out of range"}
	}
	if len(args) == 0 {
		return nil, nil
	}
	start, end := rawjson.SkipSpace(args, 0), trimSpace(args, len(args))
	if end-start < 2 || args[start] != '[' || args[end-1] != ']' {
		return nil, &UsageError{Problem: "arguments are not a JSON array"}
	}
	start = rawjson.SkipSpace(args, start+1)
	return args[start:max(start, trimSpace(args, end-1))], nil
}

// trimSpace returns the place after the last byte before end that is not JSON's white space.
func trimSpace(data []byte, end int) int {
	for end > 0 && (data[end-1] == ' ' || data[end-1] == '\n' || data[end-1] == '\t' || data[end-1] == '\r') {
		end--
	}
	return end
}

// appendHeader appends everything before the JSON.
func appendHeader(dst []byte, t Type, attachments int, namespace string, id int64) []byte {
	dst = append(dst, '0'+byte(t))
	if t.IsBinary() {
		dst = append(strconv.AppendInt(dst, int64(attachments), 10), '-')
	}
	if len(namespace) > 1 {
		dst = append(append(dst, namespace...), ',')
	}
	if id >= 0 {
		dst = strconv.AppendInt(dst, id, 10)
	}
	return dst
}
