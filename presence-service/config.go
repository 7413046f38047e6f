package presenceservice

import (
	"time"

	"github.com/starling-chat/starling/platform/bus"
	"github.com/starling-chat/starling/platform/obs"
	"github.com/starling-chat/starling/platform/pg"
	"github.com/starling-chat/starling/platform/rpc"
	"github.com/starling-chat/starling/platform/run"
	"github.com/starling-chat/starling/platform/settings"
	"github.com/starling-chat/starling/platform/stall"
	"github.com/starling-chat/starling/presence-service/internal/presence"
)

// Name is the name of the service, of its queue group and of its inboxes.
const Name = "presence-service"

// Config holds the settings.
type Config struct {
	run.Common
	Obs      obs.Settings   `embed:"" set:"admin_listen=:8083"`
	RPC      rpc.Settings   `embed:"" set:"grpc_listen=:7003"`
	NATS     bus.Settings   `embed:""`
	Stall    stall.Settings `embed:""`
	Database pg.Settings    `embed:"" set:"db_schema=presence" set:"db_max_conns=4"` //nolint:staticcheck // kong takes set more than once

	ChatAddr     string        `name:"chat-service-addr" env:"CHAT_SERVICE_ADDR" default:"localhost:7002" help:"chat-service, host:port for gRPC, or several separated by commas."`
	LeaseExpiry  time.Duration `name:"lease-expiry" env:"LEASE_EXPIRY" default:"10s" help:"Silence after which a gateway and its sockets count as gone, a duration of 4s to 10m; gateways send heartbeats every 3s."`
	OfflineGrace time.Duration `name:"offline-grace" env:"OFFLINE_GRACE" default:"2s" help:"How long a user stays online after the last socket went, to hide reconnects, a duration."`
	Scope        string        `name:"presence-scope" env:"PRESENCE_SCOPE" default:"everyone" enum:"everyone,rooms,none" help:"Who may know of whom that he is online: everyone, rooms (who shares a room) or none (nobody, and nothing is stored)."`
	WatchedRoom  int           `name:"max-watched-room" env:"MAX_WATCHED_ROOM" default:"500" help:"Members of the largest room that clients may watch as a whole, a number of 1 to 5000."`

	// PublishEvery and RefreshEvery are how often gateways are told who is online, at most and at least; 0 takes what
	// gateways are used to.
	PublishEvery time.Duration `kong:"-"`
	RefreshEvery time.Duration `kong:"-"`
}

// Validate tells what is wrong with the settings, one fault a line.
func (c *Config) Validate() error {
	var faults settings.Faults
	faults.If(c.LeaseExpiry < 4*time.Second || c.LeaseExpiry > 10*time.Minute, "LEASE_EXPIRY must be 4s to 10m") // more than one heartbeat
	faults.If(c.OfflineGrace < 0 || c.OfflineGrace > time.Minute, "OFFLINE_GRACE must be 0s to 1m")
	faults.If(c.WatchedRoom < 1 || c.WatchedRoom > presence.MaxMembers, "MAX_WATCHED_ROOM must be 1 to %d", presence.MaxMembers)
	faults.In("CHAT_SERVICE_ADDR", rpc.CheckTarget(c.ChatAddr))
	return faults.Err()
}

func (c *Config) database() pg.Config { return c.Database.Config(Name, c.Obs.Traces()) }

func (c *Config) presence() presence.Config {
	return presence.Config{
		LeaseExpiry: c.LeaseExpiry, OfflineGrace: c.OfflineGrace,
		PublishEvery: c.PublishEvery, RefreshEvery: c.RefreshEvery, Scope: presence.Scope(c.Scope),
	}
}
