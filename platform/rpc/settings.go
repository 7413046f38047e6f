package rpc

import (
	"log/slog"
	"net"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/starling-chat/starling/platform/settings"
)

// Settings says where a service answers gRPC, and what services show each other. The Config of a service embeds it with the
// variable that differs by service:
//
//	RPC rpc.Settings `embed:"" set:"grpc_listen=:7002"`
type Settings struct {
	Listen string          `name:"grpc-listen" env:"GRPC_LISTEN" default:"${grpc_listen}" help:"Address for gRPC of other services, host:port; empty turns it off."`
	Token  settings.Secret `name:"service-token" env:"SERVICE_TOKEN" help:"Secret that services show each other over gRPC; empty shows and asks for none."`

	// Listener serves instead of Listen where set.
	Listener net.Listener `kong:"-"`
}

// Server returns what NewServer takes.
func (s *Settings) Server(registry prometheus.Registerer, log *slog.Logger) ServerConfig {
	return ServerConfig{Addr: s.Listen, Listener: s.Listener, Token: s.Token, Registry: registry, Log: log}
}

// Client returns what Dial takes.
func (s *Settings) Client(log *slog.Logger) ClientConfig {
	return ClientConfig{Token: s.Token, Log: log}
}
