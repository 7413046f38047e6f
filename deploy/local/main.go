// Command local runs all of Starling in one process: an embedded NATS server, a private PostgreSQL, the services, one or
// several gateways. It is what `make run` starts, for trying things out; its command serve does the same for others to rely on.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	authservice "github.com/starling-chat/starling/auth-service"
	"github.com/starling-chat/starling/platform/obs"
	"github.com/starling-chat/starling/platform/run"
	"github.com/starling-chat/starling/platform/settings"
)

// Config holds the settings of the local system. Those of the services are read from their environment variables as well.
type Config struct {
	run.Common
	Listen      string       `name:"listen" env:"LISTEN" default:"127.0.0.1:3000" help:"Address of the first gateway, host:port; further ones take the next ports."`
	Data        string       `name:"data" env:"STARLING_DATA" help:"Folder that keeps the data; empty takes one in the user's cache folder."`
	Gateways    int          `name:"gateways" env:"GATEWAYS" default:"1" help:"Gateways to run, a number."`
	Admin       string       `name:"admin" env:"ADMIN" help:"Address of the first gateway's health and metrics, host:port; further ones take the next ports; empty turns it off."`
	Profiles    bool         `name:"pprof" env:"PPROF" help:"Serve profiles (/debug/pprof/) at the addresses of --admin, too."`
	DatabaseURL settings.URL `name:"database-url" env:"DATABASE_URL" help:"Use this PostgreSQL instead of a private one, a URL."`
	NATSURL     settings.URL `name:"nats-url" env:"NATS_URL" help:"Use this NATS instead of an embedded one, a URL; it needs JetStream."`
	FileLevel   string       `name:"log-file-level" env:"LOG_FILE_LEVEL" default:"info" enum:"debug,info,warn,error" help:"Least severe level in the log of the services."`
	Examples    bool         `name:"examples" env:"EXAMPLES" help:"Make rooms of the demo accounts at the first start, in which something was said. make run does."`
	Verbose     bool         `name:"verbose" help:"Show the log on the terminal instead of the file starling.log in the data folder."`
	Clean       bool         `name:"clean" help:"Remove the data and exit."`
}

// Validate tells what is wrong with the settings, in one line.
func (c *Config) Validate() error {
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return fmt.Errorf("--listen: %q is not host:port", c.Listen)
	}
	first, err := strconv.Atoi(port)
	switch {
	case err != nil || first < 1 || first+c.Gateways-1 > 65535:
		return fmt.Errorf("--listen: %q needs a port from 1 to 65535", net.JoinHostPort(host, port))
	case c.Admin != "" && !isAddress(c.Admin):
		return fmt.Errorf("--admin: %q is not host:port", c.Admin)
	case c.Gateways < 1 || c.Gateways > 16:
		return fmt.Errorf("--gateways must be 1 to 16, not %d", c.Gateways)
	}
	if err := c.DatabaseURL.Check(); err != nil {
		return fmt.Errorf("--database-url: %w", err)
	}
	if err := c.NATSURL.Check(); err != nil {
		return fmt.Errorf("--nats-url: %w", err)
	}
	return nil
}

func isAddress(s string) bool {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

func main() {
	args := os.Args[1:]
	switch {
	case len(args) > 0 && args[0] == "serve":
		var cfg ServeConfig
		os.Exit(run.Command("starling serve", aboutServe, args[1:], &cfg,
			func(ctx context.Context, log *slog.Logger) error { return serve(ctx, cfg, log, os.Stdout) }))
	case len(args) > 0 && args[0] == "postgres":
		var cfg PostgresConfig
		os.Exit(run.Command("starling postgres", aboutPostgres, args[1:], &cfg,
			func(ctx context.Context, log *slog.Logger) error { return postgres(ctx, cfg, log, os.Stdout) }))
	case authservice.IsCommand(args):
		os.Exit(command(args))
	}
	if os.Getenv("LOG_LEVEL") == "" {
		_ = os.Setenv("LOG_LEVEL", "warn") // the terminal is for people; starling.log has the rest
	}
	var cfg Config
	os.Exit(run.Main("starling", "Runs all of Starling on this machine, in one process. "+
		"For others to rely on: starling serve --help. For operators, while it runs: starling users --help, starling keys --help.", &cfg,
		func(ctx context.Context, _ *slog.Logger) error { return start(ctx, cfg, os.Stdout) }))
}

const (
	aboutServe = "Runs all of Starling for others, in one process, with a PostgreSQL and a NATS of its own unless others are named. " +
		"Settings of the gateway and the services are taken from the environment, too (docs/operations.md)."
	aboutPostgres = "Runs the PostgreSQL of a data folder alone, for pg_dump, pg_restore and psql, until it is stopped."
)

func command(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	return operate(ctx, args)
}

// start finds out whether everything can be had, then makes the data folder and the log, and runs the system. What the settings or
// another process forbid is a *settings.Wrong, before anything is created.
func start(ctx context.Context, cfg Config, out io.Writer) error {
	var err error
	if cfg.Data, err = folder(cfg.Data); err != nil {
		return err
	}
	if err := refuseServed(cfg.Data); err != nil {
		return err
	}
	if cfg.Clean {
		return clean(cfg.Data, out)
	}
	s := &system{cfg: cfg, out: out, token: randomHex(), began: time.Now()}
	defer s.closeListeners()
	if err := s.prepare(ctx); err != nil {
		return err
	}
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return &settings.Wrong{Setting: "STARLING_DATA", Err: err}
	}
	logTo := io.Writer(os.Stderr)
	if !cfg.Verbose {
		file, err := os.OpenFile(filepath.Join(cfg.Data, "starling.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return &settings.Wrong{Setting: "STARLING_DATA", Err: err}
		}
		defer file.Close() //nolint:errcheck // nothing is left to do about it
		logTo = file
	}
	log, err := obs.NewLogger(logTo, cfg.FileLevel, "text")
	if err != nil {
		return err
	}
	return s.run(ctx, log)
}

// folder is the data folder, whole; one in the user's cache folder where none is given.
func folder(given string) (string, error) {
	if given == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", &settings.Wrong{Setting: "STARLING_DATA", Err: fmt.Errorf("find the cache folder: %w", err)}
		}
		given = filepath.Join(cache, "starling")
	}
	data, err := filepath.Abs(given)
	if err != nil {
		return "", &settings.Wrong{Setting: "STARLING_DATA", Err: err}
	}
	return data, nil
}

// postgresPlace names the file in the data folder that tells where the private PostgreSQL keeps its own, which is elsewhere
// when its unprivileged user cannot reach the data folder.
const postgresPlace = "postgres-folder"

// clean removes the data.
func clean(data string, out io.Writer) error {
	if place, err := os.ReadFile(filepath.Join(data, postgresPlace)); err == nil { //nolint:gosec // the user's own folder
		if err := os.RemoveAll(string(place)); err != nil { //nolint:gosec // written by us
			return fmt.Errorf("remove %s: %w", place, err)
		}
	}
	if err := os.RemoveAll(data); err != nil {
		return fmt.Errorf("remove %s: %w", data, err)
	}
	_, err := fmt.Fprintf(out, "Removed %s\n", data)
	return err
}
