package bus

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/starling-chat/starling/platform/certs"
	"github.com/starling-chat/starling/platform/settings"
)

// Settings says where NATS is. The Config of a service embeds it, so that all services name these settings alike.
type Settings struct {
	URL      settings.URL    `name:"nats-url" env:"NATS_URL" default:"nats://localhost:4222" help:"NATS, one URL or several separated by commas."`
	User     string          `name:"nats-user" env:"NATS_USER" help:"NATS user; empty connects as the URL says."`
	Password settings.Secret `name:"nats-password" env:"NATS_PASSWORD" help:"Password of the NATS user."`
	Other    settings.Secret `name:"nats-password-other" env:"NATS_PASSWORD_OTHER" help:"A second password of the NATS user, tried in turn with the first, while one replaces the other."`
	Creds    string          `name:"nats-creds" env:"NATS_CREDS" help:"File with NATS credentials (a user's JWT and key, .creds), instead of NATS_USER and NATS_PASSWORD."`
	CA       string          `name:"nats-tls-ca" env:"NATS_TLS_CA" help:"File with the authorities (PEM) that sign the certificates of NATS; given, NATS is spoken to by TLS only. Empty: as NATS_URL says, tls:// with the authorities of the system."`
	Cert     string          `name:"nats-tls-cert" env:"NATS_TLS_CERT" help:"File with the certificate (PEM) that this service shows to NATS."`
	Key      string          `name:"nats-tls-key" env:"NATS_TLS_KEY" help:"File with the key (PEM) of that certificate."`
	// IgnoreDiscovered keeps to URL.
	IgnoreDiscovered bool `name:"nats-ignore-discovered" env:"NATS_IGNORE_DISCOVERED" help:"Connect only to the addresses in NATS_URL, not to others that the servers tell of: for servers behind a proxy."`

	// InProcess is a server inside this process, used instead of URL where set.
	InProcess nats.InProcessConnProvider `kong:"-"`
}

// Validate tells what is wrong with the settings, in one line.
func (s *Settings) Validate() error {
	var faults settings.Faults
	faults.If(s.URL == "" && s.InProcess == nil, "NATS_URL must not be empty")
	faults.In("NATS_URL", s.URL.Check())
	faults.In("NATS_CREDS", checkCreds(s.Creds))
	faults.If(s.Other != "" && (s.User == "" || strings.Contains(s.URL.Reveal(), "@")), "NATS_PASSWORD_OTHER needs NATS_USER, and no user in NATS_URL")
	return errors.Join(faults.Err(), s.files().Check(tlsSettings))
}

const tlsSettings = "NATS_TLS_"

func (s *Settings) files() certs.Files { return certs.Files{Cert: s.Cert, Key: s.Key, CA: s.CA} }

// checkCreds tells what is wrong with a credentials file; nothing of the file is in the error.
func checkCreds(file string) error {
	if file == "" {
		return nil
	}
	text, err := os.ReadFile(file) //nolint:gosec // chosen by the operator
	if err != nil {
		return err
	}
	if token, err := nkeys.ParseDecoratedJWT(text); err != nil || !strings.HasPrefix(token, "eyJ") {
		return fmt.Errorf("%s: there is no user's JWT in it", file)
	}
	if _, err := nkeys.ParseDecoratedUserNKey(text); err != nil {
		return fmt.Errorf("%s: there is no user's key in it", file)
	}
	return nil
}

// Config returns what Connect takes, for the service called name.
func (s *Settings) Config(name string, log *slog.Logger) Config {
	cfg := Config{
		URL: s.URL, Name: name, User: s.User, Password: s.Password, OtherPassword: s.Other, CredsFile: s.Creds,
		IgnoreDiscovered: s.IgnoreDiscovered, InProcess: s.InProcess, Log: log,
	}
	if files := s.files(); !files.Empty() {
		cfg.TLS = certs.NewSource(files, tlsSettings, log)
	}
	return cfg
}
