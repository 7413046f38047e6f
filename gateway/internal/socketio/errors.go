package socketio

import (
	"errors"
	"strconv"
)

// ErrTooDeep tells that the JSON is nested beyond the bound. Decode returns it together with a Packet whose header
// and, for an event, whose name are good (see Packet.TooDeep); the session can go on.
var ErrTooDeep = errors.New("socket.io: JSON is nested too deeply")

// Reason says what a peer did wrong. The values are few and fixed, so a Reason may label a metric.
type Reason string

// The reasons of a ProtocolError.
const (
	// UnknownType is a packet that doesn't begin with '0' … '6'.
	UnknownType Reason = "unknown_packet_type"
	// BadAttachmentCount is a binary packet whose number of attachments is absent, not a number, or above the bound.
	BadAttachmentCount Reason = "bad_attachment_count"
	// BadNamespace is a namespace that is too long, not UTF-8, or has control characters.
	BadNamespace Reason = "bad_namespace"
	// BadAckID is an ack id above 2^53, an ACK without one, or an id on a packet that can't have one.
	BadAckID Reason = "bad_ack_id"
	// BadJSON is what does not follow the grammar of JSON, invalid UTF-8 included.
	BadJSON Reason = "bad_json"
	// BadContent is JSON of a shape that the packet's type doesn't allow.
	BadContent Reason = "bad_content"
	// ReservedEvent is an event named as one of the events that every socket has of its own.
	ReservedEvent Reason = "reserved_event"
	// BadPlaceholder is a placeholder without its attachment, or an attachment without its placeholder.
	BadPlaceholder Reason = "bad_placeholder"
	// TextInsideBinary is a text packet while attachments are still to come.
	TextInsideBinary Reason = "text_inside_binary"
	// StrayBinary is a binary frame that no packet announced.
	StrayBinary Reason = "stray_binary"
	// BinaryTooLarge is a binary packet above the bound of the Assembler.
	BinaryTooLarge Reason = "binary_too_large"
)

// ProtocolError is the peer's fault: what it sent is not Socket.IO. Its session has to be closed.
type ProtocolError struct {
	Reason Reason
	// Offset is where in the packet, in bytes from its type.
	Offset int
}

// Error returns the reason and the place for logs; it is not meant for the peer.
func (e *ProtocolError) Error() string {
	return "socket.io: peer sent " + string(e.Reason) + " at byte " + strconv.Itoa(e.Offset)
}

// UsageError is our own fault: the caller asked for a packet that the protocol doesn't have. Nothing was appended.
type UsageError struct {
	Problem string
}

// Error returns the problem in words.
func (e *UsageError) Error() string { return "socket.io: " + e.Problem }
