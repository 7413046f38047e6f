package rpc

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/starling-chat/starling/platform/porttest"
	"github.com/starling-chat/starling/platform/settings"
	"github.com/starling-chat/starling/proto/fault"
	"github.com/starling-chat/starling/proto/fault/faulttest"
)

const method = "/test.Service/Call"

// serve runs a server with the one method and returns how to stop it.
func serve(t *testing.T, cfg ServerConfig, call func(context.Context) error) (server *Server, stop func() error) {
	t.Helper()
	server = NewServer(cfg)
	server.GRPC().RegisterService(&grpc.ServiceDesc{
		ServiceName: "test.Service",
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Call", Handler: func(srv any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
			in := new(emptypb.Empty)
			if err := decode(in); err != nil {
				return nil, err
			}
			return intercept(ctx, in, &grpc.UnaryServerInfo{Server: srv, FullMethod: method},
				func(ctx context.Context, _ any) (any, error) { return new(emptypb.Empty), call(ctx) })
		}}},
	}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	stopped := false
	stop = func() error {
		cancel()
		if stopped {
			return nil
		}
		stopped = true
		return <-done
	}
	t.Cleanup(func() { _ = stop() })
	return server, stop
}

func dial(t *testing.T, target string, cfg ClientConfig) *grpc.ClientConn {
	t.Helper()
	conn, err := Dial(target, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func invoke(t *testing.T, conn *grpc.ClientConn) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	return conn.Invoke(ctx, method, new(emptypb.Empty), new(emptypb.Empty))
}

func inProcess() (net.Listener, ClientConfig) {
	listener := bufconn.Listen(1 << 16)
	return listener, ClientConfig{Dialer: listener.DialContext}
}

// counted is the sum of a counter's series.
func counted(t *testing.T, registry *prometheus.Registry, name string) (sum float64) {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			if family.GetName() == name {
				sum += metric.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// TestSeriesBegin: what will be counted is there from the start, at 0.
func TestSeriesBegin(t *testing.T) {
	registry := prometheus.NewRegistry()
	listener, client := inProcess()
	_, _ = serve(t, ServerConfig{Listener: listener, Registry: registry, Callers: []Caller{{"gateway", "the token of gateways"}}}, func(context.Context) error { return nil })
	// A health check is answered when Run has begun, and is not counted beforehand.
	if _, err := healthpb.NewHealthClient(dial(t, "test", client)).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"starling_rpc_requests_total", "starling_rpc_seconds", "starling_rpc_refusals_total"} {
		if n, err := testutil.GatherAndCount(registry, want); n < 2 || err != nil {
			t.Errorf("%s has %d series at the start, %v, want those that are known", want, n, err)
		}
	}
}

func TestErrorsBecomeFaults(t *testing.T) {
	for name, tc := range map[string]struct {
		call    func(context.Context) error
		code    codes.Code
		kind    fault.Kind
		message string
		logged  string
	}{
		"none":        {func(context.Context) error { return nil }, codes.OK, "", "", ""},
		"fault":       {func(context.Context) error { return fault.New(fault.NotFound, "no room") }, codes.NotFound, fault.NotFound, "no room", ""},
		"internal":    {func(context.Context) error { return errors.New("secret sql") }, codes.Internal, fault.Internal, "Internal error ", "secret sql"},
		"panic":       {func(context.Context) error { panic("secret state") }, codes.Internal, fault.Internal, "Internal error ", "secret state"},
		"passed on":   {func(context.Context) error { return fault.ToStatus(fault.New(fault.Forbidden, "no")) }, codes.PermissionDenied, fault.Forbidden, "no", ""},
		"no one left": {func(context.Context) error { return context.DeadlineExceeded }, codes.DeadlineExceeded, fault.Timeout, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var log faulttest.Log
			registry := prometheus.NewRegistry()
			listener, client := inProcess()
			_, stop := serve(t, ServerConfig{Listener: listener, Registry: registry, Log: log.Logger()}, tc.call)
			err := invoke(t, dial(t, "test", client))
			if err := stop(); err != nil {
				t.Errorf("Run = %v, want nil", err)
			}
			if status.Code(err) != tc.code || fault.KindOf(fault.FromStatus(err)) != tc.kind || !strings.Contains(status.Convert(err).Message(), tc.message) {
				t.Errorf("call = %v, want code %v, kind %q, message %q", err, tc.code, tc.kind, tc.message)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("call = %v, want the cause hidden", err)
			}
			if tc.logged == "" && strings.Contains(log.String(), fault.IDKey) || !strings.Contains(log.String(), tc.logged) {
				t.Errorf("log = %s, want %q in it", log.String(), tc.logged)
			}
			if tc.kind == fault.Internal {
				log.WantID(t, status.Convert(err).Message())
			}
			if n := counted(t, registry, "starling_rpc_requests_total"); n != 1 {
				t.Errorf("starling_rpc_requests_total counts %v, want 1", n)
			}
		})
	}
}

// TestTokenIsReplaced: callers with either token are let in while one replaces the other.
func TestTokenIsReplaced(t *testing.T) {
	listener, client := inProcess()
	s := Settings{Listen: "127.0.0.1:0", Token: "the token of before", Other: "the token that comes"}
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	s.Listener = listener
	_, _ = serve(t, s.Server(nil, slog.New(slog.DiscardHandler)), func(context.Context) error { return nil })
	for secret, want := range map[settings.Secret]codes.Code{s.Token: codes.OK, s.Other: codes.OK, "a third token, also long": codes.Unauthenticated, "": codes.Unauthenticated} {
		client := client // a copy
		client.Token = secret
		if got := status.Code(invoke(t, dial(t, "test", client))); got != want {
			t.Errorf("call with token %q = %v, want %v", secret.Reveal(), got, want)
		}
	}
}

func TestToken(t *testing.T) {
	listener, client := inProcess()
	var calls atomic.Int32
	server, _ := serve(t, ServerConfig{Listener: listener, Token: "right"}, func(context.Context) error { calls.Add(1); return nil })
	for secret, want := range map[settings.Secret]codes.Code{"right": codes.OK, "wrong": codes.Unauthenticated, "": codes.Unauthenticated} {
		client := client // a copy
		client.Token = secret
		if got := status.Code(invoke(t, dial(t, "test", client))); got != want {
			t.Errorf("call with token %q = %v, want %v", secret.Reveal(), got, want)
		}
	}
	if calls.Load() != 1 {
		t.Errorf("handler ran %d times, want once", calls.Load())
	}
	health := healthpb.NewHealthClient(dial(t, "test", client))
	for _, ready := range []bool{false, true} {
		server.SetReady(ready)
		resp, err := health.Check(t.Context(), &healthpb.HealthCheckRequest{})
		if err != nil || (resp.Status == healthpb.HealthCheckResponse_SERVING) != ready {
			t.Errorf("health without token = %v, %v, want ready %v", resp, err, ready)
		}
	}
}

// TestUnavailableIsRepeated covers the retry policy, which a typo would silently switch off.
func TestUnavailableIsRepeated(t *testing.T) {
	listener, client := inProcess()
	var calls atomic.Int32
	serve(t, ServerConfig{Listener: listener}, func(context.Context) error {
		if calls.Add(1) < 3 {
			return fault.New(fault.Unavailable, "starting")
		}
		return nil
	})
	if err := invoke(t, dial(t, "test", client)); err != nil || calls.Load() != 3 {
		t.Errorf("call = %v after %d attempts, want nil after 3", err, calls.Load())
	}
}

// TestRestart stops a server with a call running: the call ends well, later ones
// fail at once, and succeed when a server is back.
func TestRestart(t *testing.T) {
	running := make(chan struct{}, 1)
	finish := make(chan struct{})
	call := func(context.Context) error { running <- struct{}{}; <-finish; return nil }
	addr := porttest.Reserve(t)
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	_, stop := serve(t, ServerConfig{Listener: listener}, call)
	conn := dial(t, addr, ClientConfig{Log: slog.New(slog.DiscardHandler)})
	first := make(chan error)
	go func() { first <- invoke(t, conn) }()
	<-running
	stopped := make(chan error)
	go func() { stopped <- stop() }()
	time.AfterFunc(50*time.Millisecond, func() { close(finish) })
	if err := <-first; err != nil {
		t.Errorf("call during the stop = %v, want nil", err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
	if err := invoke(t, conn); status.Code(err) != codes.Unavailable {
		t.Errorf("call without a server = %v, want Unavailable", err)
	}
	serve(t, ServerConfig{Addr: addr}, func(context.Context) error { return nil })
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if err = invoke(t, conn); err == nil || time.Now().After(end) {
			break
		}
	}
	if err != nil {
		t.Errorf("call after the restart = %v, want nil", err)
	}
}

// TestList calls two servers by a list of their addresses, and one of them when the other is gone.
func TestList(t *testing.T) {
	var calls [2]atomic.Int32
	var addrs []string
	var stops []func() error
	for i := range calls {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_, stop := serve(t, ServerConfig{Listener: listener}, func(context.Context) error { calls[i].Add(1); return nil })
		addrs, stops = append(addrs, listener.Addr().String()), append(stops, stop)
	}
	conn := dial(t, strings.Join(addrs, ", "), ClientConfig{})
	for end := time.Now().Add(30 * time.Second); calls[0].Load() == 0 || calls[1].Load() == 0; {
		if err := invoke(t, conn); err != nil || time.Now().After(end) {
			t.Fatalf("call = %v; %d and %d calls, want both servers called", err, calls[0].Load(), calls[1].Load())
		}
	}
	if err := stops[0](); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
	for range 10 {
		if err := invoke(t, conn); err != nil {
			t.Errorf("call with one server gone = %v, want nil", err)
		}
	}
}

// TestPortInUse: whoever runs two of a kind on one machine is told which setting collides, also where it has its default.
func TestPortInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	err = NewServer(ServerConfig{Addr: taken.Addr().String()}).Listen(t.Context())
	if wrong, ok := errors.AsType[*settings.Wrong](err); !ok || wrong.Setting != "GRPC_LISTEN" {
		t.Errorf("Listen on a port in use = %v, want GRPC_LISTEN named", err)
	}
}

// TestNoTokenNoOthers: without a token nobody but this machine is served.
func TestNoTokenNoOthers(t *testing.T) {
	for listen, want := range map[string]string{":7001": "127.0.0.1:7001", "127.0.0.1:7001": "127.0.0.1:7001", "localhost:7001": "localhost:7001", "[::1]:7001": "[::1]:7001", "": ""} {
		s := Settings{Listen: listen}
		if err := s.Validate(); err != nil || s.Server(nil, slog.New(slog.DiscardHandler)).Addr != want {
			t.Errorf("without a token on %q: %v, %q, want %q", listen, err, s.Server(nil, slog.New(slog.DiscardHandler)).Addr, want)
		}
	}
	for _, listen := range []string{"0.0.0.0:7001", "[::]:7001", "192.0.2.1:7001", "service.example:7001"} {
		if err := (&Settings{Listen: listen}).Validate(); err == nil || !strings.Contains(err.Error(), "SERVICE_TOKEN") {
			t.Errorf("without a token on %q: %v, want it refused", listen, err)
		}
		s := Settings{Listen: listen, Token: "a token between services"}
		if err := s.Validate(); err != nil || s.Server(nil, slog.New(slog.DiscardHandler)).Addr != listen {
			t.Errorf("with a token on %q: %v, want it served there", listen, err)
		}
	}
}
