package fault_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/proto/fault"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// wantFault compares what the other side of a border sees of a fault, and that it has no cause there.
func wantFault(t *testing.T, border string, err error, want *fault.Error) {
	t.Helper()
	got, ok := errors.AsType[*fault.Error](err)
	if !ok || got.Kind != want.Kind || got.Reason != want.Reason || got.Message != want.Message || got.RetryAfter != want.RetryAfter || got.Cause != nil {
		t.Errorf("%s through %s = %+v, want %+v", want.Kind, border, err, want)
	}
}

// TestBorders: each kind on each border, and back.
func TestBorders(t *testing.T) {
	borders := map[fault.Kind]struct {
		grpc codes.Code
		http int
	}{
		fault.Invalid:         {codes.InvalidArgument, http.StatusBadRequest},
		fault.Unauthenticated: {codes.Unauthenticated, http.StatusUnauthorized},
		fault.Forbidden:       {codes.PermissionDenied, http.StatusForbidden},
		fault.NotFound:        {codes.NotFound, http.StatusNotFound},
		fault.Conflict:        {codes.AlreadyExists, http.StatusConflict},
		fault.TooLarge:        {codes.OutOfRange, http.StatusRequestEntityTooLarge},
		fault.RateLimited:     {codes.ResourceExhausted, http.StatusTooManyRequests},
		fault.UnknownEvent:    {codes.Unimplemented, http.StatusNotFound},
		fault.Unavailable:     {codes.Unavailable, http.StatusServiceUnavailable},
		fault.Timeout:         {codes.DeadlineExceeded, http.StatusGatewayTimeout},
		fault.Internal:        {codes.Internal, http.StatusInternalServerError},
	}
	if len(borders) != len(fault.Kinds()) {
		t.Errorf("Kinds() lists %d, want %d", len(fault.Kinds()), len(borders))
	}
	for _, kind := range fault.Kinds() {
		want, listed := borders[kind]
		if !listed {
			t.Errorf("kind %s has no place on the borders", kind)
			continue
		}
		until := time.UnixMilli(1_800_000_000_123).UTC()
		f := &fault.Error{Kind: kind, Reason: "a_reason", Message: "in words ☂", RetryAfter: 1500 * time.Millisecond, Until: until, Cause: errors.New("secret")}
		shown := &fault.Error{Kind: kind, Reason: f.Reason, Message: f.Message, RetryAfter: f.RetryAfter, Until: until}
		if got := kind.HTTPStatus(); got != want.http {
			t.Errorf("HTTPStatus of %s = %d, want %d", kind, got, want.http)
		}
		st := fault.ToStatus(fmt.Errorf("wrapped: %w", f))
		if got := status.Code(st); got != want.grpc {
			t.Errorf("status code of %s = %v, want %v", kind, got, want.grpc)
		}
		wantFault(t, "gRPC", fault.FromStatus(st), shown)
		raw, err := proto.Marshal(f.ToProto())
		if err != nil {
			t.Fatal(err)
		}
		var p eventv1.Fault
		if err := proto.Unmarshal(raw, &p); err != nil {
			t.Fatal(err)
		}
		wantFault(t, "NATS", fault.FromProto(&p), shown)
		if !errors.Is(f, fault.New(kind, "")) || errors.Is(f, fault.New(kind, "other words")) || fault.KindOf(f) != kind {
			t.Errorf("errors.Is or KindOf does not know %s", kind)
		}
		// A status that gRPC or an interceptor of somebody else made has no details: its code alone tells the kind.
		if got := fault.KindOf(fault.FromStatus(status.Error(want.grpc, "bare"))); got != kind {
			t.Errorf("KindOf a bare status %v = %s, want %s", want.grpc, got, kind)
		}
	}
}

func TestKindOf(t *testing.T) {
	if fault.KindOf(nil) != "" || fault.ToStatus(nil) != nil || fault.FromStatus(nil) != nil {
		t.Error("no error is a fault, want none")
	}
	for what, tc := range map[string]struct {
		err  error
		want fault.Kind
	}{
		"an ended deadline":     {fmt.Errorf("ask: %w", context.DeadlineExceeded), fault.Timeout},
		"a cancelled context":   {fmt.Errorf("ask: %w", context.Canceled), fault.Unavailable},
		"anything":              {errors.New("anything"), fault.Internal},
		"a status Canceled":     {fault.FromStatus(status.Error(codes.Canceled, "")), fault.Unavailable},
		"a status Aborted":      {fault.FromStatus(status.Error(codes.Aborted, "")), fault.Unavailable},
		"a status Precondition": {fault.FromStatus(status.Error(codes.FailedPrecondition, "")), fault.Conflict},
		"a status DataLoss":     {fault.FromStatus(status.Error(codes.DataLoss, "")), fault.Internal},
		"an unknown code":       {fault.FromProto(&eventv1.Fault{Code: "of_tomorrow"}), fault.Internal},
	} {
		if got := fault.KindOf(tc.err); got != tc.want {
			t.Errorf("KindOf(%s) = %s, want %s", what, got, tc.want)
		}
	}
}

