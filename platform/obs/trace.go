package obs

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
)

// flushTimeout bounds the last traces of a process: several of them may stop one after the other, as in deploy/local, and an orderly
// stop does not depend on a collector.
const flushTimeout = 500 * time.Millisecond

// Tracing sends traces by OTLP over gRPC to the settings' endpoint, "host:4317" (plain text)
// or a URL with http or https; stop sends the last ones, for a moment. A collector
// that is away costs traces and lines in log, nothing else. With an empty endpoint
// tracing stays off and costs nothing.
//
// The tracer provider is OpenTelemetry's global one, the only one that the
// instrumentation of gRPC, pgx and NATS headers finds. The variables of its SDK
// apply, save those about samplers.
func Tracing(ctx context.Context, service string, cfg *Settings, log *slog.Logger) (stop func(), err error) {
	endpoint := cfg.OTLPEndpoint
	if endpoint == "" {
		return func() {}, nil
	}
	if err := checkEndpoint(endpoint); err != nil {
		return nil, err
	}
	options := []otlptracegrpc.Option{otlptracegrpc.WithEndpointURL(endpoint.Reveal())}
	if !strings.Contains(endpoint.Reveal(), "://") {
		options = []otlptracegrpc.Option{otlptracegrpc.WithEndpoint(endpoint.Reveal()), otlptracegrpc.WithInsecure()}
	}
	exporter, err := otlptracegrpc.New(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("open trace exporter: %w", err)
	}
	self, err := resource.Merge(resource.Default(), resource.NewSchemaless(attribute.String("service.name", service)))
	if err != nil {
		return nil, fmt.Errorf("describe trace resource: %w", err)
	}
	life := context.WithoutCancel(ctx)
	unsent := &Repeats{Log: log, Message: "traces are not sent"}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { unsent.Failed(life, err) }))
	sampler := trace.ParentBased(trace.TraceIDRatioBased(cfg.TraceShare))
	provider := trace.NewTracerProvider(trace.WithBatcher(exporter), trace.WithResource(self), trace.WithSampler(sampler))
	otel.SetTracerProvider(provider)
	otel.SetTextMapPropagator(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}))
	tracing.Store(true)
	return func() {
		bounded, cancel := context.WithTimeout(life, flushTimeout)
		defer cancel()
		if err := provider.Shutdown(bounded); err != nil {
			unsent.Failed(life, err)
		}
	}, nil
}
