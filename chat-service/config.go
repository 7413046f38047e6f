package chatservice

import (
	"errors"
	"fmt"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/platform/bus"
	"github.com/starling-chat/starling/platform/obs"
	"github.com/starling-chat/starling/platform/pg"
	"github.com/starling-chat/starling/platform/rpc"
	"github.com/starling-chat/starling/platform/run"
	"github.com/starling-chat/starling/platform/settings"
	"github.com/starling-chat/starling/platform/stall"
)

// Config is all settings of chat-service.
type Config struct {
	run.Common

	Obs      obs.Settings   `embed:"" set:"admin_listen=:8082"`
	RPC      rpc.Settings   `embed:"" set:"grpc_listen=:7002"`
	NATS     bus.Settings   `embed:""`
	Stall    stall.Settings `embed:""`
	Database pg.Settings    `embed:"" set:"db_schema=chat" set:"db_max_conns=16"` //nolint:staticcheck // kong takes set more than once

	AssertDurable   bool   `name:"assert-durable" env:"ASSERT_DURABLE" default:"true" negatable:"" help:"Refuse to work on a PostgreSQL that does not flush commits to disk."`
	RoomsAutocreate string `name:"rooms-autocreate" env:"ROOMS_AUTOCREATE" default:"public" enum:"public,private,off,true,false" help:"What joining a room that does not exist makes: a public room, a private one, or nothing (off). true is public, false is off."`

	ChatBroadcast string `name:"chat-broadcast" env:"CHAT_BROADCAST" default:"everyone" enum:"everyone,admin,off" help:"Who may send chat:message, which reaches every socket of the namespace: everyone, admin or off (nobody)."`

	Quotas   QuotaConfig    `embed:""`
	Messages MessagesConfig `embed:""`
	Writer   WriterConfig   `embed:""`
	Bus      BusConfig      `embed:""`
	Stream   StreamConfig   `embed:"" prefix:"stream-"`
}

// QuotaConfig bounds rooms, and what one user does to them, over all gateways.
type QuotaConfig struct {
	Members   int `name:"max-room-members" env:"MAX_ROOM_MEMBERS" default:"0" help:"Members of one room at most, a number, whatever its own maxMembers says; 0 is no limit."`
	Rooms     int `name:"user-rooms-per-hour" env:"USER_ROOMS_PER_HOUR" default:"200" help:"Rooms that one user makes in an hour at most, a number, direct ones and those made by joining included; 0 is no limit."`
	JoinRate  int `name:"user-join-rate" env:"USER_JOIN_RATE" default:"60" help:"Rooms that one user becomes a member of by itself, per minute for long; 0 is no limit. Joining a room that one is a member of does not count."`
	JoinBurst int `name:"user-join-burst" env:"USER_JOIN_BURST" default:"300" help:"Rooms that one user becomes a member of at once, a number."`
}

func (q QuotaConfig) validate() error {
	switch {
	case q.Members < 0 || q.Members == 1 || q.Members > 10_000_000:
		return errors.New("MAX_ROOM_MEMBERS must be 0, or from 2 to 10000000")
	case q.Rooms < 0 || q.Rooms > 10_000:
		return errors.New("USER_ROOMS_PER_HOUR must be from 0 to 10000")
	case q.JoinRate < 0 || q.JoinRate > 1_000_000:
		return errors.New("USER_JOIN_RATE must be from 0 to 1000000")
	case q.JoinBurst < 1 || q.JoinBurst > 1_000_000:
		return errors.New("USER_JOIN_BURST must be from 1 to 1000000")
	}
	return nil
}

func (c *Config) quotas() rules.Quotas { return rules.Quotas(c.Quotas) }

// MessagesConfig is about messages that were sent.
type MessagesConfig struct {
	EditWindow time.Duration `name:"edit-window" env:"EDIT_WINDOW" default:"0s" help:"How long after sending it authors may edit a message, a duration; 0s is for good. Moderators may at any time."`
	KeepEdits  bool          `name:"keep-edits" env:"KEEP_EDITS" default:"false" negatable:"" help:"Keep what a message was before it was edited, and show it to those who may read the room (message:edits). A deleted message keeps nothing."`
}

// WriterConfig bounds the group commit.
type WriterConfig struct {
	Lanes         int           `name:"writer-lanes" env:"WRITER_LANES" default:"2" help:"Transactions that write messages at the same time, a number. Fewer make larger batches: on two cores 2 carry more than 4."`
	BatchMax      int           `name:"batch-max" env:"BATCH_MAX" default:"200" help:"Messages in one transaction at most, a number."`
	BatchWait     time.Duration `name:"batch-wait" env:"BATCH_WAIT" default:"0s" help:"How long a transaction waits for more messages, a duration of 0s to 20ms; without it, it takes those that came during the one before."`
	LaneQueue     int           `name:"lane-queue" env:"LANE_QUEUE" default:"4096" help:"Messages that may wait for each lane, and receipts for theirs, a number; beyond, senders are told to retry."`
	MembershipTTL time.Duration `name:"membership-ttl" env:"MEMBERSHIP_TTL" default:"1s" help:"How long an ephemeral event may rely on a membership once read, a duration of 0s to 1s."`
}

