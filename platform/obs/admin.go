package obs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/starling-chat/starling/platform/settings"
)

// Admin is the operators' listener: /healthz, /readyz, /metrics and, where asked for, /debug/pprof.
// It has no authentication and must not be reachable from outside.
type Admin struct {
	Addr     string       // "host:port"; "" runs no listener
	Listener net.Listener // used instead of Addr where given
	Profiles bool         // serve /debug/pprof
	Registry *prometheus.Registry
	Ready    func() error // why no traffic should come; nil means always ready
	Live     func() error // why the process should be restarted, never a dependency; nil means alive
	Log      *slog.Logger
}

// Run serves until ctx ends.
func (a Admin) Run(ctx context.Context) error {
	listener := a.Listener
	if listener == nil {
		if a.Addr == "" {
			<-ctx.Done()
			return nil
		}
		var err error
		if listener, err = settings.Listen(ctx, "ADMIN_LISTEN", a.Addr); err != nil {
			return err
		}
	}
	server := &http.Server{
		Handler:           a.Handler(),
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
		ErrorLog:          slog.NewLogLogger(a.Log.Handler(), slog.LevelDebug),
	}
	a.Log.LogAttrs(ctx, slog.LevelInfo, "admin listening", slog.String("addr", listener.Addr().String()))
	// Scrapes and profiles are not worth waiting for.
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve admin requests: %w", err)
	}
	return nil
}

// Handler returns the admin pages.
func (a Admin) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", check(a.Live))
	mux.HandleFunc("GET /readyz", check(a.Ready))
	if a.Registry != nil {
		mux.Handle("GET /metrics", promhttp.HandlerFor(a.Registry, promhttp.HandlerOpts{Registry: a.Registry}))
	}
	if !a.Profiles {
		return mux
	}
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

func check(f func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if f != nil {
			if err := f(); err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
		}
		_, _ = fmt.Fprintln(w, "ok")
	}
}
