package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/grpc/health/grpc_health_v1"

	authservice "github.com/starling-chat/starling/auth-service"
	chatservice "github.com/starling-chat/starling/chat-service"
	"github.com/starling-chat/starling/gateway"
	"github.com/starling-chat/starling/platform/bus/embedded"
	"github.com/starling-chat/starling/platform/obs"
	"github.com/starling-chat/starling/platform/pg/pgserver"
	"github.com/starling-chat/starling/platform/rpc"
	"github.com/starling-chat/starling/platform/run"
	"github.com/starling-chat/starling/platform/settings"
	presenceservice "github.com/starling-chat/starling/presence-service"
)

// Demo accounts, printed at the start. They exist on this machine only: other deployments have none.
var demoUsers = []authservice.DemoUser{ //nolint:gochecknoglobals // a constant list
	{Username: "alice", Password: "alice-demo-password", Name: "Alice", Role: "user"},
	{Username: "bob", Password: "bob-demo-password", Name: "Bob", Role: "user"},
	{Username: "admin", Password: "admin-demo-password", Name: "Admin", Role: "admin"},
}

const (
	stopTimeout  = 4 * time.Second // of everything: Ctrl-C ends within 5 s
	drainWindow  = 500 * time.Millisecond
	startTimeout = 2 * time.Minute
	natsMaxBytes = "268435456" // of the replay stream, a quarter of what a server would keep
)

// system is everything that runs in the process. One goroutine builds it; the parts and welcome only read it.
type system struct {
	// Fixed at birth.
	cfg   Config
	out   io.Writer
	logTo io.Writer
	began time.Time

	// Found out while it starts.
	token    string // shared by services and gateways
	apiKey   string
	database string
	natsURL  string
	inside   nats.InProcessConnProvider
	ports    map[string]int // gRPC
}

