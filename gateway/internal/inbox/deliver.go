package inbox

import (
	"context"
	"log/slog"
	"math"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/transport"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/namespaces"
)

const (
	// interval is the least time between two room:activity of a room, where not many sockets have it; perSecond is how many sockets are
	// told of one room a second: one with more of them is told less often.
	interval  = time.Second
	perSecond = 2000
	// lookEvery is how often it is looked for rooms whose time has come.
	lookEvery = 50 * time.Millisecond
	// chunk is how many sockets are told between two flushes: the send buffers of all at once would be much, and the lock is not held for
	// long.
	chunk = 64
)

// deliver tells what is heard, what comes too soon a moment later.
func (b *Inbox) deliver(ctx context.Context) error {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case msg := <-b.heard:
			b.hear(msg.Data, time.Now())
		case now := <-ticker.C:
			b.tellDue(now)
		}
	}
}

// hear takes in how rooms of a shard stand; most of them are in no inbox here.
func (b *Inbox) hear(data []byte, now time.Time) {
	batch := new(eventv1.ActivityBatch)
	if err := proto.Unmarshal(data, batch); err != nil {
		b.failing.Log.Warn("activity of rooms cannot be decoded", slog.Any("error", err))
		return
	}
	for _, a := range batch.GetRooms() {
		if r := b.news(a, now); r != nil {
			b.tell(r, a.GetArgs())
		}
	}
}

// news notes how a room stands, and gives the room if that is to be told at once.
func (b *Inbox) news(a *eventv1.RoomActivity, now time.Time) *room {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.rooms[a.GetRoomId()]
	if r == nil || a.GetSeq() <= r.seq || b.lost { // replicas tell it in any order
		return nil
	}
	r.seq = a.GetSeq()
	if now.Before(r.next) {
		r.args = a.GetArgs()
		b.waiting[r] = true
		return nil
	}
	r.next = now.Add(b.distance(r))
	return r
}

// distance is how long a room is not told again; Inbox.mu is held.
func (b *Inbox) distance(r *room) time.Duration {
	return max(interval, time.Duration(len(r.members))*time.Second/perSecond)
}

// tellDue tells the rooms whose time has come.
func (b *Inbox) tellDue(now time.Time) {
	type told struct {
		room *room
		args []byte
	}
	var list []told
	b.mu.Lock()
	for r := range b.waiting {
		if !now.Before(r.next) {
			list = append(list, told{r, r.args})
			r.args, r.next = nil, now.Add(b.distance(r))
			delete(b.waiting, r)
		}
	}
	b.mu.Unlock()
	for _, one := range list {
		b.tell(one.room, one.args)
	}
}

// tell tells the sockets that have a room in their inbox how it stands, from the last to the first: who leaves meanwhile is replaced by one
// that was told, and who comes is told otherwise.
func (b *Inbox) tell(r *room, args []byte) {
	m, err := session.Emit{Namespace: namespaces.Main, Event: roomActivity, Args: args, Volatile: true}.Encode()
	if err != nil {
		b.failing.Log.Error("room:activity cannot be encoded", slog.Any("error", err))
		return
	}
	var flushes transport.FlushSet
	for place := math.MaxInt; place > 0; {
		place = b.tellSome(r, m, place, &flushes)
		flushes.Flush()
	}
}

// tellSome tells a chunk of the sockets before a place in the list, and gives the place of the first of them.
func (b *Inbox) tellSome(r *room, m *transport.Message, before int, flushes *transport.FlushSet) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	before = min(before, len(r.members))
	from := max(before-chunk, 0)
	for _, to := range r.members[from:before] {
		switch {
		case !to.told || to.client.InRoom(r.id):
		case to.socket.Append(m):
			b.stats.EventsOut.Inc()
			b.stats.Activities.Inc()
			flushes.Add(to.socket.Conn())
		default: // too much waits for it already
			b.mend(to)
		}
	}
	return from
}
