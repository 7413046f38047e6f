package obs

import (
	"context"
	"slices"
	"sync/atomic"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// TraceHeader is the header by which a message tells what it belongs to (W3C Trace Context). Only a message of a trace that is recorded
// has it.
const TraceHeader = "traceparent"

const tracerName = "github.com/starling-chat/starling"

// tracing tells whether spans go anywhere; Tracing sets it.
var tracing atomic.Bool //nolint:gochecknoglobals // as the provider of traces is OpenTelemetry's global one

// Traced tells whether traces are on. Hot paths ask before they begin a span, which would cost something even if nobody took it.
func Traced() bool { return tracing.Load() }

// SpanKind says what a span is to the one above it.
type SpanKind = trace.SpanKind

// The kinds of span.
const (
	Asking    = trace.SpanKindClient   // until another process has answered
	Answering = trace.SpanKindServer   // what Asking waits for
	Receiving = trace.SpanKindConsumer // for which nobody waits
	Inside    = trace.SpanKindInternal
)

// Span is work of this process in a trace. A nil Span is work that is not recorded; its methods do nothing.
type Span struct{ span trace.Span }

// StartSpan begins a span below parent, a traceparent, or a trace of its own where parent is empty. The Span is nil when traces are off,
// or the trace is not one of those that are recorded.
func StartSpan(ctx context.Context, kind SpanKind, name, parent string) (context.Context, *Span) {
	return start(ctx, kind, name, parent)
}

// StartShared begins a span of work that is done for several: below the first of them that is traced, and linked with the others. parents
// are their traceparents, "" of those that are not traced. Without any the Span is nil.
func StartShared(ctx context.Context, name string, parents []string) (context.Context, *Span) {
	parents = slices.DeleteFunc(parents, func(parent string) bool { return parent == "" })
	if len(parents) == 0 {
		return ctx, nil
	}
	var links []trace.SpanStartOption
	for _, parent := range parents[1:] {
		links = append(links, trace.WithLinks(trace.Link{SpanContext: spanContext(parent)}))
	}
	return start(ctx, Inside, name, parents[0], links...)
}

func start(ctx context.Context, kind SpanKind, name, parent string, options ...trace.SpanStartOption) (context.Context, *Span) {
	if !Traced() {
		return ctx, nil
	}
	below := ctx
	if parent != "" {
		below = trace.ContextWithRemoteSpanContext(ctx, spanContext(parent))
	}
	inside, span := otel.Tracer(tracerName).Start(below, name, append(options, trace.WithSpanKind(kind))...)
	if !span.IsRecording() {
		return ctx, nil
	}
	return inside, &Span{span}
}

// Note adds a number to what is known of the work.
func (s *Span) Note(key string, n int) {
	if s != nil {
		s.span.SetAttributes(attribute.Int(key, n))
	}
}

// In gives ctx the span, so that what is done with it is done below the span, and its log lines have the trace's id.
func (s *Span) In(ctx context.Context) context.Context {
	if s == nil {
		return ctx
	}
	return trace.ContextWithSpan(ctx, s.span)
}

// Parent is the span as a traceparent, for what is done below it elsewhere; "" for nil.
func (s *Span) Parent() string {
	if s == nil {
		return ""
	}
	return ParentIn(trace.ContextWithSpan(context.Background(), s.span)) //nolint:forbidigo // carries the span alone
}

// ParentIn is the span that ctx is in as a traceparent; "" where there is none that is recorded.
func ParentIn(ctx context.Context) string {
	if !Traced() || !trace.SpanContextFromContext(ctx).IsSampled() {
		return ""
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier[TraceHeader]
}

// End ends the work; failure says in one word why it failed, "" that it did not.
func (s *Span) End(failure string) {
	if s == nil {
		return
	}
	if failure != "" {
		s.span.SetStatus(codes.Error, failure)
	}
	s.span.End()
}

func spanContext(parent string) trace.SpanContext {
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{TraceHeader: parent}) //nolint:forbidigo // as above
	return trace.SpanContextFromContext(ctx)
}
