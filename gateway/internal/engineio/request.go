package engineio

import (
	"errors"
	"strconv"
	"strings"
)

// The two transports of the protocol, as the query parameter "transport" spells them.
const (
	TransportPolling   = "polling"
	TransportWebSocket = "websocket"
)

// version is the only value of EIO that is served.
const version = "4"

// RequestError is the refusal of an HTTP request. The closed list below is that of docs/socketio.md ("HTTP"); compare
// with errors.Is, or look at Code.
type RequestError struct {
	// Code is Engine.IO's own: 0 to 5.
	Code int
	// Message goes to the peer.
	Message string
	// Status is the HTTP status.
	Status int
}

// The refusals. A refused WebSocket upgrade is a plain-text 400 with the Message instead of the JSON.
var (
	ErrUnknownTransport   = &RequestError{Code: 0, Message: "Transport unknown", Status: 400}
	ErrUnknownSession     = &RequestError{Code: 1, Message: "Session ID unknown", Status: 400}
	ErrBadHandshakeMethod = &RequestError{Code: 2, Message: "Bad handshake method", Status: 400}
	ErrBadRequest         = &RequestError{Code: 3, Message: "Bad request", Status: 400}
	ErrForbidden          = &RequestError{Code: 4, Message: "Forbidden", Status: 403}
	ErrUnsupportedVersion = &RequestError{Code: 5, Message: "Unsupported protocol version", Status: 400}
	// ErrBadMethod is a method other than GET and POST on a session. It is a bad request with the status that
	// official servers give it.
	ErrBadMethod = &RequestError{Code: 3, Message: "Bad request", Status: 500}
)

// Forbidden is ErrForbidden with its own message; an empty one keeps the default. errors.Is finds ErrForbidden in it.
func Forbidden(message string) *RequestError {
	if message == "" {
		return ErrForbidden
	}
	return &RequestError{Code: ErrForbidden.Code, Message: message, Status: ErrForbidden.Status}
}

// Error returns the message with its code.
func (e *RequestError) Error() string {
	return "engine.io: request refused with code " + strconv.Itoa(e.Code) + ": " + e.Message
}

// Is reports whether target is a refusal of the same code and status, whatever its message.
func (e *RequestError) Is(target error) bool {
	t, ok := errors.AsType[*RequestError](target)
	return ok && t.Code == e.Code && t.Status == e.Status
}

// AppendJSON appends the body of the answer: {"code":3,"message":"Bad request"}.
func (e *RequestError) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"code":`...)
	dst = strconv.AppendInt(dst, int64(e.Code), 10)
	dst = append(dst, `,"message":`...)
	dst = appendString(dst, e.Message)
	return append(dst, '}')
}

// Query is what Engine.IO reads of a request's query; "t", the clients' cache buster, and foreign names are ignored.
// The strings may alias the raw query.
type Query struct {
	EIO       string
	Transport string
	SID       string
	// Base64 is b64=1: the client takes and sends binary messages as base64 on every transport.
	Base64 bool
}

// ParseQuery reads the part of a URL after "?" as official servers do. Malformed percent escapes stay as they are and so match
// nothing. Of a name that occurs several times the last value counts: users write EIO or transport into their URL, and clients append
// theirs.
func ParseQuery(rawQuery string) Query {
	var q Query
	for rawQuery != "" {
		var pair string
		pair, rawQuery, _ = strings.Cut(rawQuery, "&")
		name, value, _ := strings.Cut(pair, "=")
		switch unescape(name) {
		case "EIO":
			q.EIO = unescape(value)
		case "transport":
			q.Transport = unescape(value)
		case "sid":
			q.SID = unescape(value)
		case "b64":
			q.Base64 = value != ""
		}
	}
	return q
}

// unescape resolves "+" and percent escapes. It allocates only where there are any.
func unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '+':
			out = append(out, ' ')
		case s[i] == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			out = append(out, hexValue(s[i+1])<<4|hexValue(s[i+2]))
			i += 2
		default:
			out = append(out, s[i])
		}
	}
	return string(out)
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func hexValue(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&^0x20 - 'A' + 10
}

// Request is what CheckRequest has to know about an HTTP request.
type Request struct {
	// Method is the HTTP method in capitals.
	Method string
	Query  Query
	// Origin is the Origin header as received; empty when there is none.
	Origin string
	// Upgrade tells that the request asks for a WebSocket.
	Upgrade bool
	// SessionTransport is the present transport of the session Query.SID; empty when there is no such session.
	SessionTransport string
	// Allow is the operator's say about the page that asks: its origin. It is asked with and without a sid, and only when every
	// check before it passed. Nil means yes; Forbidden makes a refusal.
	Allow func() *RequestError
}

// CheckRequest runs the checks of docs/socketio.md ("HTTP") in their order and returns the first refusal, or nil:
//
//	transport known
//	    ↓ 0
//	characters of Origin
//	    ↓ 3
//	        ┌── sid given ──────────────┬── no sid: a handshake ──┐
//	        │ 4  Allow                  │ 2  GET only             │
//	        │ 1  sid known              │ 3  transport fits       │
//	        │ 3  transport fits         │ 4  Allow                │
//	        │ 3  method (status 500)    │ 5  EIO                  │
//	        └───────────────────────────┴─────────────────────────┘
//
// Pages of other origins learn nothing about sids, and cannot use one.
//
// An upgrade for a session that is on WebSocket already passes: official servers accept that connection and close it
// at once, and clients wait for the close.
func CheckRequest(r Request) *RequestError {
	if r.Query.Transport != TransportPolling && r.Query.Transport != TransportWebSocket {
		return ErrUnknownTransport
	}
	if !validHeader(r.Origin) {
		return ErrBadRequest
	}
	if r.Query.SID != "" {
		return checkSession(r)
	}
	return checkHandshake(r)
}

func checkSession(r Request) *RequestError {
	if refusal := r.refusal(); refusal != nil {
		return refusal
	}
	switch {
	case r.SessionTransport == "":
		return ErrUnknownSession
	case r.Upgrade != (r.Query.Transport == TransportWebSocket):
		return ErrBadRequest
	case !r.Upgrade && r.SessionTransport != TransportPolling:
		return ErrBadRequest
	case r.Method != "GET" && (r.Upgrade || r.Method != "POST"):
		return ErrBadMethod
	}
	return nil
}

func checkHandshake(r Request) *RequestError {
	if r.Method != "GET" {
		return ErrBadHandshakeMethod
	}
	if r.Upgrade != (r.Query.Transport == TransportWebSocket) {
		return ErrBadRequest
	}
	if refusal := r.refusal(); refusal != nil {
		return refusal
	}
	if r.Query.EIO != version {
		return ErrUnsupportedVersion
	}
	return nil
}

// refusal asks Allow.
func (r Request) refusal() *RequestError {
	if r.Allow == nil {
		return nil
	}
	return r.Allow()
}

// validHeader reports whether s has only the characters that a header may have: tab, and everything from space up
// except delete.
func validHeader(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}
