package roomfeed

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/starling-chat/starling/gateway/internal/hub"
	"github.com/starling-chat/starling/gateway/internal/sequence"
	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/stats"
	"github.com/starling-chat/starling/gateway/internal/transport"
	"github.com/starling-chat/starling/platform/obs"
	"github.com/starling-chat/starling/platform/run"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/limits"
	"github.com/starling-chat/starling/proto/subject"
)

// Config holds the feed's patience.
type Config struct {
	Gateway      string        // this gateway's id
	Linger       time.Duration // how long a room stays subscribed after its last release
	GapWait      time.Duration // how long a missing event may still come by itself
	HeadInterval time.Duration // between comparisons of room heads
}

// Deps are what the feed stands on.
type Deps struct {
	Bus    *nats.Conn
	Source Source
	Hub    *hub.Hub
	Stats  *stats.Stats
	Log    *slog.Logger
}

// Listener hears what the feed notices, from the goroutines of the feed, several at the same time.
type Listener struct {
	// Evicted hears of a socket that an event took out of a room. It has to have the hub let go of it (Hub.LeaveEvicted).
	Evicted func(s *session.Socket, roomID string)
	// Out hears of users who are no members of a room any more, before that is confirmed; nil = nobody does.
	Out func(roomID string, userIDs []string)
	// Log hears of events of a user's log before the hub has them.
	Log func(userID string, events []*eventv1.RoomEvent)
	// Lag hears, after every batch, how long the deliveries of a hub shard are behind.
	Lag func(shard int, lag time.Duration)
}

// Feed is the room events of one gateway.
type Feed struct {
	cfg  Config
	deps Deps

	subscriptions *subscriptions
	repairs       *repairs
	listener      Listener    // set by Run
	shards        []shard     // one for each of the hub
	blind         atomic.Bool // the bus was away, and the rooms have not caught up since
}

const (
	// shardBuffer is how many messages with room events of one shard may wait; what overflows is found by its sequence and
	// fetched.
	shardBuffer = 4096
	// batch is how many messages are handled between two flushes, when so many wait.
	batch = 256
)

// New makes a feed; Run has it flow.
func New(cfg Config, deps Deps) *Feed {
	f := &Feed{cfg: cfg, deps: deps, shards: make([]shard, deps.Hub.Shards())}
	for i := range f.shards {
		f.shards[i].msgs = make(chan *nats.Msg, shardBuffer)
	}
	f.subscriptions = newSubscriptions(f)
	f.repairs = newRepairs(f)
	return f
}

// shard is the messages with events of one hub shard's rooms.
type shard struct {
	msgs    chan *nats.Msg
	taken   atomic.Uint64 // how many were taken from msgs
	handled atomic.Uint64 // of how many of these the hub has the events
}

// waiting is what handled comes to when the hub has what waits now.
func (s *shard) waiting() uint64 { return s.taken.Load() + uint64(len(s.msgs)) }

// shardOf gives the shard to which the events of a room, or of a user's log, come.
func (f *Feed) shardOf(roomID string) *shard {
	if _, isLog := limits.UserOfLog(roomID); isLog {
		return &f.shards[0] // they are few, and go to the rooms of any shard: the hub locks
	}
	return &f.shards[f.deps.Hub.Shard(roomID)]
}

// Run takes in room events, repairs gaps and ends subscriptions that nobody needs, until ctx ends.
func (f *Feed) Run(ctx context.Context, listener Listener) error {
	f.listener = listener
	logs, err := f.deps.Bus.ChanSubscribe(subject.AllUserLogs, f.shards[0].msgs) // see shardOf
	if err != nil {
		return fmt.Errorf("subscribe to the logs of users: %w", err)
	}
	defer func() { _ = logs.Unsubscribe() }() // the connection is closed next
	var g run.Group
	for i := range f.shards {
		g.Go("room events", func(ctx context.Context) error { return f.pump(ctx, i) })
	}
	g.Go("room subscriptions", f.subscriptions.run)
	g.Go("repairs", f.repairs.run)
	g.Go("heads", f.repairs.compareHeads)
	g.Go("evictions", f.evictions)
	return g.Run(ctx)
}

