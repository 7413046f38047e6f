package fault

import (
	"context"
	"crypto/rand"
	"log/slog"
	"strings"
)

// IDKey is the one log key under which every border logs the id of an internal fault.
const IDKey = "fault_id"

const (
	// internalMessage is what a client reads of an internal fault before its id.
	internalMessage = "Internal error"
	// idLength is enough letters of base 32 that two faults in a log don't share an id: 50 bits.
	idLength = 10
)

// Log returns the fault that a caller gets for err; Log(nil) is nil. Where err is no refusal but a mistake of ours, the fault is
// Internal with the message "Internal error <id>", and the log has one line with that id under IDKey, the error, and attrs, which
// say what was asked. Every border (client events, gRPC, REST) makes its answers with Log, so an operator finds by one key what
// a client reports. A fault that Log has returned before, also in another process, keeps its id and is not logged again.
func Log(ctx context.Context, log *slog.Logger, err error, attrs ...slog.Attr) *Error {
	if err == nil {
		return nil
	}
	f := of(err)
	if f != nil && (f.Kind != Internal || f.logged || f.Cause == nil && f.Message != "") {
		return f
	}
	id := newID()
	log.LogAttrs(ctx, slog.LevelError, "request failed",
		append([]slog.Attr{slog.String(IDKey, id), slog.Any("error", err)}, attrs...)...)
	return &Error{Kind: Internal, Message: internalMessage + " " + id, Cause: err, logged: true}
}

// newID returns a random id that can be read out over a telephone: lower-case letters and digits.
func newID() string { return strings.ToLower(rand.Text()[:idLength]) }
