package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"

	authservice "github.com/starling-chat/starling/auth-service"
	chatservice "github.com/starling-chat/starling/chat-service"
	"github.com/starling-chat/starling/gateway"
	"github.com/starling-chat/starling/platform/bus/embedded"
	"github.com/starling-chat/starling/platform/pg/pgserver"
	"github.com/starling-chat/starling/platform/run"
	"github.com/starling-chat/starling/platform/settings"
	presenceservice "github.com/starling-chat/starling/presence-service"
)

const (
	drainWindow  = 500 * time.Millisecond
	startTimeout = 2 * time.Minute
	natsMaxBytes = "268435456" // of the replay stream, a quarter of what a server would keep
)

// system is everything that runs in the process. One goroutine builds it; the parts and welcome only read it.
type system struct {
	// Fixed at birth.
	cfg   Config
	out   io.Writer
	began time.Time
	// serving is what others rely on; nil: it is for trying things out.
	serving *serving

	// Found out by prepare, before anything is created.
	token     string // shared by services and gateways
	apiKey    string
	demo      []authservice.DemoUser
	made      []secretFile // secrets that were made up and are to be kept
	listeners []net.Listener
	admins    []net.Listener
	grpc      map[string]net.Listener
	auth      authservice.Config
	chat      chatservice.Config
	presence  presenceservice.Config
	gateways  []gateway.Config

	// Found out while it starts.
	reasons  reasons
	restarts restarts
	crowd    *crowd
}

func (s *system) say(format string, args ...any) {
	if s.serving != nil {
		s.serving.log.Info("progress", slog.String("step", fmt.Sprintf(format, args...)))
		return
	}
	_, _ = fmt.Fprintf(s.out, "%5.1fs  %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...)) // a closed terminal is no reason to stop
}

// run starts PostgreSQL, NATS, the services and the gateways, and stops them in reverse order. Being told to stop while it starts is
// no failure.
func (s *system) run(ctx context.Context, log *slog.Logger) error {
	s.reasons.last = make(map[string]string)
	s.say("Starling starts; data in %s", s.cfg.Data)
	if err := s.writeSecrets(); err != nil {
		return err
	}
	stopPostgres, err := s.startPostgres(ctx, log)
	if err != nil {
		return s.unlessStopped(ctx, err)
	}
	defer stopPostgres()
	stopNATS, err := s.startNATS(log)
	if err != nil {
		return s.unlessStopped(ctx, err)
	}
	defer stopNATS()

	g := run.Group{Timeout: s.cfg.ShutdownTimeout}
	s.addServices(&g, log)
	s.addGateways(&g, log)
	if s.serving == nil {
		g.Go("crowd", func(ctx context.Context) error { return s.crowd.run(ctx, log) })
	}
	g.Go("welcome", func(ctx context.Context) error { return s.welcome(ctx) })
	err = g.Run(ctx)
	s.say("stopped")
	return err
}

// unlessStopped is err, unless the start was interrupted: what was under way then fails in its own words.
func (s *system) unlessStopped(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	s.say("stopped while starting")
	return nil
}

func randomHex() string {
	var raw [16]byte
	_, _ = rand.Read(raw[:]) // never fails (crypto/rand)
	return hex.EncodeToString(raw[:])
}

func (s *system) startPostgres(ctx context.Context, log *slog.Logger) (stop func(), err error) {
	if s.cfg.DatabaseURL != "" {
		s.useDatabase(s.cfg.DatabaseURL)
		s.say("PostgreSQL: %s", s.cfg.DatabaseURL)
		return func() {}, nil
	}
	server, err := pgserver.Start(ctx, pgserver.Config{
		DataDir: filepath.Join(s.cfg.Data, "postgres"), Durable: true, Checksums: s.serving != nil, Log: log,
		Progress: func(line string) { s.say("PostgreSQL: %s", line) },
	})
	switch {
	case errors.Is(err, pgserver.ErrInUse):
		return nil, &settings.Wrong{Setting: "STARLING_DATA", Err: fmt.Errorf("another Starling uses %s (another --data?)", s.cfg.Data)}
	case err != nil:
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	if err := os.WriteFile(filepath.Join(s.cfg.Data, postgresPlace), []byte(server.Dir()), 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("note where PostgreSQL keeps its data: %w", err), server.Stop(ctx))
	}
	address := filepath.Join(s.cfg.Data, databaseFile)
	if err := os.WriteFile(address, []byte(server.URL()), 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("note the address of PostgreSQL: %w", err), server.Stop(ctx))
	}
	s.useDatabase(settings.URL(server.URL()))
	s.say("PostgreSQL runs, files in %s", server.Dir())
	return func() {
		_ = os.Remove(address) // who reads it finds that nobody answers
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), cmp.Or(s.cfg.ShutdownTimeout, run.DefaultTimeout))
		defer cancel()
		if err := server.Stop(bounded); err != nil {
			log.ErrorContext(ctx, "PostgreSQL did not stop", slog.Any("error", err))
		}
	}, nil
}

func (s *system) useDatabase(url settings.URL) {
	s.auth.Database.URL, s.chat.Database.URL, s.presence.Database.URL = url, url, url
}

func (s *system) startNATS(log *slog.Logger) (stop func(), err error) {
	if s.cfg.NATSURL != "" {
		s.useNATS(s.cfg.NATSURL, nil)
		s.say("NATS: %s", s.cfg.NATSURL)
		return func() {}, nil
	}
	server, err := embedded.Start(embedded.Config{
		StoreDir: filepath.Join(s.cfg.Data, "nats"), Port: embedded.InProcessOnly, Log: log,
	})
	if err != nil {
		return nil, fmt.Errorf("start NATS: %w", err)
	}
	s.useNATS(insideURL, server.InProcess())
	s.say("NATS with JetStream runs inside")
	return server.Close, nil
}

func (s *system) useNATS(url settings.URL, inside nats.InProcessConnProvider) {
	all := []*settings.URL{&s.auth.NATS.URL, &s.chat.NATS.URL, &s.presence.NATS.URL}
	providers := []*nats.InProcessConnProvider{&s.auth.NATS.InProcess, &s.chat.NATS.InProcess, &s.presence.NATS.InProcess}
	for i := range s.gateways {
		all = append(all, &s.gateways[i].NATS.URL)
		providers = append(providers, &s.gateways[i].NATS.InProcess)
	}
	for i := range all {
		*all[i], *providers[i] = url, inside
	}
}

func (s *system) addServices(g *run.Group, log *slog.Logger) {
	g.Go("auth-service", func(ctx context.Context) error {
		return authservice.Run(ctx, s.auth, s.reasons.log(log, "auth-service"))
	})
	g.Go("chat-service", func(ctx context.Context) error {
		return chatservice.Run(ctx, s.chat, s.reasons.log(log, "chat-service"))
	})
	g.Go("presence-service", func(ctx context.Context) error {
		return presenceservice.Run(ctx, s.presence, s.reasons.log(log, "presence-service"))
	})
}

func (s *system) addGateways(g *run.Group, log *slog.Logger) {
	for _, cfg := range s.gateways {
		g.Go("gateway", func(ctx context.Context) error { return s.runGateway(ctx, cfg, s.reasons.log(log, "gateway")) })
	}
}
