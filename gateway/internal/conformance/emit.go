package conformance

import (
	"encoding/json"
	"fmt"

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/socketio"
	"github.com/starling-chat/starling/platform/rawjson"
)

// emit sends an event. args is a raw JSON array; id is the ack id that is wanted, 0 for none.
func emit(s *session.Socket, name string, id int64, args []byte, attachments [][]byte) {
	m, err := session.Emit{Namespace: s.Namespace, Event: name, Args: args, Attachments: attachments, AckID: id}.Encode()
	if err != nil {
		panic(fmt.Sprintf("encode event %q: %v", name, err)) // the caller's own arguments
	}
	s.Queue(m)
	s.Flush()
}

// acknowledge answers an event that wants an ack; args is a raw JSON array.
func acknowledge(s *session.Socket, p socketio.Packet, args []byte, attachments [][]byte) {
	if !p.HasID {
		return
	}
	m, err := session.AckMessage(s.Namespace, p.ID, args, attachments)
	if err != nil {
		panic(fmt.Sprintf("encode ack %d: %v", p.ID, err)) // the caller's own arguments
	}
	s.Queue(m)
	s.Flush()
}

// array encodes values as a JSON array of arguments.
func array(values ...any) []byte {
	if len(values) == 0 {
		return []byte("[]")
	}
	raw, err := json.Marshal(values)
	if err != nil {
		panic(fmt.Sprintf("encode arguments: %v", err)) // the caller's own arguments
	}
	return raw
}

// placeholder stands in arguments for attachment n.
func placeholder(n int) any {
	return struct {
		Placeholder bool `json:"_placeholder"`
		Num         int  `json:"num"`
	}{true, n}
}

// isBinary tells whether a raw argument stands for an attachment.
func isBinary(arg []byte) bool {
	mark, ok := rawjson.Field(arg, "_placeholder")
	return ok && string(mark) == "true"
}

// field gives a string field of a raw argument, "" where there is none.
func field(arg []byte, name string) string {
	raw, ok := rawjson.Field(arg, name)
	if !ok {
		return ""
	}
	text, _ := rawjson.Unquote(raw)
	return text
}
