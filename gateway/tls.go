package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"

	"github.com/starling-chat/starling/gateway/internal/https"
	"github.com/starling-chat/starling/platform/certs"
	"github.com/starling-chat/starling/platform/settings"
)

// Validate tells what is wrong with the settings of TLS for clients, one fault a line.
func (t *TLS) Validate() error {
	var faults settings.Faults
	acme := len(t.domains()) > 0
	faults.If(acme && t.Cert+t.Key != "", "ACME_DOMAINS and TLS_CERT exclude each other")
	faults.If(t.Plain != "" && !t.On(), "HTTP_LISTEN needs TLS_CERT or ACME_DOMAINS: there is no HTTPS beside it")
	for _, domain := range t.domains() {
		faults.If(!isDomain(domain), "ACME_DOMAINS: %q is not a host name such as chat.example.com", domain)
	}
	if acme {
		faults.In("ACME_DIRECTORY", checkDirectory(t.Directory))
	}
	if t.Plain != "" {
		faults.In("HTTP_LISTEN", settings.CheckAddress(t.Plain))
	}
	return errors.Join(t.files().Check(https.Settings), faults.Err())
}

// On tells whether clients are answered by HTTPS.
func (t *TLS) On() bool { return t.Cert != "" || len(t.domains()) > 0 }

// domains are those of the setting; nothing may stand between two commas.
func (t *TLS) domains() (names []string) {
	for _, name := range t.Domains {
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
		}
	}
	return names
}

func (t *TLS) files() certs.Files { return certs.Files{Cert: t.Cert, Key: t.Key} }

// isDomain tells whether a name may stand in a certificate by ACME here: a host with a domain, no address and no wildcard.
func isDomain(name string) bool {
	return strings.Contains(strings.Trim(name, "."), ".") && !strings.ContainsAny(name, "*/: \t@") && net.ParseIP(name) == nil
}

// checkDirectory: who could change what the authority says could have certificates refused, or given by another one.
func checkDirectory(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "":
		return fmt.Errorf("%q is not a URL", address)
	case u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname()):
		return nil
	}
	return fmt.Errorf("%q is not https://", address)
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// listenPublic takes the addresses for clients, and gives what makes those connections speak TLS: the caller runs it.
func listenPublic(ctx context.Context, cfg Config, log *slog.Logger) (net.Listener, *https.Front, error) {
	public, err := listen(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	plain := cfg.TLS.PlainListener
	if plain == nil && cfg.TLS.Plain != "" {
		if plain, err = settings.Listen(ctx, "HTTP_LISTEN", cfg.TLS.Plain); err != nil {
			_ = public.Close()
			return nil, nil, err
		}
	}
	front := https.New(https.Config{
		Files: cfg.TLS.files(), Plain: plain, Secure: public.Addr(),
		ACME: https.ACME{Domains: cfg.TLS.domains(), Email: cfg.TLS.Email, Directory: cfg.TLS.Directory, Cache: cfg.TLS.Cache},
	}, log)
	log.LogAttrs(ctx, slog.LevelInfo, "gateway listens", slog.String("address", public.Addr().String()), slog.Bool("tls", cfg.TLS.On()))
	return front.Wrap(public), front, nil
}
