package rpc

import (
	"errors"
	"log/slog"
	"net"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/starling-chat/starling/platform/settings"
)

// Settings says where a service answers gRPC, and what services show each other. The Config of a service embeds it with the
// variable that differs by service:
//
//	RPC rpc.Settings `embed:"" set:"grpc_listen=:7002"`
type Settings struct {
	Listen string          `name:"grpc-listen" env:"GRPC_LISTEN" default:"${grpc_listen}" help:"Address for gRPC of other services, host:port; empty turns it off."`
	Token  settings.Secret `name:"service-token" env:"SERVICE_TOKEN" help:"Secret that services show each other over gRPC; empty shows and asks for none, and serves this machine only."`

	// Listener serves instead of Listen where set.
	Listener net.Listener `kong:"-"`
}

// Validate refuses to serve other machines without a token: everyone who reaches the port could act as any user.
func (s *Settings) Validate() error {
	if s.Listen == "" {
		return nil
	}
	host, _, err := net.SplitHostPort(s.Listen)
	switch ip := net.ParseIP(host); {
	case err != nil:
		return errors.New("GRPC_LISTEN must be host:port")
	case s.Token == "" && host != "" && host != "localhost" && (ip == nil || !ip.IsLoopback()):
		return errors.New("SERVICE_TOKEN must be set where GRPC_LISTEN is not a loopback address")
	}
	return nil
}

// address is Listen; without a token it is this machine's only.
func (s *Settings) address() string {
	if s.Token == "" && strings.HasPrefix(s.Listen, ":") {
		return "127.0.0.1" + s.Listen
	}
	return s.Listen
}

// Server returns what NewServer takes.
func (s *Settings) Server(registry prometheus.Registerer, log *slog.Logger) ServerConfig {
	if s.Token == "" && s.address() != s.Listen && s.Listener == nil {
		log.Warn("without SERVICE_TOKEN gRPC serves this machine only", slog.String("address", s.address()))
	}
	return ServerConfig{Addr: s.address(), Listener: s.Listener, Token: s.Token, Registry: registry, Log: log}
}

// Client returns what Dial takes.
func (s *Settings) Client(log *slog.Logger) ClientConfig {
	return ClientConfig{Token: s.Token, Log: log}
}
