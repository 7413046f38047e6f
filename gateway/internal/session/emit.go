package session

import (
	"github.com/starling-chat/starling/gateway/internal/engineio"
	"github.com/starling-chat/starling/gateway/internal/socketio"
	"github.com/starling-chat/starling/gateway/internal/transport"
)

// Emit is an event that goes to clients.
type Emit struct {
	Namespace   string
	Event       string
	Args        []byte // the JSON array of the arguments after the name; none is the same as []
	Attachments [][]byte
	AckID       int64 // above 0: the clients are asked for an ack with this id
	Volatile    bool  // dropped when the queue of a slow conn fills
	Answer      bool  // it goes with the answer to what the client asked for
	// WithOffset has a client with recovery know, and bring back, what it has seen of its rooms, although the event belongs to
	// none of them.
	WithOffset bool
}

// Encode makes the message that all sockets of the namespace share.
func (e Emit) Encode() (*transport.Message, error) {
	id := int64(socketio.NoID)
	if e.AckID > 0 {
		id = e.AckID
	}
	b := transport.NewBuilder(len(e.Namespace) + len(e.Event) + len(e.Args) + 32)
	b.Volatile, b.Answer = e.Volatile, e.Answer
	buf, err := socketio.AppendEvent(append(b.Buffer(), byte(engineio.Message)), e.Namespace, id, e.Event, e.Args, len(e.Attachments))
	if err != nil {
		return nil, err
	}
	b.WithOffset = e.AckID <= 0 && (e.WithOffset || endsWithString(buf))
	return b.Message(buf, e.Attachments), nil
}

// endsWithString tells whether the last element of an encoded event is a string: an argument, or the name of an event without
// arguments. Official clients with recovery would take it for the offset, so a real one goes out behind it. With an ack id they
// do not, because the callback is their last argument, and an offset would stand between it and the data.
func endsWithString(packet []byte) bool { return packet[len(packet)-2] == '"' }

// AckMessage encodes an ack that answers a request. The App does not begin a client's next request while much of the answers
// before it waits to go out (transport.Conn.QueuedBytes).
func AckMessage(namespace string, id int64, args []byte, attachments [][]byte) (*transport.Message, error) {
	return ackMessage(namespace, id, args, attachments, true)
}

// RefusalMessage encodes an ack that refuses a request which was not begun: nothing but the conn's bound keeps a client from having
// very many.
func RefusalMessage(namespace string, id int64, args []byte) (*transport.Message, error) {
	return ackMessage(namespace, id, args, nil, false)
}

func ackMessage(namespace string, id int64, args []byte, attachments [][]byte, answer bool) (*transport.Message, error) {
	b := transport.NewBuilder(len(namespace) + len(args) + 32)
	b.Answer = answer
	buf, err := socketio.AppendAck(append(b.Buffer(), byte(engineio.Message)), namespace, id, args, len(attachments))
	if err != nil {
		return nil, err
	}
	return b.Message(buf, attachments), nil
}
