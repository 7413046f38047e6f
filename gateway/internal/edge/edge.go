package edge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"google.golang.org/grpc"

	clusterv1 "github.com/starling-chat/starling/proto/gen/starling/cluster/v1"
)

// Config are the edge's settings.
type Config struct {
	Listener       net.Listener
	Path           string // of Socket.IO, as ParsePath gives it; empty = DefaultPath
	Origins        Origins
	TrustedProxies []netip.Prefix
	Unlimited      []netip.Prefix // networks whose addresses have no limits, beside loopback
	MaxPayload     int
	MaxConnections int
	MaxSockets     int           // connections of clients, of whatever kind, that the descriptor limit leaves room for; 0 = no bound
	MaxPerAddress  int           // connections of one address that are not WebSockets, or its requests through a trusted proxy; 0 = no bound
	IdleTimeout    time.Duration // of a connection between two requests
	MaxRequests    int           // REST requests served at once; 0 = 1024
	IPRate         float64
	IPBurst        int
	Page           Page // at /
	OwnHandshakes  bool // those of new WebSockets do not go through net/http

	// Judged tells whether the CONNECT of a new session could be judged soon; nil: always.
	Judged func() (wait time.Duration, ok bool)

	Auth, Chat, Presence *grpc.ClientConn
	// Cluster is this gateway's own part of the REST interface.
	Cluster clusterv1.ClusterServiceServer
}

// Edge is the HTTP server.
type Edge struct {
	cfg       Config
	log       *slog.Logger
	addresses *addresses
	limiter   *ipLimiter
	conns     *openConns
	server    *http.Server

	endpoint *Endpoint
}

const (
	headerTimeout = 10 * time.Second
	maxHeader     = 32 << 10                 // official servers read 16 KiB; of a site with many cookies all come along
	stopTimeout   = 2*pollHold + time.Second // GETs that wait end within pollHold
)

// New prepares the edge.
func New(cfg Config, deps Deps) (*Edge, error) {
	e := &Edge{
		cfg: cfg, log: deps.Log, limiter: newIPLimiter(cfg.IPRate, cfg.IPBurst),
		addresses: &addresses{trusted: cfg.TrustedProxies, exempt: cfg.Unlimited, log: deps.Log},
	}
	endpoint := NewEndpoint(EndpointConfig{
		Origins: cfg.Origins, MaxPayload: cfg.MaxPayload, MaxConnections: cfg.MaxConnections,
		Admit: e.admit, Judged: cfg.Judged,
		RemoteIP: func(r *http.Request) string { return e.clientIP(r).String() },
	}, deps)
	e.endpoint = endpoint
	api, err := e.rest()
	if err != nil {
		return nil, err
	}
	path := cmp.Or(cfg.Path, DefaultPath)
	mux := http.NewServeMux()
	mux.Handle(path, endpoint)
	if err := mountClient(mux, path); err != nil {
		return nil, err
	}
	mux.Handle("/healthz", readOnly(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })))
	if !cfg.Page.Off {
		page, err := webPage(path, cfg.Page)
		if err != nil {
			return nil, err
		}
		mux.Handle("/", page)
	}
	others := func() int { return deps.held() + deps.Sockets.Lingering() }
	e.conns = newOpenConns(cfg.MaxSockets, cfg.MaxPerAddress, others, e.addresses, e.refusedConn(deps.Stats))
	e.conns.displace = deps.Strangers.Displace
	routes := noSlash(path, beside(path, bodyFirst(api), mux))
	e.server = &http.Server{
		Handler:           exchanges(cfg.Origins.CORS(e.byAddress(routes), refusalLog(deps.Log, cfg.Origins))),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       cfg.IdleTimeout,
		MaxHeaderBytes:    maxHeader,
		ConnContext:       e.conns.context,
		ConnState:         e.conns.state,
		ErrorLog:          slog.NewLogLogger(deps.Log.Handler(), slog.LevelDebug),
	}
	return e, nil
}

// Run serves until ctx ends, then stops accepting; upgraded connections go on.
func (e *Edge) Run(ctx context.Context) error {
	served, listener := make(chan error, 1), e.cfg.Listener
	if e.cfg.OwnHandshakes {
		f := newFront(listener, e.conns, e.server.Handler, cmp.Or(e.cfg.Path, DefaultPath), e.log)
		defer f.Wait()
		listener = f
	}
	go func() { served <- e.server.Serve(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve HTTP: %w", err)
	case <-ctx.Done():
	}
	e.endpoint.stopping.Store(true)
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := e.server.Shutdown(stop); err != nil {
		_ = e.server.Close() // requests that did not end in time
	}
	if err := <-served; err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve HTTP: %w", err)
	}
	return ctx.Err()
}

// noSlash keeps the mux from redirecting /socket.io to /socket.io/: official servers do not know the former.
func noSlash(path string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path+"/" == path {
			http.NotFound(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// beside sends requests of the REST interface to api and all others, those below the path of Socket.IO among them, to next. The mux would redirect a path with an id such as
// "a//b" or ".." in it, escaped or not.
func beside(socketPath string, api, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.EscapedPath()
		rest := strings.HasPrefix(path, "/api/") || strings.HasPrefix(path, "/.well-known/")
		if rest && !strings.HasPrefix(path, socketPath) {
			api.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// readOnly refuses everything but GET and HEAD.
func readOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "Method not allowed", http.StatusMethodNotAllowed)
			return
		}
		next.ServeHTTP(w, r)
	})
}