func (s *system) say(format string, args ...any) {
	_, _ = fmt.Fprintf(s.out, "%5.1fs  %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...)) // a closed terminal is no reason to stop
}

// run starts PostgreSQL, NATS, the services and the gateways, and stops them in reverse order.
func (s *system) run(ctx context.Context) error {
	log, err := obs.NewLogger(s.logTo, s.cfg.FileLevel, "text")
	if err != nil {
		return err
	}
	s.say("Starling starts; data in %s", s.cfg.Data)
	if err := s.secrets(); err != nil {
		return err
	}
	stopPostgres, err := s.startPostgres(ctx, log)
	if err != nil {
		return err
	}
	defer stopPostgres()
	stopNATS, err := s.startNATS(log)
	if err != nil {
		return err
	}
	defer stopNATS()

	g := run.Group{Timeout: stopTimeout}
	if err := s.addServices(ctx, &g, log); err != nil {
		return err
	}
	if err := s.addGateways(ctx, &g, log); err != nil {
		return err
	}
	g.Go("welcome", func(ctx context.Context) error { return s.welcome(ctx) })
	err = g.Run(ctx)
	s.say("stopped")
	return err
}

// secrets makes or reads what the parts share.
func (s *system) secrets() error {
	s.token = randomHex()
	if s.apiKey = os.Getenv("API_KEY"); s.apiKey != "" { //nolint:forbidigo // this is a main package
		return nil
	}
	path := filepath.Join(s.cfg.Data, "api-key")
	raw, err := os.ReadFile(path) //nolint:gosec // in the user's own folder
	switch {
	case err == nil:
		s.apiKey = strings.TrimSpace(string(raw))
		return nil
	case !errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("read the API key: %w", err)
	}
	s.apiKey = randomHex()
	if err := os.WriteFile(path, []byte(s.apiKey+"\n"), 0o600); err != nil {
		return fmt.Errorf("keep the API key: %w", err)
	}
	return nil
}

func randomHex() string {
	var raw [16]byte
	_, _ = rand.Read(raw[:]) // never fails (crypto/rand)
	return hex.EncodeToString(raw[:])
}

func (s *system) startPostgres(ctx context.Context, log *slog.Logger) (stop func(), err error) {
	if s.cfg.DatabaseURL != "" {
		s.database = s.cfg.DatabaseURL.Reveal()
		s.say("PostgreSQL: %s", s.cfg.DatabaseURL)
		return func() {}, nil
	}
	server, err := pgserver.Start(ctx, pgserver.Config{
		DataDir: filepath.Join(s.cfg.Data, "postgres"), Durable: true, Log: log,
		Progress: func(line string) { s.say("PostgreSQL: %s", line) },
	})
	if err != nil {
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	if err := os.WriteFile(filepath.Join(s.cfg.Data, postgresPlace), []byte(server.Dir()), 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("note where PostgreSQL keeps its data: %w", err), server.Stop(ctx))
	}
	s.database = server.URL()
	s.say("PostgreSQL runs, files in %s", server.Dir())
	return func() {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		if err := server.Stop(bounded); err != nil {
			log.ErrorContext(ctx, "PostgreSQL did not stop", slog.Any("error", err))
		}
	}, nil
}

func (s *system) startNATS(log *slog.Logger) (stop func(), err error) {
	if s.cfg.NATSURL != "" {
		s.natsURL = s.cfg.NATSURL.Reveal()
		s.say("NATS: %s", s.cfg.NATSURL)
		return func() {}, nil
	}
	server, err := embedded.Start(embedded.Config{
		StoreDir: filepath.Join(s.cfg.Data, "nats"), Port: embedded.InProcessOnly, Log: log,
	})
	if err != nil {
		return nil, fmt.Errorf("start NATS: %w", err)
	}
	s.inside, s.natsURL = server.InProcess(), "nats://in-process"
	s.say("NATS with JetStream runs inside")
	return server.Close, nil
}

// addServices adds auth-, chat- and presence-service. Their settings are those of their binaries, from the environment, save
// for the addresses.
func (s *system) addServices(ctx context.Context, g *run.Group, log *slog.Logger) error {
	var auth authservice.Config
	var chat chatservice.Config
	var presence presenceservice.Config
	s.ports = make(map[string]int)
	for _, name := range []string{"auth", "chat", "presence"} {
		port, err := freePort(ctx)
		if err != nil {
			return err
		}
		s.ports[name] = port
	}
	for name, cfg := range map[string]any{"auth": &auth, "chat": &chat, "presence": &presence} {
		args := []string{
			"--grpc-listen=" + s.address(name), "--admin-listen=", "--service-token=" + s.token,
			"--database-url=" + s.database, "--nats-url=" + s.natsURL, "--db-schema=" + name,
		}
		switch name {
		case "auth":
			args = append(args, "--api-key="+s.apiKey)
		case "chat":
			args = append(args, "--stream-max-bytes="+natsMaxBytes)
		case "presence":
			args = append(args, "--chat-service-addr="+s.address("chat"))
		}
		if err := settings.Parse(name+"-service", "", cfg, args); err != nil {
			return fmt.Errorf("settings of %s-service: %w", name, err)
		}
	}
	auth.NATS.InProcess, chat.NATS.InProcess, presence.NATS.InProcess = s.inside, s.inside, s.inside
	auth.DemoUsers = demoUsers
	g.Go("auth-service", func(ctx context.Context) error {
		return authservice.Run(ctx, auth, log.With(slog.String("service", "auth-service")))
	})
	g.Go("chat-service", func(ctx context.Context) error {
		return chatservice.Run(ctx, chat, log.With(slog.String("service", "chat-service")))
	})
	g.Go("presence-service", func(ctx context.Context) error {
		return presenceservice.Run(ctx, presence, log.With(slog.String("service", "presence-service")))
	})
	return nil
}

func (s *system) address(service string) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.ports[service]))
}

