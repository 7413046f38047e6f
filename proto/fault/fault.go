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
	Reason     Reason        // why more closely; "" = not said
	Message    string        // shown to the client
	RetryAfter time.Duration // 0 = not said
	Until      time.Time     // when what is refused is allowed again, in whole milliseconds; zero = not said
	Cause      error         // never shown; may be nil
	// logged tells that the message carries the id under which the log has the cause already.
	logged bool
}

// New returns a fault with a message that the client may see.
func New(kind Kind, message string) *Error { return &Error{Kind: kind, Message: message} }

// Because is New with a reason.
func Because(kind Kind, reason Reason, message string) *Error {
	return &Error{Kind: kind, Reason: reason, Message: message}
}

// Newf is New with a format.
func Newf(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// Retry returns a fault of kind RateLimited or Unavailable that says when to come back.
func Retry(kind Kind, message string, after time.Duration) *Error {
	return &Error{Kind: kind, Message: message, RetryAfter: after}
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

// of finds or makes the fault for err: the fault inside it, or Timeout and Unavailable for ended contexts. It gives nil for every
// other error, whose text nobody outside may see.
func of(err error) *Error {
	if f, ok := errors.AsType[*Error](err); ok {
		return f
	}
	switch KindOf(err) {
	case Timeout:
		return &Error{Kind: Timeout, Message: "No answer in time", Cause: err}
	case Unavailable:
		return &Error{Kind: Unavailable, Message: "Service unavailable", Cause: err}
	default:
		return nil
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
