package engineio

import (
	"bytes"
	"encoding/base64"
	"iter"
	"unicode/utf8"
)

// separator joins the packets of one polling body. It can't occur inside Socket.IO packets: JSON forbids raw
// control characters and package socketio forbids them in namespaces.
const separator = 0x1e

// base64Mark stands in the place of the type before the base64 of a binary message.
const base64Mark = 'b'

// PacketType is the first byte of a text packet.
type PacketType byte

// The packet types of Engine.IO 4, with who sends them.
const (
	Open    PacketType = '0' // server: the handshake
	Close   PacketType = '1' // both
	Ping    PacketType = '2' // server; from a client only as the probe "2probe"
	Pong    PacketType = '3' // client; from the server only as the answer "3probe"
	Message PacketType = '4' // both
	Upgrade PacketType = '5' // client: the new transport takes over
	Noop    PacketType = '6' // server, polling only: releases a pending GET; Swift's client POSTs one before its "5"
)

// String names the type for logs.
func (t PacketType) String() string {
	switch t {
	case Open:
		return "open"
	case Close:
		return "close"
	case Ping:
		return "ping"
	case Pong:
		return "pong"
	case Message:
		return "message"
	case Upgrade:
		return "upgrade"
	case Noop:
		return "noop"
	default:
		return "unknown"
	}
}

// Packet is one Engine.IO packet. Binary is only ever set on a Message.
type Packet struct {
	Type   PacketType
	Binary bool
	// Data is what follows the type. After decoding it aliases the input, except for base64.
	Data []byte
}

// DecodeFrame decodes one complete WebSocket frame; binary tells the frame's opcode. It also accepts the base64 form
// in a text frame, which official clients send with forceBase64. The error is a *ProtocolError.
func DecodeFrame(data []byte, binary bool) (Packet, error) {
	if binary {
		return Packet{Type: Message, Binary: true, Data: data}, nil
	}
	if len(data) == 0 {
		return Packet{}, &ProtocolError{Reason: EmptyPacket}
	}
	t := PacketType(data[0])
	if t == base64Mark {
		return decodeBase64(data[1:])
	}
	if t < Open || t > Noop {
		return Packet{}, &ProtocolError{Reason: UnknownType}
	}
	if !utf8.Valid(data[1:]) {
		return Packet{}, &ProtocolError{Reason: InvalidUTF8}
	}
	return Packet{Type: t, Data: data[1:]}, nil
}

// decodeBase64 takes what official servers take, for clients rely on it: Android's encoder ends its lines after 76 characters
// and at the end, others leave out the padding or write the URL alphabet.
func decodeBase64(text []byte) (Packet, error) {
	data := make([]byte, base64.StdEncoding.DecodedLen(len(text))) // 3 bytes for 4 characters, padding or not
	n, err := base64.StdEncoding.Decode(data, text)                // skips line ends
	if err == nil {
		return Packet{Type: Message, Binary: true, Data: data[:n]}, nil
	}
	plain, ok := plainBase64(text)
	if !ok {
		return Packet{}, &ProtocolError{Reason: InvalidBase64}
	}
	data = make([]byte, base64.RawStdEncoding.DecodedLen(len(plain)))
	if n, err = base64.RawStdEncoding.Decode(data, plain); err != nil {
		return Packet{}, &ProtocolError{Reason: InvalidBase64}
	}
	return Packet{Type: Message, Binary: true, Data: data[:n]}, nil
}

// plainBase64 rewrites base64 as the standard alphabet without white space and padding. It reports false when something
// follows the padding.
func plainBase64(text []byte) (plain []byte, ok bool) {
	plain = make([]byte, 0, len(text))
	padded := false
	for _, c := range text {
		switch c {
		case ' ', '\t', '\n', '\v', '\f', '\r':
			continue
		case '=':
			padded = true
			continue
		case '-':
			c = '+'
		case '_':
			c = '/'
		}
		if padded {
			return nil, false
		}
		plain = append(plain, c)
	}
	return plain, true
}

// DecodePayload yields the packets of a polling body in order. It stops after the first error, a *ProtocolError;
// packets yielded before it were good and official servers act on them. A body of more than maxBytes bytes (the
// handshake's maxPayload; 0 = no bound) yields PayloadTooLarge and nothing else. It is an iterator because a body
// of separators alone would make a slice forty times its size.
func DecodePayload(body []byte, maxBytes int) iter.Seq2[Packet, error] {
	return func(yield func(Packet, error) bool) {
		if maxBytes > 0 && len(body) > maxBytes {
			yield(Packet{}, &ProtocolError{Reason: PayloadTooLarge})
			return
		}
		for more := true; more; {
			part := body
			cut := bytes.IndexByte(body, separator)
			if more = cut >= 0; more {
				part, body = body[:cut], body[cut+1:]
			}
			p, err := DecodeFrame(part, false)
			if !yield(p, err) || err != nil {
				return
			}
		}
	}
}

// AppendBase64 appends a binary message in its text form.
func AppendBase64(dst, data []byte) []byte {
	return base64.StdEncoding.AppendEncode(append(dst, base64Mark), data)
}

// AppendPolled appends one packet to a polling body that starts at body[0]: frame is its text, or the bare bytes of a binary
// message. With it a send
// queue of frames that were encoded once for every transport turns into the answer of a GET.
func AppendPolled(body, frame []byte, binary bool) []byte {
	if len(body) > 0 {
		body = append(body, separator)
	}
	if binary {
		return AppendBase64(body, frame)
	}
	return append(body, frame...)
}
