package obs

import (
	"errors"
	"log/slog"
	"net"
	"net/url"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/starling-chat/starling/platform/settings"
)

// Settings says how operators look into a service. The Config of a service embeds it with the variable that differs by
// service:
//
//	Obs obs.Settings `embed:"" set:"admin_listen=:8082"`
type Settings struct {
	Admin        string       `name:"admin-listen" env:"ADMIN_LISTEN" default:"${admin_listen}" help:"Address for health and metrics, host:port; empty turns it off."`
	Profiles     bool         `name:"pprof" env:"PPROF" help:"Serve profiles (/debug/pprof/) at that address, too: they show memory, and cost time."`
	OTLPEndpoint settings.URL `name:"otlp-endpoint" env:"OTLP_ENDPOINT" help:"Where to send traces by OTLP over gRPC, host:port (plain text) or URL; empty turns tracing off."`
	TraceShare   float64      `name:"trace-share" env:"TRACE_SHARE" default:"0.01" help:"Share of client events and calls that are traced, a number from 0 to 1; what a caller traces is traced in any case."`

	// Listener serves instead of Admin where set.
	Listener net.Listener `kong:"-"`
}

// Validate tells what is wrong with the settings, in one line.
func (s *Settings) Validate() error {
	var faults settings.Faults
	if s.Admin != "" {
		if _, _, err := net.SplitHostPort(s.Admin); err != nil {
			faults.In("ADMIN_LISTEN", errors.New("it is not host:port"))
		}
	}
	if !(s.TraceShare >= 0 && s.TraceShare <= 1) { // NaN neither
		faults.In("TRACE_SHARE", errors.New("it is not from 0 to 1"))
	}
	return errors.Join(faults.Err(), checkEndpoint(s.OTLPEndpoint))
}

// checkEndpoint refuses what the exporter would silently replace by its default; it prints no part of the endpoint.
func checkEndpoint(endpoint settings.URL) error {
	if endpoint == "" {
		return nil
	}
	wrong := &settings.Wrong{Setting: "OTLP_ENDPOINT", Err: errors.New("it is neither host:port nor a URL such as https://collector:4317")}
	if err := endpoint.Check(); err != nil {
		return &settings.Wrong{Setting: "OTLP_ENDPOINT", Err: err}
	}
	address := endpoint.Reveal()
	if !strings.Contains(address, "://") {
		if _, _, err := net.SplitHostPort(address); err != nil {
			return wrong
		}
		return nil
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return wrong
	}
	return nil
}

// Traces tells whether traces are sent anywhere.
func (s *Settings) Traces() bool { return s.OTLPEndpoint != "" }

// Server returns the operators' listener as the settings say; ready tells why no traffic should come.
func (s *Settings) Server(registry *prometheus.Registry, ready func() error, log *slog.Logger) Admin {
	return Admin{Addr: s.Admin, Listener: s.Listener, Profiles: s.Profiles, Registry: registry, Ready: ready, Log: log}
}
