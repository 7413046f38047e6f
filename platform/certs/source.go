package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"sync"
	"time"

	"github.com/starling-chat/starling/platform/obs"
)

// Source gives what the files hold. Each handshake asks it; handshakes are rare beside what is sent after them.
type Source struct {
	files    Files
	settings string // what the names of the settings begin with
	log      *slog.Logger
	broken   *obs.Repeats

	mu   sync.Mutex // guards last
	last *content   // what could be read last; nil before
}

// NewSource returns a Source of files; settings is what the names of their settings begin with, for the log.
func NewSource(files Files, settings string, log *slog.Logger) *Source {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Source{
		files: files, settings: settings, log: log,
		broken: &obs.Repeats{Log: log, Message: "certificates cannot be read again, those of before stay in use"},
	}
}

// Server returns TLS for a server. With clientCerts it answers only those who show a certificate that the authorities have signed.
func (s *Source) Server(clientCerts bool) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			now, err := s.read(hello.Context())
			if err != nil {
				return nil, err
			}
			// Without tickets each connection is judged by what the files hold when it begins.
			config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*now.cert}, SessionTicketsDisabled: true}
			if clientCerts {
				config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, now.roots
			}
			return config, nil
		},
	}
}

// Client returns TLS for one connection to a server, which has to show a certificate that the authorities have signed: those of the
// system where there is no file of them.
func (s *Source) Client(ctx context.Context) (*tls.Config, error) {
	now, err := s.read(ctx)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: now.roots}
	if now.cert != nil {
		config.Certificates = []tls.Certificate{*now.cert}
	}
	return config, nil
}

// Certificate returns the function that gives this service's certificate; nil where there is none.
func (s *Source) Certificate(ctx context.Context) func() (tls.Certificate, error) {
	if s.files.Cert == "" {
		return nil
	}
	return func() (tls.Certificate, error) {
		now, err := s.read(ctx)
		if err != nil {
			return tls.Certificate{}, err
		}
		return *now.cert, nil
	}
}

// Roots returns the function that gives the authorities; nil where those of the system are to be taken.
func (s *Source) Roots(ctx context.Context) func() (*x509.CertPool, error) {
	if s.files.CA == "" {
		return nil
	}
	return func() (*x509.CertPool, error) {
		now, err := s.read(ctx)
		return now.roots, err
	}
}

// read returns what the files hold, or what they held when they were well.
func (s *Source) read(ctx context.Context) (content, error) {
	now, err := s.files.load(s.settings)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		s.broken.Over(ctx)
		s.tell(ctx, now)
		s.last = &now
		return now, nil
	case s.last == nil:
		return content{}, err
	default:
		s.broken.Failed(ctx, err)
		return *s.last, nil
	}
}

// tell logs which certificate is in use from now on, where it is another one; s.mu is held.
func (s *Source) tell(ctx context.Context, now content) {
	if now.cert == nil || s.last != nil && s.last.cert != nil && bytes.Equal(s.last.cert.Certificate[0], now.cert.Certificate[0]) {
		return
	}
	level, ends := slog.LevelInfo, now.cert.Leaf.NotAfter
	if moment := time.Now(); moment.After(ends) || moment.Before(now.cert.Leaf.NotBefore) {
		level = slog.LevelWarn
	}
	s.log.LogAttrs(ctx, level, "certificate in use", slog.String("file", s.files.Cert),
		slog.Time("valid_from", now.cert.Leaf.NotBefore), slog.Time("valid_until", ends))
}
