package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// InProcessOnly as Config.Port opens no listener.
const InProcessOnly = -1

const readyTimeout = 10 * time.Second

// Config says where the server stores streams and where it listens.
type Config struct {
	StoreDir string       // of JetStream; required
	Host     string       // "" means 127.0.0.1
	Port     int          // 0 picks a free one, InProcessOnly opens none
	Log      *slog.Logger // nil discards; the server's notices come at debug
	Monitor  int          // port where NATS tells about itself (/varz), at Host; 0 opens none
}

// Server is a running NATS server.
type Server struct{ server *server.Server }

// Start returns when the server accepts connections.
func Start(cfg Config) (*Server, error) {
	if cfg.StoreDir == "" {
		return nil, errors.New("start embedded NATS: no store directory")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Host == "" {
		cfg.Host = "127.0.0.1"
	}
	options := &server.Options{
		ServerName: "starling",
		Host:       cfg.Host,
		Port:       cfg.Port,
		HTTPHost:   cfg.Host,
		HTTPPort:   cfg.Monitor,
		DontListen: cfg.Port == InProcessOnly,
		JetStream:  true,
		MaxPayload: maxPayload,
		StoreDir:   cfg.StoreDir,
		NoSigs:     true, // signals are the process's own
		// As in deploy/nats/nats.conf.
		PingInterval: pingInterval, MaxPingsOut: pingsLost,
	}
	if cfg.Port == 0 {
		options.Port = server.RANDOM_PORT
	}
	s, err := server.NewServer(options)
	if err != nil {
		return nil, fmt.Errorf("start embedded NATS: %w", err)
	}
	s.SetLoggerV2(logger{cfg.Log}, false, false, false)
	s.Start()
	if !s.ReadyForConnections(readyTimeout) {
		s.Shutdown()
		return nil, fmt.Errorf("start embedded NATS: not ready within %v (is the port or %s in use?)", readyTimeout, cfg.StoreDir)
	}
	return &Server{s}, nil
}

// A client that hangs is cut off after 9 s, so that its queue groups and the stream's republished events pass it by.
const (
	pingInterval = 3 * time.Second
	pingsLost    = 2
)

// maxPayload is that of deploy/nats/nats.conf: a long history passes between gateways in one message.
const maxPayload = 4 << 20

// URL returns the address for clients, or "" when the server has no listener.
func (s *Server) URL() string {
	if s.server.Addr() == nil {
		return ""
	}
	return s.server.ClientURL()
}

// InProcess returns the way to connect from inside the process.
func (s *Server) InProcess() nats.InProcessConnProvider { return s.server }

// Close stops the server and returns when its files are closed.
func (s *Server) Close() {
	s.server.Shutdown()
	s.server.WaitForShutdown()
}

// logger gives the server's lines to slog.
type logger struct{ log *slog.Logger }

func (l logger) Noticef(f string, v ...any) { l.write(slog.LevelDebug, f, v) }
func (l logger) Warnf(f string, v ...any)   { l.write(slog.LevelWarn, f, v) }
func (l logger) Fatalf(f string, v ...any)  { l.write(slog.LevelError, f, v) }
func (l logger) Errorf(f string, v ...any)  { l.write(slog.LevelError, f, v) }
func (l logger) Debugf(f string, v ...any)  { l.write(slog.LevelDebug, f, v) }
func (l logger) Tracef(f string, v ...any)  { l.write(slog.LevelDebug, f, v) }

func (l logger) write(level slog.Level, format string, v []any) {
	// The server's interface has no context to pass on.
	l.log.LogAttrs(context.TODO(), level, "nats server", //nolint:forbidigo // see above
		slog.String("line", strings.TrimSpace(fmt.Sprintf(format, v...))))
}
