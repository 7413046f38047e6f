package engineio

import (
	"strconv"
	"unicode/utf8"
)

// Handshake is the content of the open packet, the first packet of every session.
type Handshake struct {
	// SID is the session's secret id; it is the credential of polling and never equals socket.id.
	SID string
	// Upgrades is ["websocket"] on polling and empty on WebSocket.
	Upgrades []string
	// PingInterval and PingTimeout are in milliseconds.
	PingInterval, PingTimeout int
	// MaxPayload is the bound of one polling body or frame in bytes.
	MaxPayload int
}

// AppendOpen appends the open packet. Its five fields are all that docs/socketio.md allows, in the official order:
//
//	0{"sid":"…","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}
func AppendOpen(dst []byte, h Handshake) []byte {
	dst = append(dst, byte(Open))
	dst = append(dst, `{"sid":`...)
	dst = appendString(dst, h.SID)
	dst = append(dst, `,"upgrades":[`...)
	for i, upgrade := range h.Upgrades {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, upgrade)
	}
	dst = append(dst, `],"pingInterval":`...)
	dst = strconv.AppendInt(dst, int64(h.PingInterval), 10)
	dst = append(dst, `,"pingTimeout":`...)
	dst = strconv.AppendInt(dst, int64(h.PingTimeout), 10)
	dst = append(dst, `,"maxPayload":`...)
	dst = strconv.AppendInt(dst, int64(h.MaxPayload), 10)
	return append(dst, '}')
}

// appendString appends s as a JSON string; bytes that are not UTF-8 become U+FFFD. It is for ids and short messages,
// not for the hot path.
func appendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r < 0x20:
			dst = append(dst, '\\', 'u', '0', '0', hex[r>>4], hex[r&0xf])
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '"')
}
