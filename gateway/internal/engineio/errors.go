package engineio

// Reason says what a peer did wrong. The values are few and fixed, so a Reason may label a metric.
type Reason string

// The reasons of a ProtocolError.
const (
	// EmptyPacket is a text frame or a part of a payload without even a type.
	EmptyPacket Reason = "empty_packet"
	// UnknownType is a packet whose first byte is neither '0' … '6' nor 'b'.
	UnknownType Reason = "unknown_packet_type"
	// InvalidUTF8 is a text packet that is not UTF-8.
	InvalidUTF8 Reason = "invalid_utf8"
	// InvalidBase64 is a binary packet whose text is not base64, of whatever alphabet, lines and padding.
	InvalidBase64 Reason = "invalid_base64"
	// PayloadTooLarge is a polling body above maxPayload; over HTTP it is a 413 with an empty body.
	PayloadTooLarge Reason = "payload_too_large"
)

// ProtocolError is the peer's fault: what it sent is not Engine.IO. Its session has to be closed.
type ProtocolError struct {
	Reason Reason
}

// Error returns the reason in words for logs; it is not meant for the peer.
func (e *ProtocolError) Error() string { return "engine.io: peer sent " + string(e.Reason) }
