package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/starling-chat/starling/proto/fault"
)

// tokenKey is the metadata key of the token that a caller shows.
const tokenKey = "x-starling-service"

func (s *Server) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (resp any, err error) {
	err = s.guard(ctx, info.FullMethod, func(ctx context.Context) error {
		resp, err = handle(ctx, req)
		return err
	})
	return resp, err
}

func (s *Server) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	return s.guard(stream.Context(), info.FullMethod, func(ctx context.Context) error {
		return handle(srv, &authorizedStream{stream, ctx})
	})
}

// authorizedStream has the context of a caller that was let in.
type authorizedStream struct {
	grpc.ServerStream

	ctx context.Context
}

// Context implements grpc.ServerStream.
func (s *authorizedStream) Context() context.Context { return s.ctx }

// guard lets only those in who may call the method, and not too many calls at once, turns errors and panics into statuses and counts.
func (s *Server) guard(ctx context.Context, method string, handle func(context.Context) error) (err error) {
	start := time.Now()
	defer func() {
		if p := recover(); p != nil {
			err = s.status(ctx, method, fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
		}
		s.metrics.observe(method, status.Code(err).String(), time.Since(start))
	}()
	if isHealth(method) { // also without a token, and when there is too much to do
		return s.status(ctx, method, handle(ctx))
	}
	ctx, err = s.access.authorize(ctx, method)
	if err != nil {
		return fault.ToStatus(err)
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		return fault.ToStatus(fault.Retry(fault.Unavailable, "Service is overloaded", overloadPause))
	}
	return s.status(ctx, method, handle(ctx))
}

func isHealth(method string) bool {
	return strings.HasPrefix(method, "/"+healthpb.Health_ServiceDesc.ServiceName+"/")
}

// status hides what is no fault and logs it under an id that the caller gets.
func (s *Server) status(ctx context.Context, method string, err error) error {
	if err == nil {
		return nil
	}
	var already *fault.Error
	if _, fromCall := status.FromError(err); fromCall && !errors.As(err, &already) {
		err = fault.FromStatus(err) // passed on from another service
	}
	return fault.ToStatus(fault.Log(ctx, s.cfg.Log, err, slog.String("method", method)))
}

// metrics is nil without a registry.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newMetrics(registry prometheus.Registerer) *metrics {
	if registry == nil {
		return nil
	}
	return &metrics{
		requests: registered(registry, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "starling_rpc_requests_total", Help: "gRPC calls answered, by method and status code.",
		}, []string{"method", "code"})),
		seconds: registered(registry, prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "starling_rpc_seconds", Help: "Time to answer gRPC calls, by method.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14), // 0.5 ms to 4 s
		}, []string{"method"})),
	}
}

// begin has the series of a server's methods start at 0, those of the results that are watched: the first increment of one that appears
// with it is no increase.
func (m *metrics) begin(server *grpc.Server) {
	if m == nil {
		return
	}
	for service, info := range server.GetServiceInfo() {
		for _, method := range info.Methods {
			name := "/" + service + "/" + method.Name
			if isHealth(name) {
				continue
			}
			m.seconds.WithLabelValues(name)
			for _, code := range []codes.Code{codes.OK, codes.Unavailable, codes.DeadlineExceeded, codes.Internal} {
				m.requests.WithLabelValues(name, code.String())
			}
		}
	}
}

// registered returns the collector of the same name where another server of the process has registered it.
func registered[C prometheus.Collector](registry prometheus.Registerer, c C) C {
	err := registry.Register(c)
	if before, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if same, ok := before.ExistingCollector.(C); ok {
			return same
		}
	}
	return c
}

func (m *metrics) observe(method, code string, took time.Duration) {
	if m == nil {
		return
	}
	m.requests.WithLabelValues(method, code).Inc()
	m.seconds.WithLabelValues(method).Observe(took.Seconds())
}
