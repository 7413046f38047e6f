// Package connectauth reads what the auth object of a CONNECT says, and what the handshake says in its place.
package connectauth

import (
	"math"

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/userlog"
	"github.com/starling-chat/starling/platform/rawjson"
)

// Auth is what a CONNECT says beside its token.
type Auth struct {
	Recovery bool   // the client can take offsets
	PID      string // of the socket it had
	Offset   string // the last one that it got; "" = none
	Useq     int64  // what it has seen of its user's log, or userlog.Unknown
	Inbox    bool   // the socket is to have an inbox
}

// Read reads a CONNECT's auth object, and takes the client's kind for what it does not say.
func Read(auth []byte, headers session.Headers) Auth {
	a := Auth{Recovery: !headers.FixedArguments, Useq: userlog.Unknown}
	if raw, ok := rawjson.Field(auth, "useq"); ok && string(raw) != "null" {
		a.Useq = math.MaxInt64 // what is no number is nothing that the log has, and the client is told so
		if seq, ok := rawjson.Whole(raw); ok {
			a.Useq = int64(seq) //nolint:gosec // 53 bits
		}
	}
	if raw, ok := rawjson.Field(auth, "recovery"); ok && (string(raw) == "true" || string(raw) == "false") {
		a.Recovery = string(raw) == "true"
	}
	if raw, ok := rawjson.Field(auth, "pid"); ok {
		a.PID, _ = rawjson.Unquote(raw)
	}
	if raw, ok := rawjson.Field(auth, "offset"); ok {
		a.Offset, _ = rawjson.Unquote(raw)
	}
	if raw, ok := rawjson.Field(auth, "inbox"); ok {
		a.Inbox = string(raw) == "true"
	}
	return a
}

// Seen takes apart what the client has seen of its rooms, by their number, and which of its changes of rooms it knows.
func (a Auth) Seen() (seqs map[uint32]uint64, generation uint64, ok bool) {
	if a.Offset == "" {
		return nil, 0, true
	}
	if seqs, ok = session.ParseOffset(a.Offset); !ok {
		return nil, 0, false
	}
	epoch, generation := session.SplitEpoch(seqs[0])
	if epoch != session.OffsetEpoch(a.PID) { // of an earlier socket: of this one the client has seen no event
		return nil, 0, true
	}
	return seqs, generation, true
}

// Token takes the token out of the auth object, or else out of the handshake's Authorization header. ok is false when auth.token is there but
// not a string.
func Token(auth []byte, headers session.Headers) (token string, ok bool) {
	if raw, found := rawjson.Field(auth, "token"); found && string(raw) != "null" {
		token, ok = rawjson.Unquote(raw)
		if !ok || token != "" {
			return token, ok
		}
	}
	return headers.Bearer(), true
}
