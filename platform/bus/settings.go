package bus

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/nats-io/nats.go"

	"github.com/starling-chat/starling/platform/settings"
)

// Settings says where NATS is. The Config of a service embeds it, so that all services name these settings alike.
type Settings struct {
	URL      settings.URL    `name:"nats-url" env:"NATS_URL" default:"nats://localhost:4222" help:"NATS, one URL or several separated by commas."`
	User     string          `name:"nats-user" env:"NATS_USER" help:"NATS user; empty connects as the URL says."`
	Password settings.Secret `name:"nats-password" env:"NATS_PASSWORD" help:"Password of the NATS user."`
	// IgnoreDiscovered keeps to URL.
	IgnoreDiscovered bool `name:"nats-ignore-discovered" env:"NATS_IGNORE_DISCOVERED" help:"Connect only to the addresses in NATS_URL, not to others that the servers tell of: for servers behind a proxy."`

	// InProcess is a server inside this process, used instead of URL where set.
	InProcess nats.InProcessConnProvider `kong:"-"`
}

// Validate tells what is wrong with the settings, in one line.
func (s *Settings) Validate() error {
	if s.URL == "" && s.InProcess == nil {
		return errors.New("NATS_URL must not be empty")
	}
	if err := s.URL.Check(); err != nil {
		return fmt.Errorf("NATS_URL: %w", err)
	}
	return nil
}

// Config returns what Connect takes, for the service called name.
func (s *Settings) Config(name string, log *slog.Logger) Config {
	return Config{
		URL: s.URL, Name: name, User: s.User, Password: s.Password,
		IgnoreDiscovered: s.IgnoreDiscovered, InProcess: s.InProcess, Log: log,
	}
}
