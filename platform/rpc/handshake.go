package rpc

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/starling-chat/starling/platform/certs"
	"github.com/starling-chat/starling/platform/obs"
)

// clientTLS is TLS towards servers: each handshake takes the certificates as they are then, and a failed one is logged, because
// callers learn only that a server is unavailable.
type clientTLS struct {
	source *certs.Source
	failed *obs.Repeats
}

func newClientTLS(source *certs.Source, log *slog.Logger) credentials.TransportCredentials {
	return &clientTLS{source: source, failed: &obs.Repeats{Log: log, Message: "no TLS with a service"}}
}

// ClientHandshake implements credentials.TransportCredentials.
func (c *clientTLS) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	config, err := c.source.Client(ctx)
	if err != nil {
		return nil, nil, err
	}
	conn, info, err := credentials.NewTLS(config).ClientHandshake(ctx, authority, raw)
	if err != nil {
		c.failed.Failed(ctx, err, slog.String("service", authority))
		return nil, nil, err
	}
	c.failed.Over(ctx)
	return conn, info, nil
}

// ServerHandshake implements credentials.TransportCredentials.
func (c *clientTLS) ServerHandshake(net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("these credentials are a client's")
}

// Info implements credentials.TransportCredentials.
func (c *clientTLS) Info() credentials.ProtocolInfo { return credentials.NewTLS(nil).Info() }

// Clone implements credentials.TransportCredentials; there is nothing to change in it.
func (c *clientTLS) Clone() credentials.TransportCredentials { return c }

// OverrideServerName implements credentials.TransportCredentials.
func (c *clientTLS) OverrideServerName(string) error {
	return errors.New("the server's name comes from its address")
}

// serverTLS logs handshakes that failed, one a while: whoever reaches the port can cause them.
type serverTLS struct {
	credentials.TransportCredentials

	log    *slog.Logger
	sample *obs.Sampler
}

const handshakeInterval = 10 * time.Second

func newServerTLS(config *tls.Config, log *slog.Logger) credentials.TransportCredentials {
	return &serverTLS{TransportCredentials: credentials.NewTLS(config), log: log, sample: obs.NewSampler(handshakeInterval)}
}

// ServerHandshake implements credentials.TransportCredentials.
func (s *serverTLS) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := s.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		if skipped, ok := s.sample.Take(time.Now()); ok {
			s.log.Warn("no TLS with a caller", slog.Any("error", err), slog.String("address", raw.RemoteAddr().String()), slog.Int("skipped", skipped))
		}
	}
	return conn, info, err
}

// Clone implements credentials.TransportCredentials.
func (s *serverTLS) Clone() credentials.TransportCredentials { return s }
