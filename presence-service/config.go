package presenceservice

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/starling-chat/starling/platform/bus"
	"github.com/starling-chat/starling/platform/pg"
	"github.com/starling-chat/starling/platform/run"
	"github.com/starling-chat/starling/platform/settings"
	"github.com/starling-chat/starling/presence-service/internal/presence"
)

// Name is the name of the service, of its queue group and of its inboxes.
const Name = "presence-service"

// Config holds the settings.
type Config struct {
	run.Common `embed:""`

	NATSURL      settings.URL    `name:"nats-url" env:"NATS_URL" default:"nats://localhost:4222" help:"NATS servers, URLs separated by commas."`
	NATSUser     string          `name:"nats-user" env:"NATS_USER" default:"" help:"NATS user; empty = as the URL says."`
	NATSPassword settings.Secret `name:"nats-password" env:"NATS_PASSWORD" default:"" help:"Password of the NATS user."`
	// NATSIgnoreDiscovered keeps to NATSURL.
	NATSIgnoreDiscovered bool `name:"nats-ignore-discovered" env:"NATS_IGNORE_DISCOVERED" help:"Connect only to the addresses in NATS_URL, not to others that the servers tell of: for servers behind a proxy."`

	DatabaseURL settings.URL `name:"database-url" env:"DATABASE_URL" default:"postgres://localhost:5432/starling" help:"PostgreSQL database, a URL."`
	DBMaxConns  int32        `name:"db-max-conns" env:"DB_MAX_CONNS" default:"4" help:"Most connections in the pool, a count; one more holds the leader lock."`
	DBSchema    string       `name:"db-schema" env:"DB_SCHEMA" default:"presence" help:"PostgreSQL schema of this service."`
	DBMigrate   bool         `name:"db-migrate" env:"DB_MIGRATE" default:"true" negatable:"" help:"Migrate the schema at start."`
	MigrateOnly bool         `name:"migrate-only" default:"false" help:"Migrate the schema and exit."`

	GRPCListen   string          `name:"grpc-listen" env:"GRPC_LISTEN" default:":7003" help:"Address of the gRPC server, host:port."`
	AdminListen  string          `name:"admin-listen" env:"ADMIN_LISTEN" default:":8083" help:"Address of health, metrics and profiles, host:port; empty = off."`
	ServiceToken settings.Secret `name:"service-token" env:"SERVICE_TOKEN" default:"" help:"Secret that the services share for gRPC; empty = not asked for."`
	ChatAddr     string          `name:"chat-service-addr" env:"CHAT_SERVICE_ADDR" default:"localhost:7002" help:"Address of chat-service, host:port, or several separated by commas."`
	OTLPEndpoint string          `name:"otlp-endpoint" env:"OTLP_ENDPOINT" default:"" help:"Where traces go by OTLP/gRPC, host:port or URL; empty = no traces."`

	LeaseExpiry  time.Duration `name:"lease-expiry" env:"LEASE_EXPIRY" default:"10s" help:"Silence after which a gateway and its sockets count as gone, a duration of 4s to 10m; gateways send heartbeats every 3s."`
	OfflineGrace time.Duration `name:"offline-grace" env:"OFFLINE_GRACE" default:"2s" help:"How long a user stays online after the last socket went, to hide reconnects, a duration."`

	// NATSInProcess is used instead of NATSURL where everything runs in one process.
	NATSInProcess nats.InProcessConnProvider `kong:"-"`
	// GRPCListener is used instead of GRPCListen where given.
	GRPCListener net.Listener `kong:"-"`
}

// Validate tells the first setting that is wrong, in one line.
func (c *Config) Validate() error {
	switch {
	case c.LeaseExpiry < 4*time.Second || c.LeaseExpiry > 10*time.Minute: // more than one heartbeat
		return fmt.Errorf("LEASE_EXPIRY is %v, must be 4s to 10m", c.LeaseExpiry)
	case c.OfflineGrace < 0 || c.OfflineGrace > time.Minute:
		return fmt.Errorf("OFFLINE_GRACE is %v, must be 0s to 1m", c.OfflineGrace)
	case c.DBMaxConns < 1:
		return fmt.Errorf("DB_MAX_CONNS is %d, must be 1 or more", c.DBMaxConns)
	case c.DBSchema == "":
		return errors.New("DB_SCHEMA must not be empty")
	case c.DatabaseURL == "":
		return errors.New("DATABASE_URL must not be empty")
	case c.NATSURL == "" && c.NATSInProcess == nil:
		return errors.New("NATS_URL must not be empty")
	case c.ChatAddr == "":
		return errors.New("CHAT_SERVICE_ADDR must not be empty")
	}
	return nil
}

func (c *Config) database() pg.Config {
	return pg.Config{
		URL: c.DatabaseURL, MaxConns: c.DBMaxConns, Schema: c.DBSchema, AppName: Name, Trace: c.OTLPEndpoint != "",
	}
}

func (c *Config) bus() bus.Config {
	return bus.Config{
		URL: c.NATSURL, Name: Name, User: c.NATSUser, Password: c.NATSPassword,
		IgnoreDiscovered: c.NATSIgnoreDiscovered, InProcess: c.NATSInProcess,
	}
}

func (c *Config) presence() presence.Config {
	return presence.Config{LeaseExpiry: c.LeaseExpiry, OfflineGrace: c.OfflineGrace}
}
