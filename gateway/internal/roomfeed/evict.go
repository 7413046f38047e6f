package roomfeed

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

const (
	// evictBuffer is how many evictions may wait. One that overflows is not confirmed: whoever asked waits for it in vain, and the
	// event in the room's sequence evicts all the same.
	evictBuffer = 1024
	// evictWorkers is how many evictions wait for their event at the same time.
	evictWorkers = 64
	// evictPatience is how long the event may take to come, or to be fetched; then the sockets leave without having got it.
	evictPatience = 500 * time.Millisecond
	evictTick     = 5 * time.Millisecond
)

// evictions confirms to chat-service that users who were taken out of a room are out here. As a rule the event that says so is here
// already, or comes in a moment: then the sockets leave in their turn, after what came before it.
func (f *Feed) evictions(ctx context.Context) error {
	msgs := make(chan *nats.Msg, evictBuffer)
	sub, err := f.deps.Bus.ChanSubscribe(subject.Evict, msgs)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }()
	var workers sync.WaitGroup
	defer workers.Wait()
	slots := make(chan struct{}, evictWorkers)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case msg := <-msgs:
			var e eventv1.Eviction
			if err := proto.Unmarshal(msg.Data, &e); err != nil {
				f.deps.Log.WarnContext(ctx, "eviction cannot be decoded", slog.Any("error", err))
				continue
			}
			slots <- struct{}{}
			workers.Go(func() {
				defer func() { <-slots }()
				f.evict(ctx, &e)
				f.confirm(ctx, msg)
			})
		}
	}
}

// evict returns when no socket of the users is inside the room that joined before the eviction, nor will be.
func (f *Feed) evict(ctx context.Context, e *eventv1.Eviction) {
	ctx, cancel := context.WithTimeout(ctx, evictPatience)
	defer cancel()
	ticker := time.NewTicker(evictTick)
	defer ticker.Stop()
	if f.listener.Out != nil && e.GetSeq() > 0 {
		f.listener.Out(e.GetRoomId(), e.GetUserIds())
	}
	f.deps.Hub.Bar(e.GetRoomId(), e.GetUserIds(), e.GetSeq())
	for asked := false; f.deps.Hub.Inside(e.GetRoomId(), e.GetUserIds(), e.GetSeq()); {
		if !asked {
			f.repairs.request(e.GetRoomId(), e.GetSeq())
			asked = true
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			for _, s := range f.deps.Hub.Evict(e.GetRoomId(), e.GetUserIds(), e.GetSeq()).Evicted {
				f.listener.Evicted(s, e.GetRoomId())
			}
		}
	}
}

func (f *Feed) confirm(ctx context.Context, msg *nats.Msg) {
	reply, err := proto.Marshal(&eventv1.EvictionReply{GatewayId: f.cfg.Gateway})
	if err == nil && msg.Reply != "" {
		err = msg.Respond(reply)
	}
	if err != nil {
		f.deps.Log.DebugContext(ctx, "eviction not confirmed", slog.Any("error", err))
	}
}
