package socketio

import "github.com/starling-chat/starling/platform/rawjson"

// Type is the kind of a packet; on the wire it is one digit.
type Type byte

// The packet types of Socket.IO 5.
const (
	Connect      Type = 0 // client: {…auth…} or nothing; server: {"sid":…}
	Disconnect   Type = 1 // both, without JSON
	Event        Type = 2 // both: ["name",arg,…]
	Ack          Type = 3 // both: [arg,…]
	ConnectError Type = 4 // server: {"message":…}
	BinaryEvent  Type = 5 // an Event whose attachments follow as binary frames
	BinaryAck    Type = 6 // an Ack whose attachments follow as binary frames
)

// String names the type for logs.
func (t Type) String() string {
	switch t {
	case Connect:
		return "connect"
	case Disconnect:
		return "disconnect"
	case Event:
		return "event"
	case Ack:
		return "ack"
	case ConnectError:
		return "connect_error"
	case BinaryEvent:
		return "binary_event"
	case BinaryAck:
		return "binary_ack"
	default:
		return "unknown"
	}
}

// IsEvent reports whether the packet carries an event, binary or not.
func (t Type) IsEvent() bool { return t == Event || t == BinaryEvent }

// IsAck reports whether the packet carries an ack, binary or not.
func (t Type) IsAck() bool { return t == Ack || t == BinaryAck }

// IsBinary reports whether the packet has a count of attachments.
func (t Type) IsBinary() bool { return t == BinaryEvent || t == BinaryAck }

// MaxID is the largest ack id: the last integer that every JavaScript number below it can be told from.
const MaxID = 1 << 53

// MainNamespace is the namespace of packets that name none.
const MainNamespace = "/"

// ownDepth bounds the nesting of packets that did not come from Decode; it is that of encoding/json.
const ownDepth = 10_000

// Packet is one Socket.IO packet, without its attachments.
type Packet struct {
	Type  Type
	HasID bool
	// TooDeep tells that the JSON is nested beyond the bound: Data is nil, all else is good. See ErrTooDeep.
	TooDeep bool
	// Attachments is how many binary frames follow.
	Attachments int
	// ID is the ack id, 0 to MaxID; it counts only with HasID.
	ID int64
	// Namespace begins with a slash; "" means "/" when encoding.
	Namespace string
	// Data is the raw JSON without space around it, nil where there is none. After decoding it is valid and aliases
	// the input.
	Data []byte

	// name and nameEnd are kept by Decode for events: the event's name and where in Data its JSON ends.
	name    string
	nameEnd int
}

// Name returns the name of an event that Decode returned, without further work, and "" for other packets. A name that
// is a number in JSON comes as that number's text.
func (p Packet) Name() string { return p.name }

// Event splits an event into its name and the raw JSON array of the arguments after the name, "[]" if there are
// none. args is a copy that may be kept; AppendArgs does without a new one. It works on packets of any origin; the
// error is a *ProtocolError or ErrTooDeep. The arguments of a packet that is TooDeep are "[]".
func (p Packet) Event() (name string, args []byte, err error) {
	if !p.Type.IsEvent() {
		return "", nil, &ProtocolError{Reason: BadContent}
	}
	if p.nameEnd == 0 {
		s := rawjson.Scanner{Data: p.Data, MaxDepth: ownDepth}
		if err := s.Scan(); err != nil {
			return "", nil, protocolError(err, 0)
		}
		if p.name, err = eventName(&s, nil); err != nil {
			return "", nil, err
		}
		p.nameEnd = s.First.End
	}
	return p.name, p.AppendArgs(make([]byte, 0, max(len("[]"), len(p.Data)-p.nameEnd))), nil
}

// AppendArgs appends the raw JSON array of the arguments after the name of an event that Decode returned:
//
//	Data  ["name" , {"a":1},2]
//	              └─────────── from here on, with "[" for the comma
func (p Packet) AppendArgs(dst []byte) []byte {
	if p.nameEnd > 0 {
		i := rawjson.SkipSpace(p.Data, p.nameEnd)
		if i < len(p.Data) && p.Data[i] == ',' {
			return append(append(dst, '['), p.Data[i+1:]...)
		}
	}
	return append(dst, '[', ']')
}
