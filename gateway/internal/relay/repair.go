package relay

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/starling-chat/starling/gateway/internal/hub"
	"github.com/starling-chat/starling/platform/sabotage"
	chatv1 "github.com/starling-chat/starling/proto/gen/starling/chat/v1"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// repairs fetch room events that did not come by themselves: those below one that came early, and a lost last one, which
// only a comparison with the room's head in the database can find. One repair of a room runs at a time.
type repairs struct {
	relay *Relay
	now   chan struct{} // a comparison is wanted at once

	mu  sync.Mutex // guards due
	due map[string]repair
}

type repair struct {
	at      time.Time
	head    uint64 // repair up to this sequence even without a gap; 0 = only a gap
	running bool
	again   bool // asked for while running
}

const (
	repairWorkers = 8
	repairTimeout = 3 * time.Second
	streamTimeout = time.Second
	repairRetry   = 300 * time.Millisecond
	repairTick    = 10 * time.Millisecond
	repairPage    = 1000
	headsPage     = 1000
)

func newRepairs(r *Relay) *repairs {
	return &repairs{relay: r, now: make(chan struct{}, 1), due: make(map[string]repair)}
}

// ask has a room repaired after wait, unless the gap closes before.
func (q *repairs) ask(roomID string, wait time.Duration) { q.askUpTo(roomID, 0, wait) }

// askUpTo is ask for a lost last event: the room is known to stand at head.
func (q *repairs) askUpTo(roomID string, head uint64, wait time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	d, known := q.due[roomID]
	if !known {
		d.at = time.Now().Add(wait)
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
			for _, roomID := range q.take(now, repairWorkers-len(slots)) {
				slots <- struct{}{}
				workers.Go(func() {
					defer func() { <-slots }()
					q.finish(roomID, q.repair(ctx, roomID))
				})
			}
		}
	}
}

func (q *repairs) take(now time.Time, limit int) []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	var rooms []string
	for id, d := range q.due {
		if len(rooms) == limit {
			break
		}
		if !d.running && !now.Before(d.at) {
			d.running, d.again = true, false
			q.due[id] = d
			rooms = append(rooms, id)
		}
	}
	return rooms
}

func (q *repairs) finish(roomID string, again bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	d := q.due[roomID]
	switch {
	case again:
		d.at = time.Now().Add(repairRetry)
	case d.again: // the gap came after the last look
		d.at = time.Now().Add(q.relay.cfg.GapWait)
	default:
		delete(q.due, roomID)
		return
	}
	d.running = false
	q.due[roomID] = d
}

// repair fetches what a room misses and reports whether to try again: from the stream, which needs nobody's help, and what it
// does not have from chat-service.
func (q *repairs) repair(ctx context.Context, roomID string) (again bool) {
	streamed := false // the stream was asked; once is enough
	for {
		after, upTo, missing := q.missing(roomID)
		if !missing {
			return false
		}
		var events []*eventv1.RoomEvent
		var err error
		source := "stream"
		if position := q.relay.hub.Position(roomID); position > 0 && !streamed {
			streamed = true
			events, err = q.fromStream(ctx, roomID, position)
		} else {
			source = "chat-service"
			if events, err = q.fromService(ctx, roomID, after, upTo); err == nil && len(events) == 0 {
				err = errNothingThere
			}
		}
		if err != nil {
			q.relay.stats.GapRepairs.WithLabelValues("failed").Inc()
			q.relay.log.WarnContext(ctx, "room gap not repaired", slog.String("source", source), slog.Uint64("after", after), slog.Any("error", err))
			if source == "stream" {
				continue // chat-service may do
			}
			return true
		}
		var dirty hub.Dirty
		q.relay.applyEvents(events, 0, &dirty)
		dirty.Flush()
		if now, _, still := q.missing(roomID); !still || now > after {
			q.relay.stats.GapRepairs.WithLabelValues("ok").Inc()
		}
	}
}

var errNothingThere = errors.New("chat-service has no such events")

// missing tells which sequences a room lacks: after < missing ≤ upTo.
func (q *repairs) missing(roomID string) (after, upTo uint64, ok bool) {
	if after, upTo, ok = q.relay.hub.Gap(roomID); ok {
		return after, upTo, true
	}
	q.mu.Lock()
	head := q.due[roomID].head
	q.mu.Unlock()
	last, started := q.relay.hub.Last(roomID)
	return last, head, started && last < head
}

func (q *repairs) fromStream(ctx context.Context, roomID string, position uint64) ([]*eventv1.RoomEvent, error) {
	ctx, cancel := context.WithTimeout(ctx, streamTimeout)
	defer cancel()
	return q.relay.readStream(ctx, roomID, position)
}

func (q *repairs) fromService(ctx context.Context, roomID string, after, upTo uint64) ([]*eventv1.RoomEvent, error) {
	ctx, cancel := context.WithTimeout(ctx, repairTimeout)
	defer cancel()
	res, err := q.relay.services.Chat.ReadRoomEvents(ctx, &chatv1.ReadRoomEventsRequest{
		RoomId: roomID, AfterSeq: after, ToSeq: upTo, Limit: repairPage,
	})
	return res.GetEvents(), err
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
	ticker := time.NewTicker(q.relay.cfg.HeadInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		case <-q.now:
		}
		if sabotage.NoGapRepair() {
			continue
		}
		heads := q.relay.hub.Heads()
		for len(heads) > 0 {
			n := min(len(heads), headsPage)
			if err := q.comparePage(ctx, heads[:n]); err != nil {
				q.relay.log.DebugContext(ctx, "room heads not compared", slog.Any("error", err))
				break
			}
			heads = heads[n:]
		}
	}
}

func (q *repairs) comparePage(ctx context.Context, heads []hub.Head) error {
	ids := make([]string, len(heads))
	for i, h := range heads {
		ids[i] = h.RoomID
	}
	call, cancel := context.WithTimeout(ctx, repairTimeout)
	defer cancel()
	res, err := q.relay.services.Chat.GetHeads(call, &chatv1.GetHeadsRequest{RoomIds: ids})
	if err != nil {
		return err
	}
	for _, h := range heads {
		if head := res.GetHeads()[h.RoomID]; head > h.Last {
			q.askUpTo(h.RoomID, head, q.relay.cfg.GapWait) // it may be on its way
		}
	}
	return nil
}
