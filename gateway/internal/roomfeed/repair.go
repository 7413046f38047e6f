package roomfeed

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/starling-chat/starling/gateway/internal/hub"
	"github.com/starling-chat/starling/gateway/internal/transport"
	"github.com/starling-chat/starling/platform/obs"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/limits"
)

// repairs fetch room events that did not come by themselves: those below one that came early, and a lost last one, which
// only a comparison with the room's head in the database can find. One repair of a room runs at a time.
type repairs struct {
	feed *Feed
	now  chan struct{} // a comparison is wanted at once

	compared atomic.Bool // the heads were, since the bus is back

	failing obs.Repeats // of all rooms: an outage concerns many

	mu  sync.Mutex // guards due
	due map[string]repair
}

type repair struct {
	at      time.Time
	head    uint64 // repair up to this sequence even without a gap; 0 = only a gap
	behind  uint64 // not before the room's shard has handled so many messages
	running bool
	again   bool // requested while running
}

const (
	repairWorkers  = 8
	serviceTimeout = 3 * time.Second
	streamTimeout  = time.Second
	repairRetry    = 300 * time.Millisecond
	repairTick     = 10 * time.Millisecond
	headsPage      = 1000
)

func newRepairs(f *Feed) *repairs {
	return &repairs{
		feed: f, now: make(chan struct{}, 1), due: make(map[string]repair),
		failing: obs.Repeats{Log: f.deps.Log, Message: "room gap not repaired"},
	}
}

// request has a room repaired after GapWait, unless the gap closes before. With a head above 0, the room is known to stand there,
// and its last event may be lost; what already waits here is looked at first, because under load it waits longer than GapWait.
func (q *repairs) request(roomID string, head uint64) {
	var behind uint64
	if head > 0 {
		behind = q.feed.shardOf(roomID).waiting()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	d, known := q.due[roomID]
	if !known {
		d.at, d.behind = time.Now().Add(q.feed.cfg.GapWait), behind
	} else if head == 0 {
		d.behind = 0 // a gap does not wait for the backlog: nothing goes out before it is closed
	}
	d.head, d.again = max(d.head, head), d.running
	q.due[roomID] = d // bounded by the rooms with members here
}

// run repairs what is due.
func (q *repairs) run(ctx context.Context) error {
	ticker := time.NewTicker(repairTick)
	defer ticker.Stop()
	var workers sync.WaitGroup
	defer workers.Wait()
	slots := make(chan struct{}, repairWorkers)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case now := <-ticker.C:
			q.see()
			for _, roomID := range q.begin(now, repairWorkers-len(slots)) {
				slots <- struct{}{}
				workers.Go(func() {
					defer func() { <-slots }()
					q.end(roomID, q.repair(ctx, roomID))
				})
			}
		}
	}
}

// begin marks up to limit rooms that are due as running, and gives them.
func (q *repairs) begin(now time.Time, limit int) []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	var rooms []string
	for id, d := range q.due {
		if len(rooms) == limit {
			break
		}
		if !d.running && !now.Before(d.at) && q.feed.shardOf(id).handled.Load() >= d.behind {
			d.running, d.again = true, false
			q.due[id] = d
			rooms = append(rooms, id)
		}
	}
	return rooms
}

// end notes that a repair is over, and whether it failed.
func (q *repairs) end(roomID string, failed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	d := q.due[roomID]
	switch {
	case failed:
		d.at = time.Now().Add(repairRetry)
	case d.again: // the gap came after the last look
		d.at = time.Now().Add(q.feed.cfg.GapWait)
	default:
		delete(q.due, roomID)
		return
	}
	d.running = false
	q.due[roomID] = d
}

