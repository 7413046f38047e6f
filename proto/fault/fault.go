package fault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Kind is one reason of the closed list; its string form is the code that clients see.
type Kind string

// The kinds, as in docs/events.md, "Acks".
const (
	Invalid         Kind = "invalid"         // the request itself is wrong; the message names the field
	Unauthenticated Kind = "unauthenticated" // nobody known asks
	Forbidden       Kind = "forbidden"       // known, but not allowed
	NotFound        Kind = "not_found"       // what was asked for does not exist
	Conflict        Kind = "conflict"        // it exists already, or changed meanwhile
	TooLarge        Kind = "too_large"       // over a size limit
	RateLimited     Kind = "rate_limited"    // too many; RetryAfter says when
	UnknownEvent    Kind = "unknown_event"   // no service answers this event
	Unavailable     Kind = "unavailable"     // a part is away; a retry may succeed
	Timeout         Kind = "timeout"         // no answer in time; the outcome is unknown
	Internal        Kind = "internal"        // our own mistake; the message carries the id in the log
)

// Kinds lists all kinds in the order of the contract.
func Kinds() []Kind {
	return []Kind{
		Invalid, Unauthenticated, Forbidden, NotFound, Conflict, TooLarge,
		RateLimited, UnknownEvent, Unavailable, Timeout, Internal,
	}
}

// Error is a fault as an error value.
type Error struct {
	Kind       Kind
	Message    string        // shown to the client
	RetryAfter time.Duration // 0 = not said
	Cause      error         // never shown; may be nil
}

// New returns a fault with a message that the client may see.
func New(kind Kind, message string) *Error { return &Error{Kind: kind, Message: message} }

// Newf is New with a format.
func Newf(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// Retry returns a fault of kind RateLimited or Unavailable that says when to come back.
func Retry(kind Kind, message string, after time.Duration) *Error {
	return &Error{Kind: kind, Message: message, RetryAfter: after}
}

// Hide wraps an error that the client must not see; id is what the log has beside the cause.
func Hide(id string, cause error) *Error {
	return &Error{Kind: Internal, Message: "Internal error " + id, Cause: cause}
}

// Error gives the code, the message and the cause, for logs.
func (e *Error) Error() string {
	if e.Cause != nil {
		return fmt.Sprintf("%s: %s: %v", e.Kind, e.Message, e.Cause)
	}
	return fmt.Sprintf("%s: %s", e.Kind, e.Message)
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Is makes errors.Is(err, fault.New(kind, "")) true for every fault of that kind.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Kind == e.Kind && (t.Message == "" || t.Message == e.Message)
}

// KindOf tells the kind of an error: that of the fault inside, Timeout for an ended deadline, Unavailable for a
// cancelled context, Internal for everything else. KindOf(nil) is "".
func KindOf(err error) Kind {
	var f *Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &f):
		return f.Kind
	case errors.Is(err, context.DeadlineExceeded):
		return Timeout
	case errors.Is(err, context.Canceled):
		return Unavailable
	}
	return Internal
}

// Of returns the fault inside err, or makes one: Timeout and Unavailable for ended contexts, otherwise Internal with the
// id that newID gives. The second result is false when err was no fault and has to be logged under that id.
func Of(err error, newID func() string) (*Error, bool) {
	if f, ok := errors.AsType[*Error](err); ok {
		return f, f.Kind != Internal || f.Cause == nil
	}
	switch KindOf(err) {
	case Timeout:
		return &Error{Kind: Timeout, Message: "No answer in time", Cause: err}, true
	case Unavailable:
		return &Error{Kind: Unavailable, Message: "Service unavailable", Cause: err}, true
	default:
		return Hide(newID(), err), false
	}
}

// HTTPStatus is the status of the kind in REST answers.
func (k Kind) HTTPStatus() int {
	switch k {
	case Invalid:
		return http.StatusBadRequest
	case Unauthenticated:
		return http.StatusUnauthorized
	case Forbidden:
		return http.StatusForbidden
	case NotFound, UnknownEvent:
		return http.StatusNotFound
	case Conflict:
		return http.StatusConflict
	case TooLarge:
		return http.StatusRequestEntityTooLarge
	case RateLimited:
		return http.StatusTooManyRequests
	case Unavailable:
		return http.StatusServiceUnavailable
	case Timeout:
		return http.StatusGatewayTimeout
	case Internal:
		return http.StatusInternalServerError
	}
	return http.StatusInternalServerError
}
