package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/starling-chat/starling/platform/rpc"
	"github.com/starling-chat/starling/platform/settings"
)

// welcome waits until everything works and tells how to use it.
func (s *system) welcome(ctx context.Context) error {
	deadline, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for _, name := range serviceNames() {
		if err := s.awaitService(deadline, name); err != nil {
			return s.notReady(ctx, name+"-service", err)
		}
		s.say("%s-service runs", name)
	}
	for _, address := range s.gatewayAddresses() {
		if err := s.awaitGateway(deadline, address); err != nil {
			return s.notReady(ctx, "gateway", err)
		}
		s.say("gateway runs on %s://%s", s.scheme(), address)
	}
	if s.serving != nil {
		return s.ready(ctx)
	}
	if s.cfg.Examples && len(s.demoAccounts()) > 0 {
		s.makeExamples(ctx)
	}
	accounts := make([]string, len(s.demo))
	for i, user := range s.demo {
		accounts[i] = user.Username + " / " + user.Password
	}
	_, _ = fmt.Fprintf(s.out, `
Starling is ready: http://%s
  demo accounts  %s
  API key        %s   (header X-API-Key)
  log            %s
  stop           Ctrl-C

`, strings.Replace(s.cfg.Listen, "127.0.0.1", "localhost", 1), strings.Join(accounts, "    "), s.apiKey, s.logPlace())
	return nil
}

func (s *system) scheme() string {
	if s.serving != nil && s.serving.cfg.TLS.On() {
		return "https"
	}
	return "http"
}

func (s *system) logPlace() string {
	if s.cfg.Verbose || s.serving != nil {
		return "this terminal"
	}
	return filepath.Join(s.cfg.Data, "starling.log")
}

func (s *system) notReady(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if reason := s.reasons.of(what); reason != "" {
		return fmt.Errorf("%s is not ready (see %s): %s", what, s.logPlace(), reason)
	}
	return fmt.Errorf("%s is not ready (see %s): %w", what, s.logPlace(), err)
}

const (
	pollInterval  = 30 * time.Millisecond
	firstReminder = 3 * time.Second // of what is waited for; the next come at a growing distance
)

// awaitService waits for a service's health; where it says nothing for a while, the terminal tells why.
func (s *system) awaitService(ctx context.Context, name string) error {
	conn, err := rpc.Dial(s.address(name), rpc.ClientConfig{Token: settings.Secret(s.token)})
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // it was only to ask
	health := grpc_health_v1.NewHealthClient(conn)
	distance := firstReminder
	next := time.Now().Add(distance)
	return poll(ctx, func() bool {
		if time.Now().After(next) {
			distance *= 2
			next = time.Now().Add(distance)
			s.say("waiting for %s-service%s", name, s.because(name+"-service"))
		}
		res, err := health.Check(ctx, &grpc_health_v1.HealthCheckRequest{})
		return err == nil && res.GetStatus() == grpc_health_v1.HealthCheckResponse_SERVING
	})
}

// because is the reason for which a service is waited for, in one line.
func (s *system) because(service string) string {
	reason := s.reasons.of(service)
	if reason == "" {
		return ""
	}
	return ": " + strings.ReplaceAll(reason, "\n", "; ")
}

// awaitGateway waits until a gateway answers. By TLS the refusal of a name that it has no certificate for is an answer, too.
func (s *system) awaitGateway(ctx context.Context, address string) error {
	if s.scheme() == "https" {
		return poll(ctx, func() bool { return answersTLS(ctx, address) })
	}
	return poll(ctx, func() bool {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/healthz", nil)
		if err != nil {
			return false
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return false
		}
		_ = res.Body.Close() // nothing was read
		return res.StatusCode == http.StatusOK
	})
}

func answersTLS(ctx context.Context, address string) bool {
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}} //nolint:gosec // nothing is said to it
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err == nil {
		_ = conn.Close()
		return true
	}
	refusal, ok := errors.AsType[*net.OpError](err)
	return ok && refusal.Op == "remote error"
}

func poll(ctx context.Context, ok func() bool) error {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
	return nil
}