// addGateways adds the gateways, on consecutive ports. It listens before any service runs, so that a port in use is one clear
// line.
func (s *system) addGateways(ctx context.Context, g *run.Group, log *slog.Logger) error {
	for i, address := range s.gateways() {
		var lc net.ListenConfig
		listener, err := lc.Listen(ctx, "tcp", address)
		if err != nil {
			return fmt.Errorf("take the gateway's port (another --listen?): %w", err)
		}
		admin := ""
		if s.cfg.Admin != "" {
			admin = after(s.cfg.Admin, i)
		}
		var cfg gateway.Config
		err = settings.Parse("gateway", "", &cfg, []string{
			"--listen=" + address, "--admin-listen=" + admin, "--grpc-listen=", "--service-token=" + s.token, "--nats-url=" + s.natsURL,
			"--auth-service-addr=" + s.address("auth"), "--chat-service-addr=" + s.address("chat"),
			"--presence-service-addr=" + s.address("presence"), "--drain-window=" + drainWindow.String(),
			"--gateway-id=" + "local-" + strconv.Itoa(i+1),
		})
		if err != nil {
			return fmt.Errorf("settings of the gateway: %w", err)
		}
		cfg.NATS.InProcess, cfg.Listener = s.inside, listener
		g.Go("gateway", func(ctx context.Context) error {
			return gateway.Run(ctx, cfg, log.With(slog.String("service", "gateway")))
		})
	}
	return nil
}

func (s *system) gateways() []string {
	addresses := make([]string, s.cfg.Gateways)
	for i := range addresses {
		addresses[i] = after(s.cfg.Listen, i)
	}
	return addresses
}

// after is an address i ports after one that Validate has looked at.
func after(address string, i int) string {
	host, port, _ := net.SplitHostPort(address)
	first, _ := strconv.Atoi(port)
	return net.JoinHostPort(host, strconv.Itoa(first+i))
}

func freePort(ctx context.Context) (int, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close() //nolint:errcheck // it was only to find the port
	return l.Addr().(*net.TCPAddr).Port, nil
}

// welcome waits until everything works and tells how to use it.
func (s *system) welcome(ctx context.Context) error {
	deadline, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for _, name := range []string{"auth", "chat", "presence"} {
		if err := s.awaitService(deadline, name); err != nil {
			return s.notReady(ctx, name+"-service", err)
		}
		s.say("%s-service runs", name)
	}
	for _, address := range s.gateways() {
		if err := awaitGateway(deadline, address); err != nil {
			return s.notReady(ctx, "gateway "+address, err)
		}
		s.say("gateway runs on http://%s", address)
	}
	_, _ = fmt.Fprintf(s.out, `
Starling is ready: http://%s
  demo accounts  alice / alice-demo-password    bob / bob-demo-password    admin / admin-demo-password
  API key        %s   (header X-API-Key)
  log            %s
  stop           Ctrl-C

`, strings.Replace(s.cfg.Listen, "127.0.0.1", "localhost", 1), s.apiKey, s.logPlace())
	return nil
}

func (s *system) logPlace() string {
	if s.cfg.Verbose {
		return "this terminal"
	}
	return filepath.Join(s.cfg.Data, "starling.log")
}

func (s *system) notReady(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%s is not ready (see %s): %w", what, s.logPlace(), err)
}

const pollInterval = 30 * time.Millisecond

// awaitService waits for a service's health; where it says nothing for a while, progress is shown.
func (s *system) awaitService(ctx context.Context, name string) error {
	conn, err := rpc.Dial(s.address(name), rpc.ClientConfig{Token: settings.Secret(s.token)})
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // it was only to ask
	health := grpc_health_v1.NewHealthClient(conn)
	shown := time.Now()
	return poll(ctx, func() bool {
		if time.Since(shown) > 3*time.Second {
			shown = time.Now()
			s.say("waiting for %s-service", name)
		}
		res, err := health.Check(ctx, &grpc_health_v1.HealthCheckRequest{})
		return err == nil && res.GetStatus() == grpc_health_v1.HealthCheckResponse_SERVING
	})
}

func awaitGateway(ctx context.Context, address string) error {
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
