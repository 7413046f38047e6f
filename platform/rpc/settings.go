package rpc

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/starling-chat/starling/platform/certs"
	"github.com/starling-chat/starling/platform/settings"
)

// Settings says where a service answers gRPC, and what services show each other. The Config of a service embeds it with the
// variable that differs by service:
//
//	RPC rpc.Settings `embed:"" set:"grpc_listen=:7002"`
type Settings struct {
	Listen  string          `name:"grpc-listen" env:"GRPC_LISTEN" default:"${grpc_listen}" help:"Address for gRPC of other services, host:port; empty turns it off."`
	Token   settings.Secret `name:"service-token" env:"SERVICE_TOKEN" help:"Token that this service shows others over gRPC, and asks of all of them unless SERVICE_TOKENS is set; where both are empty, gRPC serves this machine only."`
	Other   settings.Secret `name:"service-token-other" env:"SERVICE_TOKEN_OTHER" help:"A second SERVICE_TOKEN, which is taken like the first and shown to nobody, while one replaces the other."`
	Callers settings.Secret `name:"service-tokens" env:"SERVICE_TOKENS" help:"Who may call this service over gRPC, as name=token, separated by commas: gateway, presence-service, or names of your own for other backends. Each may call what is its own only."`

	Cert        string `name:"grpc-tls-cert" env:"GRPC_TLS_CERT" help:"File with the certificate (PEM) that this service shows over gRPC; empty serves without TLS."`
	Key         string `name:"grpc-tls-key" env:"GRPC_TLS_KEY" help:"File with the key (PEM) of that certificate."`
	CA          string `name:"grpc-tls-ca" env:"GRPC_TLS_CA" help:"File with the authorities (PEM) that sign the certificates of the services; empty calls them without TLS."`
	ClientCerts bool   `name:"grpc-tls-client-certs" env:"GRPC_TLS_CLIENT_CERTS" help:"Answer gRPC only to callers that show a certificate of those authorities."`

	// Listener serves instead of Listen where set.
	Listener net.Listener `kong:"-"`
}

const tlsSettings = "GRPC_TLS_"

// Validate refuses to serve other machines without a token: everyone who reaches the port could act as any user.
func (s *Settings) Validate() error {
	var faults settings.Faults
	faults.If(s.ClientCerts && (s.Cert == "" || s.CA == ""), "GRPC_TLS_CLIENT_CERTS needs GRPC_TLS_CERT, GRPC_TLS_KEY and GRPC_TLS_CA")
	_, err := parseCallers(s.Callers)
	faults.In("SERVICE_TOKENS", err)
	return errors.Join(s.files().Check(tlsSettings), faults.Err(), s.checkListen())
}

func (s *Settings) checkListen() error {
	if s.Listen == "" {
		return nil
	}
	host, _, err := net.SplitHostPort(s.Listen)
	switch {
	case err != nil:
		return errors.New("GRPC_LISTEN must be host:port")
	case s.Callers != "" || loopback(host) || s.Token == "" && host == "":
	case s.Token == "":
		return errors.New("SERVICE_TOKEN or SERVICE_TOKENS must be set where GRPC_LISTEN is not a loopback address")
	case len(s.Token) < minToken || s.Other != "" && len(s.Other) < minToken:
		return fmt.Errorf("SERVICE_TOKEN and SERVICE_TOKEN_OTHER must have %d bytes or more where GRPC_LISTEN is not a loopback address", minToken)
	}
	return nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// address is Listen; without a token it is this machine's only.
func (s *Settings) address() string {
	if s.Token == "" && s.Callers == "" && strings.HasPrefix(s.Listen, ":") {
		return "127.0.0.1" + s.Listen
	}
	return s.Listen
}

func (s *Settings) files() certs.Files { return certs.Files{Cert: s.Cert, Key: s.Key, CA: s.CA} }

// Server returns what NewServer takes.
func (s *Settings) Server(registry prometheus.Registerer, log *slog.Logger) ServerConfig {
	s.warn(log)
	cfg := ServerConfig{Addr: s.address(), Listener: s.Listener, Token: s.Token, OtherToken: s.Other, Registry: registry, Log: log}
	cfg.Callers, cfg.wrong = parseCallers(s.Callers) // Validate has told
	if s.Cert != "" {
		cfg.TLS = certs.NewSource(s.files(), tlsSettings, log).Server(s.ClientCerts)
	}
	return cfg
}

func (s *Settings) warn(log *slog.Logger) {
	host, _, err := net.SplitHostPort(s.Listen)
	switch {
	case err != nil || s.Callers != "":
	case s.Token == "":
		log.Warn("without SERVICE_TOKEN gRPC serves this machine only, and everyone on it", slog.String("address", s.address()))
	case !loopback(host) && s.Listener == nil:
		log.Warn("one SERVICE_TOKEN opens all services to who knows it, SERVICE_TOKENS gives each caller its own", slog.String("address", s.Listen))
	}
}

// Client returns what Dial takes.
func (s *Settings) Client(log *slog.Logger) ClientConfig {
	cfg := ClientConfig{Token: s.Token, Log: log}
	if s.CA != "" {
		cfg.TLS = certs.NewSource(s.files(), tlsSettings, log)
	}
	return cfg
}
