//go:build sabotage

package gateway

import (
	"context"

	"github.com/nats-io/nats.go"

	"github.com/starling-chat/starling/gateway/internal/roomfeed"
	"github.com/starling-chat/starling/platform/sabotage"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// sabotaged breaks the source of room events when STARLING_SABOTAGE says so.
func sabotaged(s roomfeed.Source) roomfeed.Source {
	switch {
	case sabotage.NoGapRepair():
		return leakySource{s}
	case sabotage.NoEviction():
		return keepingSource{s}
	}
	return s
}

// keepingSource gives events that take nobody out of a room.
type keepingSource struct{ roomfeed.Source }

func kept(events []*eventv1.RoomEvent) []*eventv1.RoomEvent {
	for _, e := range events {
		e.EvictUserId = ""
	}
	return events
}

func (s keepingSource) Live(msg *nats.Msg) ([]*eventv1.RoomEvent, uint64, error) {
	events, position, err := s.Source.Live(msg)
	return kept(events), position, err
}

func (s keepingSource) FromStream(ctx context.Context, roomID string, from uint64) ([]*eventv1.RoomEvent, error) {
	events, err := s.Source.FromStream(ctx, roomID, from)
	return kept(events), err
}

func (s keepingSource) FromService(ctx context.Context, roomID string, after, upTo uint64) ([]*eventv1.RoomEvent, error) {
	events, err := s.Source.FromService(ctx, roomID, after, upTo)
	return kept(events), err
}

// leakySource loses some events, and passes the gaps on: in place of what is missing it gives events that nobody gets, and it
// does not tell where rooms stand, so that a lost last event is not found either.
type leakySource struct{ roomfeed.Source }

func (s leakySource) Live(msg *nats.Msg) ([]*eventv1.RoomEvent, uint64, error) {
	events, position, err := s.Source.Live(msg)
	if sabotage.LoseEvent() {
		return nil, 0, err
	}
	return events, position, err
}

func (leakySource) FromStream(context.Context, string, uint64) ([]*eventv1.RoomEvent, error) {
	return nil, nil
}

// maxBlanks bounds the answer to one question.
const maxBlanks = 1000

func (leakySource) FromService(_ context.Context, roomID string, after, upTo uint64) ([]*eventv1.RoomEvent, error) {
	var blanks []*eventv1.RoomEvent
	for seq := after + 1; seq <= upTo && len(blanks) < maxBlanks; seq++ {
		blanks = append(blanks, &eventv1.RoomEvent{RoomId: roomID, Seq: seq})
	}
	return blanks, nil
}

func (leakySource) Heads(context.Context, []string) (map[string]uint64, error) { return nil, nil }
