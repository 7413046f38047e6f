package relay

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/starling-chat/starling/proto/subject"
)

// interest counts who is in a room here, and holds the room's subscription while it matters: a gateway takes in only rooms
// with a local member, and for a while after the last one left, because it often comes back.
type interest struct {
	relay *Relay

	mu    sync.Mutex // guards rooms
	rooms map[string]*roomInterest
}

type roomInterest struct {
	refs    int
	idle    time.Time     // since when refs is 0
	ready   chan struct{} // closed when sub is live at the server, or err is set
	sub     *nats.Subscription
	err     error
	settled bool // ready is closed
}

func newInterest(r *Relay) *interest {
	return &interest{relay: r, rooms: make(map[string]*roomInterest)}
}

// acquire returns when events of the room reach this gateway. Each success needs one release.
func (i *interest) acquire(ctx context.Context, roomID string) error {
	i.mu.Lock()
	ri := i.rooms[roomID]
	first := ri == nil
	if first {
		ri = &roomInterest{ready: make(chan struct{})}
		i.rooms[roomID] = ri
	}
	ri.refs++
	i.mu.Unlock()
	if first {
		i.subscribe(ctx, roomID, ri)
	}
	select {
	case <-ri.ready:
		return ri.err // a failed entry is out of the index, and another one may stand there by now
	case <-ctx.Done():
		i.mu.Lock()
		defer i.mu.Unlock()
		ri.release()
		return ctx.Err()
	}
}

// subscribe makes the subscription and waits until the server has it. On failure the entry is removed, so that the next one
// tries again; those who wait get the error.
func (i *interest) subscribe(ctx context.Context, roomID string, ri *roomInterest) {
	sub, err := i.relay.nc.ChanSubscribe(subject.Room(roomID), i.relay.roomEvents[i.relay.hub.Shard(roomID)])
	if err == nil {
		if err = i.relay.nc.FlushWithContext(ctx); err != nil {
			_ = sub.Unsubscribe() // a dead subscription is dropped at the reconnect
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	ri.sub, ri.settled = sub, true
	if err != nil {
		ri.sub, ri.err = nil, fmt.Errorf("subscribe to a room: %w", err)
		if i.rooms[roomID] == ri {
			delete(i.rooms, roomID)
		}
	}
	close(ri.ready)
}

func (i *interest) release(roomID string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if ri := i.rooms[roomID]; ri != nil {
		ri.release()
	}
}

// refuse is release after a join that was refused: a room that nobody is in is not listened to for longer, or made-up room
// ids would cost a subscription each.
func (i *interest) refuse(roomID string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if ri := i.rooms[roomID]; ri != nil {
		ri.release()
		ri.idle = time.Time{}
	}
}

func (ri *roomInterest) release() {
	if ri.refs == 0 {
		return
	}
	ri.refs--
	if ri.refs == 0 {
		ri.idle = time.Now()
	}
}

// run ends subscriptions that nobody needed for a while.
func (i *interest) run(ctx context.Context) error {
	return every(ctx, max(i.relay.cfg.Linger/10, 10*time.Millisecond), i.sweep)
}

// sweep takes idle rooms out of the index first, without calling the hub under the lock: who enters such a room from then
// on subscribes anew, and the hub keeps a room that has a socket at its door.
func (i *interest) sweep(now time.Time) {
	ending := make(map[string]*nats.Subscription)
	i.mu.Lock()
	for id, ri := range i.rooms {
		if ri.refs == 0 && ri.settled && now.Sub(ri.idle) >= i.relay.cfg.Linger {
			ending[id] = ri.sub
			delete(i.rooms, id)
		}
	}
	i.mu.Unlock()
	for id, sub := range ending {
		i.relay.hub.Forget(id)
		if err := sub.Unsubscribe(); err != nil {
			i.relay.log.Warn("room not unsubscribed", slog.Any("error", err))
		}
	}
}
