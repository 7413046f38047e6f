package transport

import (
	"encoding/binary"

	"github.com/starling-chat/starling/gateway/internal/engineio"
)

// maxHeader is the longest header of a server's WebSocket frame: 2 bytes and a 64-bit length.
const maxHeader = 10

// Message is one outgoing Engine.IO packet, with the binary attachments that follow it. It is encoded once and shared by
// every conn that it goes to, and therefore never changes: neither do the bytes that its methods give.
type Message struct {
	frames      []byte
	text        []byte // a part of frames
	attachments [][]byte
	volatile    bool
	answer      bool
	withOffset  bool
	more        bool // the last of the frames goes on in the next message
}

// Frames is the WebSocket form: a text frame and one binary frame for each attachment.
func (m *Message) Frames() []byte { return m.frames }

// Text is the Engine.IO packet as text.
func (m *Message) Text() []byte { return m.text }

// Attachments follow Text as binary packets.
func (m *Message) Attachments() [][]byte { return m.attachments }

// Volatile messages are dropped when the queue of a slow conn fills.
func (m *Message) Volatile() bool { return m.volatile }

// WithOffset tells that the message goes to clients with recovery with their offset at its end.
func (m *Message) WithOffset() bool { return m.withOffset }

// Builder makes a Message without copying its text twice: append the text to Buffer(), then call Message.
type Builder struct {
	Volatile   bool
	Answer     bool // the client has asked for it: no sign of a slow peer, however large
	WithOffset bool
	buf        []byte
}

// NewBuilder prepares a message of about size bytes.
func NewBuilder(size int) Builder { return Builder{buf: make([]byte, maxHeader, maxHeader+size)} }

// Buffer is where the packet's text is appended.
func (b *Builder) Buffer() []byte { return b.buf }

// Message finishes the message from the buffer that grew out of Buffer. The attachments belong to the message from now on.
func (b *Builder) Message(buf []byte, attachments [][]byte) *Message {
	textLen := len(buf) - maxHeader
	for _, a := range attachments {
		buf = appendHeader(buf, opBinary, len(a))
		buf = append(buf, a...)
	}
	var header [maxHeader]byte
	h := appendHeader(header[:0], opText, textLen)
	start := maxHeader - len(h)
	copy(buf[start:], h)
	return &Message{
		frames: buf[start:], text: buf[maxHeader : maxHeader+textLen : maxHeader+textLen], attachments: attachments,
		volatile: b.Volatile, answer: b.Answer, withOffset: b.WithOffset,
	}
}

// suffixedLen is the length of the message's frames with the last byte of the text replaced by a suffix of n bytes.
func (m *Message) suffixedLen(n int) int {
	text := len(m.text) - 1 + n
	return len(m.frames) - len(m.text) + text + maxHeader
}

// AppendSuffixed appends the frames of the message with the last byte of the text replaced.
func (m *Message) AppendSuffixed(dst, suffix []byte) []byte {
	head := len(m.text) - 1
	dst = appendHeader(dst, opText, head+len(suffix))
	dst = append(dst, m.text[:head]...)
	dst = append(dst, suffix...)
	for _, a := range m.attachments {
		dst = appendHeader(dst, opBinary, len(a))
		dst = append(dst, a...)
	}
	return dst
}

// TextMessage makes a message from a packet's text.
func TextMessage(text string) *Message {
	b := NewBuilder(len(text))
	return b.Message(append(b.Buffer(), text...), nil)
}

// BinaryMessage makes a message that is one binary Engine.IO packet, without any text before it.
func BinaryMessage(content []byte) *Message {
	frame := append(appendHeader(make([]byte, 0, maxHeader+len(content)), opBinary, len(content)), content...)
	return &Message{frames: frame, text: engineio.AppendBase64(nil, content)}
}

// FramesMessage makes a message from frames that were encoded elsewhere. It can only go over a WebSocket.
func FramesMessage(frames []byte) *Message { return &Message{frames: frames} }

// CarriedMessage makes a message from the frames of a session of another gateway, which bounds them: they are taken whatever waits
// already. more tells that the last one goes on in the next message.
func CarriedMessage(frames []byte, more bool) *Message {
	return &Message{frames: frames, answer: true, more: more}
}

const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xa
)

// appendHeader appends the header of an unmasked, unfragmented frame.
//
//	 0               1               2 …
//	+-+-+-+-+-------+-+-------------+-------------------------------+
//	|F|R|R|R| opcode|M| length      | 16 or 64 bits of length       |
//	|1|0|0|0|       |0| 7 bits      | if the 7 bits say 126 or 127  |
//	+-+-+-+-+-------+-+-------------+-------------------------------+
//
// (RFC 6455 §5.2; the server does not mask.)
func appendHeader(dst []byte, op byte, length int) []byte {
	dst = append(dst, 0x80|op)
	switch {
	case length < 126:
		return append(dst, byte(length)) //nolint:gosec // bounded by the case
	case length <= 0xffff:
		return binary.BigEndian.AppendUint16(append(dst, 126), uint16(length))
	default:
		return binary.BigEndian.AppendUint64(append(dst, 127), uint64(length))
	}
}
