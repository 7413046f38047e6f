package conformance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/starling-chat/starling/gateway/internal/edge"
	"github.com/starling-chat/starling/gateway/internal/engineio"
	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/stats"
	"github.com/starling-chat/starling/gateway/internal/transport"
	"github.com/starling-chat/starling/platform/run"
)

// Config says what to serve.
type Config struct {
	// Suite is one of Suites.
	Suite string
	// Addr is host:port; empty takes the suite's own.
	Addr string
	// Patience is the least that a client has for a pong and for its first CONNECT, PingInterval the time between two heartbeats;
	// 0 takes the suite's own.
	Patience, PingInterval time.Duration
	// Ready is told the address once the server listens; nil for nobody.
	Ready func(addr net.Addr)
}

// suite is what one official suite expects of its server.
type suite struct {
	addr      string
	endpoints []endpoint
}

// endpoint is one Engine.IO path.
type endpoint struct {
	path     string
	settings session.Config
	app      session.App // nil: raw answers
	// headers is edge.EndpointConfig's.
	headers func(h http.Header, r *http.Request, handshake bool) *engineio.RequestError
}

// settings are those that the suites have in common.
func settings() session.Config {
	return session.Config{
		PingTimeout: 20 * time.Second, ConnectTimeout: 45 * time.Second, MaxPayload: 1_000_000, MaxAttachments: 10, MaxDepth: 100,
	}
}

// never is the ConnectTimeout of sessions without namespaces.
const never = 1 << 62

// suites makes them anew for each server, for their Apps have state.
func suites() map[string]suite {
	protocol := settings()
	protocol.PingInterval, protocol.PingTimeout, protocol.ConnectTimeout = 300*time.Millisecond, 200*time.Millisecond, time.Second
	echoing := protocol
	echoing.Raw, echoing.ConnectTimeout = echoApp{}, never
	support := settings()
	support.PingInterval = 2 * time.Second
	engine := newEngineApp()
	bare := settings()
	bare.PingInterval, bare.MaxPayload, bare.Raw, bare.ConnectTimeout = 500*time.Millisecond, 100, engine, never
	return map[string]suite{
		"protocol": {":3000", []endpoint{
			{path: "/engine.io/", settings: echoing},
			{path: "/socket.io/", settings: protocol, app: protocolApp{}},
		}},
		"socket.io-client": {":3210", []endpoint{
			{path: "/socket.io/", settings: support, app: newSupportApp(), headers: slowHandshake},
		}},
		"engine.io-client": {":3000", []endpoint{
			{path: "/engine.io/", settings: bare, headers: engine.headers},
		}},
	}
}

// Suites are the names of the suites.
func Suites() []string { return slices.Sorted(maps.Keys(suites())) }

const (
	sendQueue     = 4 << 20
	frameTimeout  = 10 * time.Second
	closeTimeout  = 2 * time.Second
	headerTimeout = 5 * time.Second
	stopTimeout   = 2 * time.Second
)

// Run serves a suite until ctx ends.
func Run(ctx context.Context, cfg Config, log *slog.Logger) error {
	s, ok := suites()[cfg.Suite]
	if !ok {
		return fmt.Errorf("suite %q is none of %s", cfg.Suite, strings.Join(Suites(), ", "))
	}
	if cfg.Addr != "" {
		s.addr = cfg.Addr
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", s.addr)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", s.addr, err)
	}
	var g run.Group
	mux := http.NewServeMux()
	for _, e := range s.endpoints {
		e.settings.PingTimeout = max(e.settings.PingTimeout, cfg.Patience)
		e.settings.ConnectTimeout = max(e.settings.ConnectTimeout, cfg.Patience)
		e.settings.PingInterval = cmp.Or(cfg.PingInterval, e.settings.PingInterval)
		e.mount(mux, &g, log)
	}
	g.Go("http", func(ctx context.Context) error {
		if cfg.Ready != nil {
			cfg.Ready(listener.Addr())
		}
		return serve(ctx, listener, edge.EveryOrigin().CORS(slashed(mux), nil))
	})
	return g.Run(ctx)
}

// mount wires one endpoint as the gateway does, with another App and alone.
func (e endpoint) mount(mux *http.ServeMux, g *run.Group, log *slog.Logger) {
	sockets := transport.NewServer(transport.Limits{
		MaxMessage: e.settings.MaxPayload, SendQueue: sendQueue, FrameTimeout: frameTimeout, CloseTimeout: closeTimeout,
	}, log)
	st := stats.New(prometheus.NewRegistry(), sockets.QueuedBytes)
	sids := session.NewSIDs("conformance", []byte(session.NewID()))
	sessions := session.NewServer(e.settings, sids, e.app, nil, st, log)
	mux.Handle(e.path, edge.NewEndpoint(edge.EndpointConfig{
		Origins: edge.EveryOrigin(), MaxPayload: e.settings.MaxPayload, Headers: e.headers,
	}, edge.Deps{SIDs: sids, Sessions: sessions, Sockets: sockets, Stats: st, Log: log}))
	g.Go("heartbeats "+e.path, sessions.Run)
}

// slashed keeps the mux from redirecting /socket.io to /socket.io/: official servers do not know the former.
func slashed(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := mux.Handler(r); pattern != "" && !strings.HasPrefix(r.URL.Path, pattern) {
			http.NotFound(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: headerTimeout}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve HTTP: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := server.Shutdown(stop); err != nil {
		_ = server.Close() // requests that did not end in time
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve HTTP: %w", err)
	}
	return ctx.Err()
}

// handshakeDelay lets the client's tests of a timeout see one.
const handshakeDelay = 10 * time.Millisecond

// slowHandshake delays handshakes and keeps them for the App.
func slowHandshake(_ http.Header, r *http.Request, handshake bool) *engineio.RequestError {
	if !handshake {
		return nil
	}
	timer := time.NewTimer(handshakeDelay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
	}
	if err := newHandshake(r, time.Now()).carry(r); err != nil {
		return engineio.ErrBadRequest
	}
	return nil
}
