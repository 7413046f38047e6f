package rpc

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// TestReadiness: the health service and Err say the same, what the first failing check says; a check that hangs counts as failed.
func TestReadiness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := NewServer(ServerConfig{})
		prepared := make(chan struct{})
		var reason atomic.Value // string; "" = nothing is wrong
		reason.Store("")
		r := NewReadiness(server, slog.New(slog.DiscardHandler), Done(prepared, "not prepared"), func(ctx context.Context) error {
			switch text := reason.Load(); text {
			case "":
				return nil
			case "hang":
				<-ctx.Done()
				return ctx.Err()
			default:
				return fmt.Errorf("%v", text)
			}
		})
		serving := func() bool {
			answer, err := server.health.Check(t.Context(), &healthpb.HealthCheckRequest{})
			return err == nil && answer.GetStatus() == healthpb.HealthCheckResponse_SERVING
		}
		want := func(when, text string) {
			t.Helper()
			synctest.Wait()
			got := ""
			if err := r.Err(); err != nil {
				got = err.Error()
			}
			if got != text || serving() != (text == "") {
				t.Errorf("%s: Err = %q and serving %v, want %q and %v", when, got, serving(), text, text == "")
			}
		}
		want("before Run", "starting")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		want("before the preparation", "not prepared")
		close(prepared)
		time.Sleep(readinessPause)
		want("prepared", "")
		reason.Store("NATS is away")
		time.Sleep(readinessPause)
		want("without NATS", "NATS is away")
		reason.Store("hang")
		time.Sleep(readinessPause + readinessWithin)
		want("while a check hangs", context.DeadlineExceeded.Error())
		reason.Store("")
		time.Sleep(readinessPause + readinessWithin)
		want("again", "")
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
		want("after the end", context.Canceled.Error())
	})
}

// TestServerWithoutAddress: a service may be told to answer no gRPC.
func TestServerWithoutAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		if err := NewServer(ServerConfig{}).Run(ctx); err != nil || time.Since(began) != time.Minute {
			t.Errorf("Run without an address = %v after %v, want nil at the end of its context", err, time.Since(began))
		}
	})
}
