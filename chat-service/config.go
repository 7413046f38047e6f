package chatservice

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/starling-chat/starling/platform/run"
	"github.com/starling-chat/starling/platform/settings"
)

// Config is all settings of chat-service.
type Config struct {
	run.Common

	GRPCListen   string          `name:"grpc-listen" env:"GRPC_LISTEN" default:":7002" help:"Address of the gRPC server, host:port."`
	AdminListen  string          `name:"admin-listen" env:"ADMIN_LISTEN" default:":8082" help:"Address of health checks, metrics and pprof, host:port; empty = off."`
	ServiceToken settings.Secret `name:"service-token" env:"SERVICE_TOKEN" help:"Shared secret that gRPC callers must present; empty = none."`
	OTLPEndpoint string          `name:"otlp-endpoint" env:"OTLP_ENDPOINT" help:"Where traces go, host:port of an OTLP/gRPC collector; empty = no tracing."`

	NATSURL      settings.URL    `name:"nats-url" env:"NATS_URL" default:"nats://localhost:4222" help:"Address of NATS, or several separated by commas."`
	NATSUser     string          `name:"nats-user" env:"NATS_USER" help:"User name at NATS."`
	NATSPassword settings.Secret `name:"nats-password" env:"NATS_PASSWORD" help:"Password at NATS."`
	// NATSIgnoreDiscovered keeps to NATSURL.
	NATSIgnoreDiscovered bool `name:"nats-ignore-discovered" env:"NATS_IGNORE_DISCOVERED" help:"Connect only to the addresses in NATS_URL, not to others that the servers tell of: for servers behind a proxy."`

	DatabaseURL   settings.URL `name:"database-url" env:"DATABASE_URL" default:"postgres://starling@localhost:5432/starling" help:"Address of PostgreSQL."`
	DBMaxConns    int32        `name:"db-max-conns" env:"DB_MAX_CONNS" default:"16" help:"Largest number of connections to PostgreSQL; more than writer-lanes."`
	DBSchema      string       `name:"db-schema" env:"DB_SCHEMA" default:"chat" help:"Schema that holds the tables."`
	DBMigrate     bool         `name:"db-migrate" env:"DB_MIGRATE" default:"true" negatable:"" help:"Bring the schema up to date at start."`
	MigrateOnly   bool         `name:"migrate-only" default:"false" help:"Bring the schema up to date and exit."`
	AssertDurable bool         `name:"assert-durable" env:"ASSERT_DURABLE" default:"true" negatable:"" help:"Refuse to work on a PostgreSQL that does not flush commits to disk."`

	RoomsAutocreate bool `name:"rooms-autocreate" env:"ROOMS_AUTOCREATE" default:"true" negatable:"" help:"Joining a room that does not exist creates it."`

	Writer WriterConfig `embed:""`
	Bus    BusConfig    `embed:""`
	Stream StreamConfig `embed:"" prefix:"stream-"`

	// NATSInProcess connects to a server inside this process instead of NATSURL.
	NATSInProcess nats.InProcessConnProvider `kong:"-"`
	// GRPCListener serves instead of GRPCListen, for a process that has all services.
	GRPCListener net.Listener `kong:"-"`
}

// WriterConfig bounds the group commit.
type WriterConfig struct {
	Lanes         int           `name:"writer-lanes" env:"WRITER_LANES" default:"2" help:"Transactions that write messages at the same time. Fewer make larger batches: on two cores 2 carry more than 4."`
	BatchMax      int           `name:"batch-max" env:"BATCH_MAX" default:"200" help:"Largest number of messages in a transaction."`
	BatchWait     time.Duration `name:"batch-wait" env:"BATCH_WAIT" default:"0s" help:"How long a transaction waits for more messages, 0s to 20ms; without it, it takes those that came during the one before."`
	LaneQueue     int           `name:"lane-queue" env:"LANE_QUEUE" default:"4096" help:"Messages that may wait for each lane; beyond, senders are told to retry."`
	MembershipTTL time.Duration `name:"membership-ttl" env:"MEMBERSHIP_TTL" default:"1s" help:"How long an ephemeral event may rely on a membership once read, 0s to 1s."`
}