// TestStatusHides: what a caller may not see does not travel.
func TestStatusHides(t *testing.T) {
	st := status.Convert(fault.ToStatus(errors.New("secret sql")))
	if st.Code() != codes.Internal || st.Message() != "Internal error" {
		t.Errorf("ToStatus(an internal error) = %v, want Internal without its text", st)
	}
	// The texts of gRPC name addresses and ports; those that are ours to write are ours.
	for _, code := range []codes.Code{codes.Unavailable, codes.DeadlineExceeded, codes.Unknown} {
		f, ok := errors.AsType[*fault.Error](fault.FromStatus(status.Error(code, "dial 10.0.0.7:9000")))
		if !ok || f.Message == "" || f.Message == "dial 10.0.0.7:9000" {
			t.Errorf("FromStatus(%v) = %v, want a message of ours", code, f)
		}
	}
}

// TestRefusedService: whoever asks through a service that is itself refused hears that it is away, never that its own token is bad or
// that it may not; what is refused to the one who asks stays what it is.
func TestRefusedService(t *testing.T) {
	for _, f := range []*fault.Error{fault.NotAService(), fault.NotForCaller("gateway")} {
		if got := fault.FromStatus(fault.ToStatus(f)); fault.KindOf(got) != fault.Unavailable {
			t.Errorf("FromStatus(%v) = %v, want it unavailable", f, got)
		}
	}
	for _, f := range []*fault.Error{fault.New(fault.Unauthenticated, "Wrong username or password"), fault.New(fault.Forbidden, "Not a member"), fault.Refusal(fault.ReasonToken, nil)} {
		if got := fault.FromStatus(fault.ToStatus(f)); fault.KindOf(got) != f.Kind {
			t.Errorf("FromStatus(%v) = %v, want its kind", f, got)
		}
	}
}

func TestRefusals(t *testing.T) {
	messages := map[fault.Reason]string{
		fault.ReasonNoToken: "Authentication required", fault.ReasonToken: "Invalid token", fault.ReasonUserID: "Invalid token", fault.ReasonDisabled: "Invalid token",
		fault.ReasonNoUser: "User not found", fault.ReasonNamespace: "Invalid namespace",
	}
	for reason, message := range messages {
		if f := fault.Refusal(reason, nil); f.Message != message || f.Reason != reason {
			t.Errorf("Refusal(%s) = %v, want %q", reason, f, message)
		}
	}
	for what, tc := range map[string]struct {
		err  error
		want fault.Reason
	}{
		"a reason":                      {fault.Refusal(fault.ReasonUserID, nil), fault.ReasonUserID},
		"a reason that came by gRPC":    {fault.FromStatus(fault.ToStatus(fault.Refusal(fault.ReasonNoUser, nil))), fault.ReasonNoUser},
		"a reason of tomorrow":          {&fault.Error{Kind: fault.Unauthenticated, Reason: "too_early"}, "too_early"},
		"a message of an older service": {fault.New(fault.Unauthenticated, "Authentication required"), fault.ReasonNoToken},
		"another of its messages":       {fault.New(fault.Unauthenticated, "Invalid token"), fault.ReasonToken},
		"the third of its messages":     {fault.New(fault.Unauthenticated, "User not found"), fault.ReasonNoUser},
		"no service":                    {fault.NotAService(), ""},
		"another kind":                  {fault.New(fault.NotFound, "User not found"), ""},
		"no fault":                      {errors.New("Invalid token"), ""},
		"no error":                      {nil, ""},
	} {
		f, ok := fault.RefusalOf(tc.err)
		if ok != (tc.want != "") || ok && f.Reason != tc.want {
			t.Errorf("RefusalOf(%s) = %v, %v, want %q", what, f, ok, tc.want)
		}
	}
}