// Lost is to be called when the bus is away. From then on, until the rooms have caught up, events that are not stored are dropped:
// they would overtake the event that took a socket's user out of the room.
func (f *Feed) Lost() {
	f.blind.Store(true)
	f.repairs.compared.Store(false)
}

// Behind tells that the rooms have not caught up since the bus was away.
func (f *Feed) Behind() bool { return f.blind.Load() }

// Resync is to be called when the bus is back: it has the heads compared at once, to find what was missed meanwhile.
func (f *Feed) Resync() { f.repairs.compareNow() }

// Repair has a room's events fetched that it lacks up to a sequence, unless they come by themselves.
func (f *Feed) Repair(roomID string, head uint64) { f.repairs.request(roomID, head) }

// pump takes the messages of one shard to the hub, in order. Everything that waits is queued before anything is flushed: under
// load many frames to one conn leave in one write, without load a frame leaves at once.
func (f *Feed) pump(ctx context.Context, shard int) error {
	s := &f.shards[shard]
	apply := func(msg *nats.Msg, flushes *transport.FlushSet) {
		s.taken.Add(1)
		f.applyMessage(msg, flushes)
		s.handled.Add(1)
	}
	var flushes transport.FlushSet
	var b backlog
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case msg := <-s.msgs:
			began, n := time.Now(), min(len(s.msgs), batch)
			apply(msg, &flushes)
			for range n {
				apply(<-s.msgs, &flushes)
			}
			flushes.Flush()
			f.listener.Lag(shard, b.after(n+1, time.Since(began), len(s.msgs)))
		}
	}
}

func (f *Feed) applyMessage(msg *nats.Msg, flushes *transport.FlushSet) {
	if obs.Traced() {
		if parent := msg.Header.Get(obs.TraceHeader); parent != "" {
			_, span := obs.StartSpan(context.Background(), obs.Receiving, "fan-out", parent) //nolint:forbidigo // it belongs to who sent it
			defer span.End("")
		}
	}
	events, position, err := f.deps.Source.Live(msg)
	if err != nil {
		f.deps.Log.Warn("room events cannot be decoded", slog.String("subject", msg.Subject), slog.Any("error", err))
		return
	}
	f.apply(events, position, flushes)
}

// apply gives events of one room to the hub; position is theirs in the stream, 0 when it is not known.
func (f *Feed) apply(events []*eventv1.RoomEvent, position uint64, flushes *transport.FlushSet) {
	if len(events) == 0 {
		return
	}
	roomID := events[0].GetRoomId()
	mapped := make([]sequence.Event, 0, len(events))
	for _, e := range events {
		if e.GetSeq() != 0 || !f.blind.Load() {
			mapped = append(mapped, Event(e))
		}
	}
	if user, ok := limits.UserOfLog(roomID); ok {
		position = 0 // a log shares its subject of the stream with others
		f.listener.Log(user, events)
	}
	fx := f.deps.Hub.ApplyAll(roomID, mapped, position, flushes)
	for _, s := range fx.Evicted {
		f.listener.Evicted(s, roomID)
	}
	if fx.GapFound { // it is repaired unless it closes by itself within GapWait
		f.repairs.request(roomID, 0)
	}
}

// Event maps the wire form of a room event; RoomID comes from the payload because the subject may hold a hash of it.
func Event(e *eventv1.RoomEvent) sequence.Event {
	var causedAt time.Time
	if t := e.GetCausedAt(); t != nil {
		causedAt = t.AsTime()
	}
	return sequence.Event{
		RoomID: e.GetRoomId(), Seq: e.GetSeq(),
		Name: e.GetEmit().GetEvent(), Args: e.GetEmit().GetArgs(), Attachments: e.GetEmit().GetAttachments(),
		ExceptSocket: e.GetExceptSocketId(), ExceptUser: e.GetExceptUserId(), EvictUser: e.GetEvictUserId(), CausedAt: causedAt,
	}
}

// backlog measures how long what waits for a pump will take it, by what the last messages took.
type backlog struct {
	each float64 // nanoseconds a message, smoothed
}

// after notes a batch of n messages that is done, and gives the time that the waiting ones will take.
func (b *backlog) after(n int, took time.Duration, waiting int) time.Duration {
	const weight = 0.2
	b.each += weight * (float64(took)/float64(n) - b.each)
	return time.Duration(b.each * float64(waiting))
}
