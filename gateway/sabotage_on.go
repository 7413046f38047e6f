//go:build sabotage

package gateway

import (
	"context"

	"github.com/nats-io/nats.go"

	"github.com/starling-chat/starling/gateway/internal/roomfeed"
	"github.com/starling-chat/starling/platform/sabotage"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/limits"
)

// sabotaged breaks the source of room events when STARLING_SABOTAGE says so.
func sabotaged(s roomfeed.Source) roomfeed.Source {
	switch {
	case sabotage.NoGapRepair():
		return leakySource{s}
	case sabotage.NoEviction():
		return keepingSource{s}
	case sabotage.NoLogRepair():
		return leakyLogs{s, sabotage.LoseLogEvent}
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
	return blanks(roomID, after, upTo), nil
}

func blanks(roomID string, after, upTo uint64) (events []*eventv1.RoomEvent) {
	for seq := after + 1; seq <= upTo && len(events) < maxBlanks; seq++ {
		events = append(events, &eventv1.RoomEvent{RoomId: roomID, Seq: seq})
	}
	return events
}

func (leakySource) Heads(context.Context, []string) (map[string]uint64, error) { return nil, nil }

// leakyLogs loses some events of users' logs, and passes those gaps on as leakySource does. Rooms lose nothing.
type leakyLogs struct {
	roomfeed.Source

	lose func() bool
}

func (s leakyLogs) Live(msg *nats.Msg) ([]*eventv1.RoomEvent, uint64, error) {
	events, position, err := s.Source.Live(msg)
	if len(events) > 0 {
		if _, isLog := limits.UserOfLog(events[0].GetRoomId()); isLog && s.lose() {
			return nil, 0, err
		}
	}
	return events, position, err
}

func (s leakyLogs) FromService(ctx context.Context, roomID string, after, upTo uint64) ([]*eventv1.RoomEvent, error) {
	if _, isLog := limits.UserOfLog(roomID); isLog {
		return blanks(roomID, after, upTo), nil
	}
	return s.Source.FromService(ctx, roomID, after, upTo)
}
