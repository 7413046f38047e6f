package rpc

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/starling-chat/starling/proto/fault"
)

// pair runs two servers of which the first hangs while hangs is true, and gives a target with both.
func pair(t *testing.T, hangs *atomic.Bool, hung, back, answered *atomic.Int32) (target string) {
	t.Helper()
	ended := make(chan struct{})
	hang := func(ctx context.Context) error {
		if !hangs.Load() {
			answered.Add(1)
			if hung.Load() > 0 {
				back.Add(1)
			}
			return nil
		}
		hung.Add(1)
		<-ended // also when the caller has gone: a stopped process notices nothing
		return ctx.Err()
	}
	answer := func(context.Context) error { answered.Add(1); return nil }
	for _, call := range []func(context.Context) error{hang, answer} {
		listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		serve(t, ServerConfig{Listener: listener}, call)
		target += listener.Addr().String() + ","
	}
	t.Cleanup(func() { close(ended) }) // before the servers stop
	return target
}

func connected(t *testing.T, conn *grpc.ClientConn, answered *atomic.Int32) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); answered.Load() < 6; { // by then both are connected
		if time.Now().After(end) {
			t.Fatal("not connected")
		}
		if err := invoke(t, conn); err != nil {
			t.Fatalf("call of a healthy replica = %v, want nil", err)
		}
	}
}

// TestHangingReplica: calls that find the hanging replica are answered by the other one, later calls do not find it, and when
// it is back it is used again.
func TestHangingReplica(t *testing.T) {
	t.Parallel()
	var hangs atomic.Bool
	var hung, back, answered atomic.Int32
	conn := dial(t, pair(t, &hangs, &hung, &back, &answered), ClientConfig{})
	connected(t, conn, &answered)
	hangs.Store(true)
	client := Hedged(conn)
	began := time.Now()
	for range 40 {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		err := client.Invoke(ctx, method, new(emptypb.Empty), new(emptypb.Empty))
		cancel()
		if err != nil {
			t.Fatalf("call while one of two replicas hangs = %v, want nil", err)
		}
	}
	// One finds it; the others are trials, of which a slow machine has time for several.
	if n, most := int(hung.Load()), 1+int(time.Since(began)/retryPause); n < 1 || n > most {
		t.Errorf("%d of 40 calls reached the hanging replica, want 1 to %d", n, most)
	}
	hangs.Store(false)
	for end := time.Now().Add(30 * time.Second); back.Load() < 5; time.Sleep(50 * time.Millisecond) {
		if err := invoke(t, conn); err != nil {
			t.Fatalf("call after the hang = %v, want nil", err)
		}
		if time.Now().After(end) {
			t.Fatalf("the replica that hung answered %d calls, want it in use again", back.Load())
		}
	}
}

// TestSickReplica: a replica that refuses everything as unavailable, as one without its database, gets hardly any calls, and so
// repeats are not used up; when it is well it is used again.
func TestSickReplica(t *testing.T) {
	t.Parallel()
	var sick atomic.Bool
	var refused, well atomic.Int32
	target := ""
	for _, call := range []func(context.Context) error{
		func(context.Context) error {
			if sick.Load() {
				refused.Add(1)
				return fault.New(fault.Unavailable, "no database")
			}
			well.Add(1)
			return nil
		},
		func(context.Context) error { return nil },
	} {
		listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		serve(t, ServerConfig{Listener: listener}, call)
		target += listener.Addr().String() + ","
	}
	conn := dial(t, target, ClientConfig{})
	connected(t, conn, &well)
	sick.Store(true)
	began := time.Now()
	for range 400 {
		if err := invoke(t, conn); err != nil {
			t.Fatalf("call while one of two replicas refuses = %v, want nil", err)
		}
	}
	// A few, and the trials, of which a slow machine has time for many.
	if n, most := int(refused.Load()), 20+int(time.Since(began)/trialPause); n < refusals || n > most {
		t.Errorf("the replica that refuses got %d of 400 calls, want %d to %d", n, refusals, most)
	}
	sick.Store(false)
	well.Store(0)
	for end := time.Now().Add(30 * time.Second); well.Load() < 5; time.Sleep(20 * time.Millisecond) {
		if err := invoke(t, conn); err != nil || time.Now().After(end) {
			t.Fatalf("after it is well: call = %v, the replica answered %d, want it in use again", err, well.Load())
		}
	}
}

// TestHedgeBudget: where every call is slow, second ones stop.
func TestHedgeBudget(t *testing.T) {
	t.Parallel()
	h := &hedged{}
	h.tokens.Store(2 * tenCalls)
	for n := range 3 {
		if got, want := h.spend(), n < 2; got != want {
			t.Errorf("second call %d of a budget of 2: %v, want %v", n+1, got, want)
		}
	}
	for range tenCalls {
		h.earn()
	}
	if !h.spend() || h.spend() {
		t.Error("ten answers in time earn something other than one token")
	}
}

// TestOverload: calls beyond the bound are refused at once, and health checks are not.
func TestOverload(t *testing.T) {
	t.Parallel()
	listener, client := inProcess()
	running, finish := make(chan struct{}, 2), make(chan struct{})
	serve(t, ServerConfig{Listener: listener, MaxCalls: 2}, func(context.Context) error { running <- struct{}{}; <-finish; return nil })
	conn := dial(t, "test", client)
	done := make(chan error, 2)
	for range 2 {
		go func() { done <- invoke(t, conn) }()
		<-running
	}
	if err := invoke(t, conn); status.Code(err) != codes.Unavailable {
		t.Errorf("third call of two = %v, want Unavailable", err)
	}
	if _, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
		t.Errorf("health check = %v, want nil", err)
	}
	close(finish)
	for range 2 {
		if err := <-done; err != nil {
			t.Errorf("call within the bound = %v, want nil", err)
		}
	}
	if err := invoke(t, conn); err != nil {
		t.Errorf("call when there is room again = %v, want nil", err)
	}
}