// BusConfig bounds the client events in work.
type BusConfig struct {
	Workers      int           `name:"event-workers" env:"EVENT_WORKERS" default:"32" help:"Client events that store nothing which are worked on at the same time, a number."`
	WorkerQueue  int           `name:"event-queue" env:"EVENT_QUEUE" default:"256" help:"Client events that may wait for each worker, a number; beyond, clients are told to retry."`
	Inbox        int           `name:"event-inbox" env:"EVENT_INBOX" default:"16384" help:"Client events received from NATS and not yet looked at, a number."`
	PendingBytes int64         `name:"event-pending-bytes" env:"EVENT_PENDING_BYTES" default:"67108864" help:"Client events not yet answered, in bytes; beyond, clients are told to retry."`
	EventTimeout time.Duration `name:"event-timeout" env:"EVENT_TIMEOUT" default:"4s" help:"Longest work on one client event, a duration."`
	RelayPause   time.Duration `name:"relay-interval" env:"RELAY_INTERVAL" default:"500ms" help:"Between two looks for events that were committed and not published, a duration."`
}

// StreamConfig is the replay buffer of room events in JetStream.
type StreamConfig struct {
	Replicas   int           `name:"replicas" env:"STREAM_REPLICAS" default:"1" help:"Servers that keep the stream ROOMS, a number of 1 to 5."`
	MaxAge     time.Duration `name:"max-age" env:"STREAM_MAX_AGE" default:"10m" help:"How long the stream keeps events, a duration; more than the recovery window of 2m."`
	MaxBytes   int64         `name:"max-bytes" env:"STREAM_MAX_BYTES" default:"1073741824" help:"Largest size of the stream, in bytes."`
	Duplicates time.Duration `name:"duplicates" env:"STREAM_DUPLICATES" default:"20s" help:"How long the stream recognises an event that is published again, a duration; NATS remembers every id so long."`
	Storage    string        `name:"storage" env:"STREAM_STORAGE" default:"file" enum:"file,memory" help:"Where the stream is kept: file or memory."`
}

// minStreamAge is the clients' recovery window.
const minStreamAge = 2 * time.Minute

// Validate finds settings that contradict each other or the contract.
func (c *Config) Validate() error {
	return errors.Join(
		upTo("WRITER_LANES", c.Writer.Lanes, 64),
		upTo("BATCH_MAX", c.Writer.BatchMax, 5000),
		upTo("LANE_QUEUE", c.Writer.LaneQueue, 1<<20),
		upTo("EVENT_WORKERS", c.Bus.Workers, 4096),
		upTo("EVENT_QUEUE", c.Bus.WorkerQueue, 1<<20),
		upTo("EVENT_INBOX", c.Bus.Inbox, 1<<20),
		upTo("STREAM_REPLICAS", c.Stream.Replicas, 5),
		between("BATCH_WAIT", c.Writer.BatchWait, 0, 20*time.Millisecond),
		between("MEMBERSHIP_TTL", c.Writer.MembershipTTL, 0, time.Second),
		between("EVENT_TIMEOUT", c.Bus.EventTimeout, 100*time.Millisecond, time.Minute),
		between("RELAY_INTERVAL", c.Bus.RelayPause, 10*time.Millisecond, time.Minute),
		between("STREAM_MAX_AGE", c.Stream.MaxAge, minStreamAge, 30*24*time.Hour),
		between("STREAM_DUPLICATES", c.Stream.Duplicates, time.Second, c.Stream.MaxAge),
		c.Quotas.validate(),
		between("EDIT_WINDOW", c.Messages.EditWindow, 0, 100*365*24*time.Hour),
		c.validateRest(),
	)
}

// autocreate is the kind of rooms that are made because somebody joins them; "" = none.
func (c *Config) autocreate() access.Kind {
	switch c.RoomsAutocreate {
	case "public", "true":
		return access.Public
	case "private":
		return access.Private
	default:
		return ""
	}
}

func (c *Config) validateRest() error {
	var faults settings.Faults
	faults.If(int(c.Database.MaxConns) <= c.Writer.Lanes, "DB_MAX_CONNS must be greater than WRITER_LANES")
	faults.If(c.Bus.PendingBytes < 1<<20, "EVENT_PENDING_BYTES must be at least 1048576")
	faults.If(c.Stream.MaxBytes < 1<<20, "STREAM_MAX_BYTES must be at least 1048576")
	return faults.Err()
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
