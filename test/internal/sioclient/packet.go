package sioclient

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
)

// Kind is what a packet of the server means to a client of the namespace "/".
type Kind uint8

// Kinds of packets. The first four are Engine.IO's, the others Socket.IO's.
const (
	Other Kind = iota // a noop, or of a type that servers do not send
	Open
	Close
	Ping
	Connect
	Disconnect
	Event
	Ack
	ConnectError
	Foreign // of another namespace
	Binary  // with attachments
)

// Types of Engine.IO packets.
const (
	engineOpen    = '0'
	engineClose   = '1'
	enginePing    = '2'
	enginePong    = '3'
	engineMessage = '4'
)

// Types of Socket.IO packets.
const (
	socketConnect    = '0'
	socketDisconnect = '1'
	socketEvent      = '2'
	socketAck        = '3'
	socketError      = '4'
)

// Pong answers a Ping.
const Pong = string(enginePong)

// NoAck is the id of an event that wants no ack.
const NoAck = -1

// Packet is one packet of the server. Its bytes are those that were parsed. It is small enough to be passed in registers, which
// the load generator feels.
type Packet struct {
	Kind Kind
	ID   int64  // of an Ack, or of an Event that wants one; otherwise NoAck
	Body []byte // JSON: the array of an Event or Ack, the object of the others
}

var (
	errEmptyEngine = errors.New("empty Engine.IO packet")
	errEmptySocket = errors.New("empty Socket.IO packet")
	errAckID       = errors.New("ack id out of range")
)

// Parse reads one Engine.IO packet with the Socket.IO packet in it. It does not look into the JSON.
func Parse(b []byte) (Packet, error) {
	if len(b) == 0 {
		return Packet{}, errEmptyEngine
	}
	kind := Other
	switch b[0] {
	case engineMessage:
		if len(b) > 2 && b[1] == socketEvent && b[2] == '[' { // by far the most
			return Packet{Kind: Event, ID: NoAck, Body: b[2:]}, nil
		}
		return parseSocket(b[1:])
	case engineOpen:
		kind = Open
	case engineClose:
		kind = Close
	case enginePing:
		kind = Ping
	}
	return Packet{Kind: kind, ID: NoAck, Body: b[1:]}, nil
}

func parseSocket(b []byte) (Packet, error) {
	if len(b) == 0 {
		return Packet{}, errEmptySocket
	}
	p := Packet{ID: NoAck}
	switch b[0] {
	case socketConnect:
		p.Kind = Connect
	case socketDisconnect:
		p.Kind = Disconnect
	case socketEvent:
		p.Kind = Event
	case socketAck:
		p.Kind = Ack
	case socketError:
		p.Kind = ConnectError
	default:
		p.Kind = Binary
	}
	i := 1
	for ; i < len(b) && b[i] >= '0' && b[i] <= '9'; i++ {
		if p.ID > (math.MaxInt64-9)/10 {
			return Packet{}, errAckID
		}
		p.ID = max(p.ID, 0)*10 + int64(b[i]-'0')
	}
	p.Body = b[i:]
	if len(p.Body) > 0 && p.Body[0] == '/' {
		p.Kind = Foreign
	}
	return p, nil
}

// Name is the name of an Event, as it is spelled between its quotes; nil where there is none.
func (p Packet) Name() []byte {
	array := p.Body
	if len(array) < 4 || array[0] != '[' || array[1] != '"' {
		return nil
	}
	end := bytes.IndexByte(array[2:], '"')
	if end < 0 {
		return nil
	}
	return array[2 : 2+end]
}

// Handshake is the body of Open.
type Handshake struct {
	SID          string `json:"sid"`
	PingInterval int    `json:"pingInterval"` // ms
	PingTimeout  int    `json:"pingTimeout"`  // ms
}

// Welcome is the body of Connect.
type Welcome struct {
	SID string `json:"sid"`
	PID string `json:"pid"` // of the recoverable session; empty where the server keeps none
}

// Refusal is the body of ConnectError.
type Refusal struct {
	Message string `json:"message"`
	Data    struct {
		Code string `json:"code"`
	} `json:"data"`
}

// Message is a decoded Event.
type Message struct {
	Name   string
	Args   []json.RawMessage // what follows the name, the offset included
	Offset string            // the last argument, where it is a string
}

// DecodeEvent reads the body of an Event. What it returns holds copies.
func DecodeEvent(body []byte) (Message, error) {
	var all []json.RawMessage
	if err := json.Unmarshal(body, &all); err != nil {
		return Message{}, fmt.Errorf("event %.60q: %w", body, err)
	}
	var m Message
	if len(all) == 0 || json.Unmarshal(all[0], &m.Name) != nil {
		return Message{}, fmt.Errorf("event without a name: %.60q", body)
	}
	// As the official client: whatever string stands at the end, be it the name, is the offset.
	if last := all[len(all)-1]; last[0] == '"' {
		if err := json.Unmarshal(last, &m.Offset); err != nil {
			return Message{}, fmt.Errorf("offset of %s: %w", m.Name, err)
		}
	}
	m.Args = all[1:]
	return m, nil
}

// Auth is what CONNECT carries. PID and Offset ask for the session before it; both may be empty.
type Auth struct {
	Token, PID, Offset string

	Useq *uint64 // of the user's log, up to where the client has seen it; nil = it does not say

	Inbox bool // the socket wants the rooms of its user told without joining them
}

// AppendConnect appends a CONNECT.
func AppendConnect(dst []byte, a Auth) []byte {
	dst = append(dst, engineMessage, socketConnect)
	dst = append(dst, `{"token":`...)
	dst = appendString(dst, a.Token)
	if a.PID != "" {
		dst = appendString(append(dst, `,"pid":`...), a.PID)
	}
	if a.Offset != "" {
		dst = appendString(append(dst, `,"offset":`...), a.Offset)
	}
	if a.Useq != nil {
		dst = strconv.AppendUint(append(dst, `,"useq":`...), *a.Useq, 10)
	}
	if a.Inbox {
		dst = append(dst, `,"inbox":true`...)
	}
	return append(dst, '}')
}

// appendString appends a JSON string.
func appendString(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			raw, _ := json.Marshal(s) // a string always encodes
			return append(dst, raw...)
		}
	}
	return append(append(append(dst, '"'), s...), '"')
}

// BeginEvent appends an EVENT up to and with the comma behind its name. The caller appends the arguments and "]".
func BeginEvent(dst []byte, id int64, name string) []byte {
	dst = append(dst, engineMessage, socketEvent)
	if id >= 0 {
		dst = strconv.AppendInt(dst, id, 10)
	}
	dst = appendString(append(dst, '['), name)
	return append(dst, ',')
}

// AppendEvent appends an EVENT with one argument.
func AppendEvent(dst []byte, id int64, name string, arg any) ([]byte, error) {
	raw, err := json.Marshal(arg)
	if err != nil {
		return dst, fmt.Errorf("encode %s: %w", name, err)
	}
	return append(append(BeginEvent(dst, id, name), raw...), ']'), nil
}
