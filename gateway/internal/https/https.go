package https

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"github.com/starling-chat/starling/platform/certs"
	"github.com/starling-chat/starling/platform/obs"
)

// Config says where the certificate comes from. Without files and domains there is no TLS.
type Config struct {
	Files certs.Files // of the certificate and its key
	ACME  ACME
	// Plain is where plain HTTP is answered, beside HTTPS at Secure; nil: nowhere.
	Plain  net.Listener
	Secure net.Addr
}

// ACME says how certificates are fetched.
type ACME struct {
	Domains   []string // host names; none: not at all
	Email     string   // that the authority writes to; may be empty
	Directory string   // URL of the authority
	Cache     string   // folder with the account's key and the certificates
	// HTTP asks the authority; nil: http.DefaultClient.
	HTTP *http.Client
}

// Front is the TLS of a gateway's public side.
type Front struct {
	cfg     Config
	log     *slog.Logger
	tls     *tls.Config       // nil: there is no TLS
	manager *autocert.Manager // nil: certificates come from files
	refused *obs.Repeats
}

// New prepares the TLS that cfg wants.
func New(cfg Config, log *slog.Logger) *Front {
	f := &Front{cfg: cfg, log: log, refused: &obs.Repeats{Log: log, Message: "no certificate by ACME"}}
	switch {
	case len(cfg.ACME.Domains) > 0:
		f.manager = &autocert.Manager{
			Prompt: autocert.AcceptTOS, Cache: autocert.DirCache(cfg.ACME.Cache), Email: cfg.ACME.Email,
			HostPolicy: autocert.HostWhitelist(cfg.ACME.Domains...),
			Client:     &acme.Client{DirectoryURL: cfg.ACME.Directory, HTTPClient: cfg.ACME.HTTP, UserAgent: "starling"},
		}
		// Not h2: a WebSocket takes its connection over, which HTTP/2 does not allow.
		f.tls = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: f.certificate, NextProtos: []string{http1, acme.ALPNProto}}
	case !cfg.Files.Empty():
		f.tls = certs.NewSource(cfg.Files, Settings, log).Server(false)
		of := f.tls.GetConfigForClient
		f.tls.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			config, err := of(hello)
			if err == nil {
				config.NextProtos = []string{http1}
			}
			return config, err
		}
	}
	return f
}

// Settings is what the names of the settings of the files begin with.
const Settings = "TLS_"

const http1 = "http/1.1"

// Wrap is a listener whose connections speak TLS, where there is any.
func (f *Front) Wrap(l net.Listener) net.Listener {
	if f.tls == nil {
		return l
	}
	return tls.NewListener(l, f.tls)
}

// certificate is the ACME manager's, and says in the log why there is none for a domain of ours. Strangers ask for other names at will.
func (f *Front) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	cert, err := f.manager.GetCertificate(hello)
	ours := slices.ContainsFunc(f.cfg.ACME.Domains, func(d string) bool { return strings.EqualFold(d, hello.ServerName) })
	challenge := slices.Equal(hello.SupportedProtos, []string{acme.ALPNProto})
	switch {
	case !ours || challenge:
	case err != nil:
		f.refused.Failed(hello.Context(), err, slog.String("domain", hello.ServerName))
	default:
		f.refused.Over(hello.Context())
	}
	return cert, err
}

// Limits of plain HTTP: nobody has anything to say there.
const (
	headerTimeout = 5 * time.Second
	idleTimeout   = 30 * time.Second
	maxHeader     = 32 << 10
	stopTimeout   = time.Second
)

// Run fetches the certificates that are not there yet and answers plain HTTP, until ctx ends.
func (f *Front) Run(ctx context.Context) error {
	fetched := make(chan struct{})
	go func() {
		defer close(fetched)
		f.fetch(ctx)
	}()
	defer func() { <-fetched }()
	if f.cfg.Plain == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	server := &http.Server{
		Handler: f.plain(), ReadHeaderTimeout: headerTimeout, ReadTimeout: headerTimeout, WriteTimeout: headerTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(f.log.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(f.cfg.Plain) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve plain HTTP: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := server.Shutdown(stop); err != nil {
		_ = server.Close()
	}
	if err := <-served; err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve plain HTTP: %w", err)
	}
	return ctx.Err()
}

// fetch asks for a certificate of each domain, so that the first visitor need not wait for it and the log tells early what is wrong. It
// does not outlast ctx: what the authority does then is answered from the cache at the next start.
func (f *Front) fetch(ctx context.Context) {
	if f.manager == nil {
		return
	}
	for _, domain := range f.cfg.ACME.Domains {
		done := make(chan error, 1)
		go func() { // the manager cannot be cancelled; it gives up by itself after 5 minutes
			_, err := f.manager.GetCertificate(&tls.ClientHelloInfo{
				ServerName: domain, SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}, SupportedCurves: []tls.CurveID{tls.CurveP256},
				CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
			})
			done <- err
		}()
		select {
		case <-ctx.Done():
			return
		case err := <-done:
			if err != nil {
				f.refused.Failed(ctx, err, slog.String("domain", domain))
				continue
			}
			f.log.LogAttrs(ctx, slog.LevelInfo, "certificate by ACME in use", slog.String("domain", domain))
		}
	}
}

// plain answers challenges of the authority and sends everybody else to HTTPS.
func (f *Front) plain() http.Handler {
	to := http.HandlerFunc(f.redirect)
	if f.manager == nil {
		return to
	}
	return f.manager.HTTPHandler(to)
}

// redirect names the same place by HTTPS. What is not only asked for is refused instead: it has been sent in plain text already, and
// whoever sent it should learn that.
func (f *Front) redirect(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Connection", "close")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "Use HTTPS", http.StatusForbidden)
		return
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if host == "" {
		http.Error(w, "Use HTTPS", http.StatusBadRequest)
		return
	}
	if tcp, ok := f.cfg.Secure.(*net.TCPAddr); ok && tcp.Port != httpsPort {
		host = net.JoinHostPort(host, fmt.Sprint(tcp.Port))
	} else if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	w.Header().Set("Location", "https://"+host+r.URL.RequestURI())
	w.WriteHeader(http.StatusMovedPermanently)
}

const httpsPort = 443
