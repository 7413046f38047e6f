package fault

import (
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// ToProto gives the fault its form on NATS.
func (e *Error) ToProto() *eventv1.Fault {
	p := &eventv1.Fault{
		Code: string(e.Kind), Message: e.Message, RetryAfterMs: e.RetryAfter.Milliseconds(), Reason: string(e.Reason),
	}
	if !e.Until.IsZero() {
		p.UntilMs = e.Until.UnixMilli()
	}
	return p
}

// FromProto is the reverse of ToProto; an unknown code becomes Internal.
func FromProto(p *eventv1.Fault) *Error {
	e := &Error{
		Kind: known(p.GetCode()), Reason: Reason(p.GetReason()), Message: p.GetMessage(),
		RetryAfter: time.Duration(p.GetRetryAfterMs()) * time.Millisecond,
	}
	if p.GetUntilMs() != 0 {
		e.Until = time.UnixMilli(p.GetUntilMs()).UTC()
	}
	return e
}

// ToStatus turns an error into a gRPC status error. The fault travels as a status detail, so that FromStatus gives it back
// whole; an error that holds no fault becomes Internal with its text hidden. ToStatus(nil) is nil.
func ToStatus(err error) error {
	if err == nil {
		return nil
	}
	f := of(err)
	if f == nil {
		f = &Error{Kind: Internal, Message: internalMessage}
	}
	st, detailErr := status.New(f.Kind.code(), f.Message).WithDetails(f.ToProto())
	if detailErr != nil {
		return status.Error(f.Kind.code(), f.Message)
	}
	return st.Err()
}

// FromStatus turns the error of a gRPC call into a fault. A status without a fault in its details, as gRPC itself makes
// when a server is away, is mapped by its code. A refusal of the caller itself (NotAService, NotForCaller) is no fault of the
// client that it asks for: to that one the service is away. FromStatus(nil) is nil.
func FromStatus(err error) error {
	if err == nil {
		return nil
	}
	st, ok := status.FromError(err)
	if !ok {
		return err
	}
	for _, detail := range st.Details() {
		if p, isFault := detail.(*eventv1.Fault); isFault {
			f := FromProto(p)
			if f.ofCaller() {
				return &Error{Kind: Unavailable, Message: "Service unavailable", RetryAfter: time.Second, Cause: err}
			}
			return f
		}
	}
	kind := kindOfCode(st.Code())
	switch kind {
	case Unavailable:
		return &Error{Kind: kind, Message: "Service unavailable", RetryAfter: time.Second, Cause: err}
	case Timeout:
		return &Error{Kind: kind, Message: "No answer in time", RetryAfter: time.Second, Cause: err}
	case Internal:
		return &Error{Kind: kind, Message: internalMessage, Cause: err}
	default:
		return &Error{Kind: kind, Message: bareMessage(kind), Cause: err}
	}
}

// bareMessage says in our words what gRPC says in its own, which are not for clients.
func bareMessage(kind Kind) string {
	switch kind {
	case Unauthenticated:
		return "Not authenticated"
	case Forbidden:
		return "Not allowed"
	case NotFound, UnknownEvent:
		return "There is no such thing"
	case Conflict:
		return "It has changed meanwhile"
	case TooLarge:
		return "Too large"
	case RateLimited:
		return "Too much"
	default:
		return "The request is invalid"
	}
}

func known(code string) Kind {
	for _, k := range Kinds() {
		if string(k) == code {
			return k
		}
	}
	return Internal
}

func (k Kind) code() codes.Code {
	switch k {
	case Invalid:
		return codes.InvalidArgument
	case Unauthenticated:
		return codes.Unauthenticated
	case Forbidden:
		return codes.PermissionDenied
	case NotFound:
		return codes.NotFound
	case Conflict:
		return codes.AlreadyExists
	case TooLarge:
		return codes.OutOfRange
	case RateLimited:
		return codes.ResourceExhausted
	case UnknownEvent:
		return codes.Unimplemented
	case Unavailable:
		return codes.Unavailable
	case Timeout:
		return codes.DeadlineExceeded
	case Internal:
		return codes.Internal
	}
	return codes.Internal
}

func kindOfCode(c codes.Code) Kind {
	for _, k := range Kinds() {
		if k.code() == c {
			return k
		}
	}
	switch c {
	case codes.Canceled, codes.Aborted:
		return Unavailable
	case codes.FailedPrecondition:
		return Conflict
	default:
		return Internal
	}
}
