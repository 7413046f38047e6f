package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"

	"github.com/starling-chat/starling/platform/certs"
	"github.com/starling-chat/starling/platform/settings"
)

// serviceConfig spreads calls over all addresses and repeats those that a server
// refused or lost as UNAVAILABLE: at once for connections, up to four attempts, but
// hardly any while most calls fail. Methods are therefore safe to repeat.
const serviceConfig = `{
	"loadBalancingConfig": [{"` + balancerName + `": {}}],
	"retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1},
	"methodConfig": [{"name": [{}], "retryPolicy": {
		"maxAttempts": 4, "initialBackoff": "0.05s", "maxBackoff": "1s", "backoffMultiplier": 3,
		"retryableStatusCodes": ["UNAVAILABLE"]}}]
}`

const (
	clientKeepaliveTime = 10 * time.Second
	connectBackoffMax   = 2 * time.Second // back soon after an outage
	connectTimeout      = 3 * time.Second
)

// ClientConfig says how to talk to a server.
type ClientConfig struct {
	Token settings.Secret // sent with every call where set
	TLS   *certs.Source   // nil: plain text
	Log   *slog.Logger    // failed calls at debug; nil discards
	// Dialer connects instead of the network, for servers inside the process.
	Dialer func(ctx context.Context) (net.Conn, error)

	lookUp func(ctx context.Context, host string) ([]string, error) // of tests, instead of the system's
}

// Dial returns a connection to "host:port", all of whose addresses are used in
// turn, to a list "host:port,host:port", used in turn too, or to a target with a
// gRPC scheme. It connects when needed, so services
// start in any order; while the server is away calls fail soon as UNAVAILABLE. The
// caller closes it.
func Dial(target string, cfg ClientConfig) (*grpc.ClientConn, error) {
	registerBalancer()
	transport := insecure.NewCredentials()
	if cfg.TLS != nil {
		transport = newClientTLS(cfg.TLS, cfg.Log)
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithDisableServiceConfig(), // DNS may not change ours
		grpc.WithStatsHandler(otelgrpc.NewClientHandler()),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: clientKeepaliveTime, Timeout: keepaliveTimeout, PermitWithoutStream: true}),
		grpc.WithConnectParams(grpc.ConnectParams{
			MinConnectTimeout: connectTimeout,
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: connectBackoffMax},
		}),
	}
	if cfg.Token != "" {
		options = append(options, grpc.WithPerRPCCredentials(token{cfg.Token, cfg.TLS != nil}))
	}
	if cfg.Log != nil {
		options = append(options, grpc.WithUnaryInterceptor(logFailures(cfg.Log)))
	}
	switch {
	case cfg.Dialer != nil:
		target = "passthrough:///" + target
		options = append(options, grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return cfg.Dialer(ctx) }))
	case strings.Contains(target, "://"):
	case strings.Contains(target, ","):
		// Each name is looked up when it is connected to; one address of it is used.
		options = append(options, grpc.WithResolvers(list(target)))
		target = listScheme + ":///" + target
	default:
		target = scheme + ":///" + target
	}
	options = append(options, grpc.WithResolvers(&names{lookUp: cfg.lookUp}))
	conn, err := grpc.NewClient(target, options...)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", target, err)
	}
	return conn, nil
}

const listScheme = "list"

// CheckTarget tells what is wrong with the addresses of a service, as Dial takes them.
func CheckTarget(target string) error {
	if strings.Contains(target, "://") {
		return nil
	}
	given := false
	for one := range strings.SplitSeq(target, ",") {
		if one = strings.TrimSpace(one); one == "" {
			continue
		}
		given = true
		if host, port, err := net.SplitHostPort(one); err != nil || host == "" || port == "" {
			return fmt.Errorf("%q is not host:port", one)
		}
	}
	if !given {
		return errors.New("it must not be empty")
	}
	return nil
}

func list(targets string) *manual.Resolver {
	r := manual.NewBuilderWithScheme(listScheme)
	var state resolver.State
	for target := range strings.SplitSeq(targets, ",") {
		if target = strings.TrimSpace(target); target != "" {
			// By TLS each is asked for a certificate of its own name, not of the list's.
			state.Addresses = append(state.Addresses, resolver.Address{Addr: target, ServerName: target})
		}
	}
	r.InitialState(state)
	return r
}

// token sends the token of this service, in plain text only where there is no TLS at all.
type token struct {
	secret settings.Secret
	tls    bool
}

func (t token) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{tokenKey: t.secret.Reveal()}, nil
}

func (t token) RequireTransportSecurity() bool { return t.tls }

func logFailures(log *slog.Logger) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
		err := invoke(ctx, method, req, reply, conn, options...)
		if err != nil {
			log.LogAttrs(ctx, slog.LevelDebug, "rpc call failed", slog.String("method", method), slog.String("code", status.Code(err).String()))
		}
		return err
	}
}
