package roomfeed

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/starling-chat/starling/platform/run"
	"github.com/starling-chat/starling/proto/limits"
	"github.com/starling-chat/starling/proto/subject"
)

// subscriptions hold a room's subscription while somebody needs the room: a gateway hears only rooms with a local member, and
// for a while after the last one left, because it often comes back.
type subscriptions struct {
	feed *Feed

	mu    sync.Mutex // guards rooms
	rooms map[string]*subscription
}

// subscription is that of one room; subscriptions.mu guards it.
type subscription struct {
	refs      int32
	done      bool          // the server has sub, or err is set
	answered  chan struct{} // closed when done is set; nil from then on
	idleSince time.Time     // when refs became 0
	sub       *nats.Subscription
	err       error
}

func newSubscriptions(f *Feed) *subscriptions {
	return &subscriptions{feed: f, rooms: make(map[string]*subscription)}
}

// Acquire returns when events of the room reach this gateway. Each success needs one Release or Discard.
// ctx must have a deadline. The logs of users always do; they end in the hub with the last socket that is in them.
func (f *Feed) Acquire(ctx context.Context, roomID string) error {
	if _, ok := limits.UserOfLog(roomID); ok {
		return nil
	}
	s := f.subscriptions
	s.mu.Lock()
	room := s.rooms[roomID]
	first := room == nil
	if first {
		room = &subscription{answered: make(chan struct{})}
		s.rooms[roomID] = room
	}
	room.refs++
	answered := room.answered
	s.mu.Unlock()
	if first {
		s.subscribe(ctx, roomID, room)
	}
	if answered == nil {
		return nil // a failed subscription is out of the index before anybody can find it done
	}
	select {
	case <-answered:
		return room.err // another one may stand in the index by now
	case <-ctx.Done():
		s.mu.Lock()
		defer s.mu.Unlock()
		room.release(time.Now())
		return ctx.Err()
	}
}

// Release gives back a room that was acquired.
func (f *Feed) Release(roomID string) { f.subscriptions.release(roomID, time.Now()) }

// Discard is Release after a join that was refused: a room that nobody is in is not listened to for longer, or made-up room
// ids would cost a subscription each.
func (f *Feed) Discard(roomID string) { f.subscriptions.release(roomID, time.Time{}) }

func (s *subscriptions) release(roomID string, idleSince time.Time) {
	if _, ok := limits.UserOfLog(roomID); ok {
		s.feed.deps.Hub.Forget(roomID)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if room := s.rooms[roomID]; room != nil {
		room.release(idleSince)
	}
}

func (r *subscription) release(idleSince time.Time) {
	if r.refs > 0 {
		r.refs--
	}
	r.idleSince = idleSince
}

// subscribe makes the subscription and waits until the server has it. On failure it is taken out of the index, so that the next
// Acquire tries again; those who wait get the error.
func (s *subscriptions) subscribe(ctx context.Context, roomID string, room *subscription) {
	nc := s.feed.deps.Bus
	sub, err := nc.ChanSubscribe(subject.Room(roomID), s.feed.shardOf(roomID).msgs)
	if err == nil {
		if err = nc.FlushWithContext(ctx); err != nil {
			_ = sub.Unsubscribe() // a dead subscription is dropped at the reconnect
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	room.sub, room.done = sub, true
	if err != nil {
		room.sub, room.err = nil, fmt.Errorf("subscribe to a room: %w", err)
		if s.rooms[roomID] == room {
			delete(s.rooms, roomID)
		}
	}
	close(room.answered)
	room.answered = nil
}

// run ends subscriptions that nobody needed for a while.
func (s *subscriptions) run(ctx context.Context) error {
	return run.Every(ctx, max(s.feed.cfg.Linger/10, 10*time.Millisecond), s.sweep)
}

// sweep takes idle rooms out of the index first, without calling the hub under the lock: who enters such a room from then
// on subscribes anew, and the hub keeps a room that a socket is joining.
func (s *subscriptions) sweep(now time.Time) {
	ending := make(map[string]*nats.Subscription)
	s.mu.Lock()
	for id, room := range s.rooms {
		if room.refs == 0 && room.done && now.Sub(room.idleSince) >= s.feed.cfg.Linger {
			ending[id] = room.sub
			delete(s.rooms, id)
		}
	}
	s.mu.Unlock()
	for id, sub := range ending {
		s.feed.deps.Hub.Forget(id)
		if err := sub.Unsubscribe(); err != nil {
			s.feed.deps.Log.Warn("room not unsubscribed", slog.Any("error", err))
		}
	}
}
