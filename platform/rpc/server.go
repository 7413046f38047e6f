package rpc

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"

	"github.com/starling-chat/starling/platform/settings"
)

const (
	// Connections end after a while, so that clients look replicas up again.
	maxConnectionAge      = 5 * time.Minute
	maxConnectionAgeGrace = 30 * time.Second
	keepaliveTime         = 20 * time.Second
	keepaliveTimeout      = 5 * time.Second
	keepaliveMinTime      = 5 * time.Second // clients ping every clientKeepaliveTime
	maxConcurrentStreams  = 1000            // per connection
	maxCalls              = 4096            // of all connections together
	overloadPause         = 500 * time.Millisecond
	stopTimeout           = 5 * time.Second
)

// ServerConfig says where and for whom a server listens.
type ServerConfig struct {
	Addr     string       // "host:port"; "" serves nobody
	Listener net.Listener // used instead of Addr where given
	Log      *slog.Logger
	Registry prometheus.Registerer // of starling_rpc_*; nil for none
	TLS      *tls.Config           // nil: plain text
	Token    settings.Secret       // required of callers, but for health checks; "" lets all in
	// OtherToken is taken like Token, while one replaces the other; "" = none.
	OtherToken settings.Secret
	Callers    []Caller // known by tokens of their own, each of which may call what package access says; instead of Token
	MaxCalls   int      // served at once, but for health checks; beyond, UNAVAILABLE; 0 means 4096

	wrong error // why Callers could not be read; then nobody is served
}

// Server is a gRPC server with the standard health service, which says
// NOT_SERVING until SetReady(true).
type Server struct {
	cfg     ServerConfig
	grpc    *grpc.Server
	health  *health.Server
	metrics *metrics
	access  *authorizer
	slots   chan struct{} // of calls being served

	mu       sync.Mutex
	listener net.Listener // guarded by mu
}

// NewServer returns a server; register services on GRPC, then Run it.
func NewServer(cfg ServerConfig) *Server {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		cfg: cfg, health: health.NewServer(), metrics: newMetrics(cfg.Registry), access: newAuthorizer(cfg), listener: cfg.Listener,
		slots: make(chan struct{}, cmp.Or(max(cfg.MaxCalls, 0), maxCalls)),
	}
	options := []grpc.ServerOption{
		grpc.StatsHandler(otelgrpc.NewServerHandler()),
		grpc.UnaryInterceptor(s.unary),
		grpc.StreamInterceptor(s.stream),
		grpc.MaxConcurrentStreams(maxConcurrentStreams),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionAge: maxConnectionAge, MaxConnectionAgeGrace: maxConnectionAgeGrace,
			Time: keepaliveTime, Timeout: keepaliveTimeout,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: keepaliveMinTime, PermitWithoutStream: true}),
	}
	if cfg.TLS != nil {
		options = append(options, grpc.Creds(newServerTLS(cfg.TLS, cfg.Log)))
	}
	s.grpc = grpc.NewServer(options...)
	healthpb.RegisterHealthServer(s.grpc, s.health)
	s.SetReady(false)
	return s
}

// GRPC is where services are registered, before Run.
func (s *Server) GRPC() *grpc.Server { return s.grpc }

// SetReady tells health checks whether calls are welcome. It has no effect once Run's context has ended.
func (s *Server) SetReady(ready bool) {
	status := healthpb.HealthCheckResponse_NOT_SERVING
	if ready {
		status = healthpb.HealthCheckResponse_SERVING
	}
	s.health.SetServingStatus("", status)
}

// Addr returns the address listened on; before Run the configured one.
func (s *Server) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener == nil {
		return s.cfg.Addr
	}
	return s.listener.Addr().String()
}

// Run serves until ctx ends. Then it says NOT_SERVING, takes no more calls, lets
// the running ones finish for up to 5 s and cancels the rest.
func (s *Server) Run(ctx context.Context) error {
	s.metrics.begin(s.grpc)
	if s.cfg.Listener == nil && s.cfg.Addr == "" {
		<-ctx.Done()
		return nil
	}
	listener, err := s.listen(ctx)
	if err != nil {
		return err
	}
	s.cfg.Log.LogAttrs(ctx, slog.LevelInfo, "grpc listening", slog.String("addr", listener.Addr().String()))
	served := make(chan error, 1)
	go func() { served <- s.grpc.Serve(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve gRPC: %w", err)
	case <-ctx.Done():
	}
	s.health.Shutdown()
	late := time.AfterFunc(stopTimeout, s.grpc.Stop)
	defer late.Stop()
	s.grpc.GracefulStop()
	<-served //nolint:errcheck // Serve ends because it was stopped
	return nil
}

// Listen takes the port before Run, so that one in use is found before anything is done. Nobody is answered until Run.
func (s *Server) Listen(ctx context.Context) error {
	if s.cfg.Listener == nil && s.cfg.Addr == "" {
		return nil
	}
	_, err := s.listen(ctx)
	return err
}

func (s *Server) listen(ctx context.Context) (net.Listener, error) {
	if s.cfg.wrong != nil {
		return nil, &settings.Wrong{Setting: "SERVICE_TOKENS", Err: s.cfg.wrong}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener == nil {
		listener, err := settings.Listen(ctx, "GRPC_LISTEN", s.cfg.Addr)
		if err != nil {
			return nil, err
		}
		s.listener = listener
	}
	return s.listener, nil
}
