package gateway_test

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/starling-chat/starling/gateway"
	"github.com/starling-chat/starling/platform/bus/bustest"
	"github.com/starling-chat/starling/platform/porttest"
	"github.com/starling-chat/starling/platform/rpc"
	"github.com/starling-chat/starling/platform/settings"
	"github.com/starling-chat/starling/proto/caller"
	clusterv1 "github.com/starling-chat/starling/proto/gen/starling/cluster/v1"
)

// TestClusterByGRPC covers what only a whole gateway has: the listener for other services, and who may call it. The services are
// away.
func TestClusterByGRPC(t *testing.T) {
	front, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := porttest.Reserve(t)
	var cfg gateway.Config
	if err := settings.Parse("gateway", "", &cfg, []string{
		"--grpc-listen=" + address, "--admin-listen=", "--drain-window=0s",
		"--service-token=what this gateway shows", "--service-tokens=presence-service=token of presence-service,orders=token of a backend",
		"--nats-url=" + bustest.Server(t).URL(),
	}); err != nil {
		t.Fatal(err)
	}
	cfg.Listener = front
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- gateway.Run(ctx, cfg, slog.New(slog.DiscardHandler)) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	}()

	md, err := caller.Metadata(nil, []string{caller.ScopeEmit}, "")
	if err != nil {
		t.Fatal(err)
	}
	for token, want := range map[settings.Secret]codes.Code{
		"token of a backend": codes.OK, "token of presence-service": codes.PermissionDenied,
		"what this gateway shows": codes.Unauthenticated, "": codes.Unauthenticated,
	} {
		conn, err := rpc.Dial(address, rpc.ClientConfig{Token: token})
		if err != nil {
			t.Fatal(err)
		}
		var got codes.Code
		for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			_, err = clusterv1.NewClusterServiceClient(conn).Emit(metadata.NewOutgoingContext(t.Context(), md),
				&clusterv1.EmitRequest{All: true, Event: "e"})
			if got = status.Code(err); got != codes.Unavailable {
				break
			}
		}
		if got != want {
			t.Errorf("Emit with token %q = %v, want %v", token.Reveal(), err, want)
		}
		_ = conn.Close()
	}
}