// BusConfig bounds the client events in work.
type BusConfig struct {
	Workers      int           `name:"event-workers" env:"EVENT_WORKERS" default:"32" help:"Client events other than messages that are worked on at the same time."`
	WorkerQueue  int           `name:"event-queue" env:"EVENT_QUEUE" default:"256" help:"Client events that may wait for each worker; beyond, clients are told to retry."`
	Inbox        int           `name:"event-inbox" env:"EVENT_INBOX" default:"16384" help:"Client events received from NATS and not yet looked at."`
	PendingBytes int64         `name:"event-pending-bytes" env:"EVENT_PENDING_BYTES" default:"67108864" help:"Bytes of client events not yet answered; beyond, clients are told to retry."`
	EventTimeout time.Duration `name:"event-timeout" env:"EVENT_TIMEOUT" default:"4s" help:"Longest work on one client event."`
	RelayPause   time.Duration `name:"relay-interval" env:"RELAY_INTERVAL" default:"500ms" help:"Time between two looks for events that were committed and not published."`
}

// StreamConfig is the replay buffer of room events in JetStream.
type StreamConfig struct {
	Replicas   int           `name:"replicas" env:"STREAM_REPLICAS" default:"1" help:"Servers that keep the stream ROOMS, 1 to 5."`
	MaxAge     time.Duration `name:"max-age" env:"STREAM_MAX_AGE" default:"10m" help:"How long the stream keeps events; more than the recovery window of 2m."`
	MaxBytes   int64         `name:"max-bytes" env:"STREAM_MAX_BYTES" default:"1073741824" help:"Largest size of the stream, bytes."`
	Duplicates time.Duration `name:"duplicates" env:"STREAM_DUPLICATES" default:"20s" help:"How long the stream recognises an event that is published again; NATS remembers every id so long."`
	Storage    string        `name:"storage" env:"STREAM_STORAGE" default:"file" enum:"file,memory" help:"Where the stream is kept: file or memory."`
}

// minStreamAge is the clients' recovery window.
const minStreamAge = 2 * time.Minute

// Validate finds settings that contradict each other or the contract.
func (c *Config) Validate() error {
	return errors.Join(
		upTo("writer-lanes", c.Writer.Lanes, 64),
		upTo("batch-max", c.Writer.BatchMax, 5000),
		upTo("lane-queue", c.Writer.LaneQueue, 1<<20),
		upTo("event-workers", c.Bus.Workers, 4096),
		upTo("event-queue", c.Bus.WorkerQueue, 1<<20),
		upTo("event-inbox", c.Bus.Inbox, 1<<20),
		upTo("stream-replicas", c.Stream.Replicas, 5),
		between("batch-wait", c.Writer.BatchWait, 0, 20*time.Millisecond),
		between("membership-ttl", c.Writer.MembershipTTL, 0, time.Second),
		between("event-timeout", c.Bus.EventTimeout, 100*time.Millisecond, time.Minute),
		between("relay-interval", c.Bus.RelayPause, 10*time.Millisecond, time.Minute),
		between("stream-max-age", c.Stream.MaxAge, minStreamAge, 30*24*time.Hour),
		between("stream-duplicates", c.Stream.Duplicates, time.Second, c.Stream.MaxAge),
		c.validateRest(),
	)
}

func (c *Config) validateRest() error {
	switch {
	case int(c.DBMaxConns) <= c.Writer.Lanes:
		return errors.New("db-max-conns must be greater than writer-lanes")
	case c.Bus.PendingBytes < 1<<20:
		return errors.New("event-pending-bytes must be at least 1048576")
	case c.Stream.MaxBytes < 1<<20:
		return errors.New("stream-max-bytes must be at least 1048576")
	case c.DBSchema == "":
		return errors.New("db-schema must not be empty")
	}
	return nil
}

func upTo(name string, n, most int) error {
	if n < 1 || n > most {
		return fmt.Errorf("%s must be from 1 to %d", name, most)
	}
	return nil
}

func between(name string, d, least, most time.Duration) error {
	if d < least || d > most {
		return fmt.Errorf("%s must be from %v to %v", name, least, most)
	}
	return nil
}
