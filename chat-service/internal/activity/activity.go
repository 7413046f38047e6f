// Package activity tells gateways how rooms stand in which something was said, edited or deleted, for the inboxes of members who have not
// joined them.
//
//	committed ─▶ Seen ─▶ the room is noted ─▶ every Interval: how do the rooms stand that were noted? ─▶ one message for each shard of rooms
//
// What is told is how a room stands by then, whatever the number of messages: a lost one is mended by the next. As long as no gateway says
// that it has an inbox, nothing is noted and nothing is read.
package activity

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/wire"
	"github.com/starling-chat/starling/platform/obs"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

const (
	// Interval is how long a room waits at most to be told.
	Interval = 200 * time.Millisecond
	// wantedFor is how long a gateway's word holds that it has an inbox; gateways say so every few seconds. For as long a replica that has
	// just started, or was cut off, counts as wanted.
	wantedFor = 10 * time.Second
	// most bounds the rooms that are noted. Beyond, a room is told with its next message.
	most = 100_000
	// page is how many rooms are read at once, and readTimeout for how long.
	page        = 500
	readTimeout = 3 * time.Second
	// messageBytes is about how much one message on the bus has.
	messageBytes = 128 << 10
)

// Teller tells the activity of rooms. Its methods are safe for concurrent use.
type Teller struct {
	// Fixed at birth.
	nc      *nats.Conn
	read    func(context.Context, []chat.RoomID) ([]chat.Activity, error)
	failing obs.Repeats

	until atomic.Int64 // until when somebody wants it, in Unix nanoseconds

	mu    sync.Mutex // guards noted
	noted map[chat.RoomID]struct{}
}

// New returns a Teller, which reads how rooms stand with read; it tells while Run runs.
func New(nc *nats.Conn, read func(context.Context, []chat.RoomID) ([]chat.Activity, error), log *slog.Logger) *Teller {
	t := &Teller{nc: nc, read: read, failing: obs.Repeats{Log: log, Message: "activity of rooms not told, it will be"}, noted: map[chat.RoomID]struct{}{}}
	t.Wanted()
	return t
}

// Wanted notes that a gateway has an inbox, or may have: it is to be called when the bus is back, too.
func (t *Teller) Wanted() { t.until.Store(time.Now().Add(wantedFor).UnixNano()) }

// Seen takes in the events of a transaction. Where nobody has an inbox it costs one comparison.
func (t *Teller) Seen(events []chat.EncodedEvent) {
	if len(events) == 0 || time.Now().UnixNano() > t.until.Load() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range events {
		e := &events[i]
		if _, known := t.noted[e.Room]; known || len(t.noted) >= most || !wire.MovesInbox(e.Bytes) {
			continue
		}
		t.noted[e.Room] = struct{}{}
	}
}

// Run tells the activity of the rooms that are noted until ctx ends, and then once more.
func (t *Teller) Run(ctx context.Context) error {
	sub, err := t.nc.Subscribe(subject.InboxWanted, func(*nats.Msg) { t.Wanted() })
	if err != nil {
		return fmt.Errorf("subscribe to who has an inbox: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	tick := time.NewTicker(Interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			t.tell(context.WithoutCancel(ctx))
			return nil
		case <-tick.C:
			t.tell(ctx)
		}
	}
}

// tell tells what is noted. What could not be told is noted again.
func (t *Teller) tell(ctx context.Context) {
	rooms := t.take()
	for len(rooms) > 0 {
		n := min(len(rooms), page)
		err := t.tellPage(ctx, rooms[:n])
		if err != nil {
			t.failing.Failed(ctx, err)
			t.again(rooms)
			return
		}
		t.failing.Over(ctx)
		rooms = rooms[n:]
	}
}

func (t *Teller) take() []chat.RoomID {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.noted) == 0 {
		return nil
	}
	rooms := make([]chat.RoomID, 0, len(t.noted))
	for room := range t.noted {
		rooms = append(rooms, room)
	}
	t.noted = make(map[chat.RoomID]struct{}, len(rooms)/2)
	return rooms
}

func (t *Teller) again(rooms []chat.RoomID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, room := range rooms {
		if len(t.noted) >= most {
			return
		}
		t.noted[room] = struct{}{}
	}
}

// tellPage tells how rooms stand, those of a shard together.
func (t *Teller) tellPage(ctx context.Context, rooms []chat.RoomID) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	list, err := t.read(ctx, rooms)
	if err != nil {
		return err
	}
	shards := map[int]*eventv1.ActivityBatch{}
	sizes := map[int]int{}
	for i := range list {
		shard := subject.RoomShard(string(list[i].Room))
		batch := shards[shard]
		if batch == nil {
			batch = &eventv1.ActivityBatch{}
			shards[shard] = batch
		}
		args := wire.ActivityArgs(&list[i])
		batch.Rooms = append(batch.Rooms, &eventv1.RoomActivity{RoomId: string(list[i].Room), Seq: list[i].Seq, Args: args})
		if sizes[shard] += len(args); sizes[shard] >= messageBytes {
			if err := t.publish(shard, batch); err != nil {
				return err
			}
			delete(shards, shard)
			sizes[shard] = 0
		}
	}
	for shard, batch := range shards {
		if err := t.publish(shard, batch); err != nil {
			return err
		}
	}
	return nil
}

func (t *Teller) publish(shard int, batch *eventv1.ActivityBatch) error {
	raw, err := proto.Marshal(batch)
	if err != nil {
		return err
	}
	return t.nc.Publish(subject.Activity(shard), raw)
}