// repair fetches what a room misses and reports whether it failed: from the stream, which needs nobody's help, and what it
// does not have from chat-service.
func (q *repairs) repair(ctx context.Context, roomID string) (failed bool) {
	deps := &q.feed.deps
	streamed := false // the stream was asked; once is enough
	for {
		after, upTo, missing := q.missing(roomID)
		if !missing {
			return false
		}
		position := deps.Hub.Position(roomID)
		source, fetch := "chat-service", func() ([]*eventv1.RoomEvent, error) { return q.fromService(ctx, roomID, after, upTo) }
		if position > 0 && !streamed {
			streamed = true
			source, fetch = "stream", func() ([]*eventv1.RoomEvent, error) { return q.fromStream(ctx, roomID, position) }
		}
		events, err := fetch()
		if err != nil {
			deps.Stats.GapRepairs.WithLabelValues("failed").Inc()
			q.failing.Failed(ctx, err, slog.String("source", source), slog.Uint64("after", after))
			if source == "stream" {
				continue // chat-service may do
			}
			return true
		}
		if source == "chat-service" && events[0].GetSeq() > after+1 {
			q.giveUp(roomID)
			return false
		}
		var flushes transport.FlushSet
		q.feed.apply(events, 0, &flushes)
		flushes.Flush()
		if now, _, still := q.missing(roomID); !still || now > after {
			deps.Stats.GapRepairs.WithLabelValues("ok").Inc()
			q.failing.Over(ctx)
		}
	}
}

// giveUp closes the sockets in a room whose missing events are nowhere any more, as those of a user's log in the long run: they come
// back, and learn it when they recover.
func (q *repairs) giveUp(roomID string) {
	for _, s := range q.feed.deps.Hub.Members(roomID) {
		s.Close(transport.CodeTryAgainLater, transport.ReasonOverload)
	}
}

// missing tells which sequences a room lacks: after < missing ≤ upTo.
func (q *repairs) missing(roomID string) (after, upTo uint64, ok bool) {
	if after, upTo, ok = q.feed.deps.Hub.Gap(roomID); ok {
		return after, upTo, true
	}
	q.mu.Lock()
	head := q.due[roomID].head
	q.mu.Unlock()
	last, started := q.feed.deps.Hub.Last(roomID)
	return last, head, started && last < head
}

func (q *repairs) fromStream(ctx context.Context, roomID string, position uint64) ([]*eventv1.RoomEvent, error) {
	ctx, cancel := context.WithTimeout(ctx, streamTimeout)
	defer cancel()
	return q.feed.deps.Source.FromStream(ctx, roomID, position)
}

var errNothingThere = errors.New("chat-service has no such events")

func (q *repairs) fromService(ctx context.Context, roomID string, after, upTo uint64) ([]*eventv1.RoomEvent, error) {
	ctx, cancel := context.WithTimeout(ctx, serviceTimeout)
	defer cancel()
	events, err := q.feed.deps.Source.FromService(ctx, roomID, after, upTo)
	if err == nil && len(events) == 0 {
		err = errNothingThere
	}
	return events, err
}

// compareNow has the heads compared at once.
func (q *repairs) compareNow() {
	select {
	case q.now <- struct{}{}:
	default: // one is wanted already
	}
}

// compareHeads asks chat-service from time to time where the rooms stand. A lost last event is found within HeadInterval.
func (q *repairs) compareHeads(ctx context.Context) error {
	ticker := time.NewTicker(q.feed.cfg.HeadInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		case <-q.now:
		}
		connected := q.feed.deps.Bus.IsConnected()
		heads := slices.DeleteFunc(q.feed.deps.Hub.Heads(), func(h hub.Head) bool {
			_, isLog := limits.UserOfLog(h.RoomID) // package userlog compares those, by what has grown
			return isLog
		})
		for len(heads) > 0 {
			n := min(len(heads), headsPage)
			if err := q.comparePage(ctx, heads[:n]); err != nil {
				q.feed.deps.Log.DebugContext(ctx, "room heads not compared", slog.Any("error", err))
				break
			}
			heads = heads[n:]
		}
		if q.feed.blind.Load() && connected && len(heads) == 0 {
			q.compared.Store(true)
		}
	}
}

// see ends the blindness after a loss of the bus, when the heads were compared and no room is known to be behind its head.
func (q *repairs) see() {
	if !q.compared.Load() {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, d := range q.due {
		if d.head > 0 {
			return
		}
	}
	q.compared.Store(false)
	q.feed.blind.Store(false)
}

func (q *repairs) comparePage(ctx context.Context, heads []hub.Head) error {
	ids := make([]string, len(heads))
	for i, h := range heads {
		ids[i] = h.RoomID
	}
	call, cancel := context.WithTimeout(ctx, serviceTimeout)
	defer cancel()
	inService, err := q.feed.deps.Source.Heads(call, ids)
	if err != nil {
		return err
	}
	for _, h := range heads {
		if head := inService[h.RoomID]; head > h.Last {
			q.request(h.RoomID, head) // it may be on its way
		}
	}
	return nil
}
