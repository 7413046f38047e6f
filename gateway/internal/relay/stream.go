package relay

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// streamBatch and streamBytes bound one read of the stream.
const (
	streamBatch = 500
	streamBytes = 2 << 20
)

// positionHeader is the stream's position of a republished message.
const positionHeader = "Nats-Sequence"

// positionOf is where a message stands in the stream ROOMS; 0 when it came past it.
func positionOf(msg *nats.Msg) uint64 {
	position, err := strconv.ParseUint(msg.Header.Get(positionHeader), 10, 64)
	if err != nil {
		return 0
	}
	return position
}

// readStream reads a room's events from the stream, those behind a position, in one request and without a consumer. What the
// stream no longer or never had is simply not among them. It needs neither chat-service nor PostgreSQL.
//
// The API is NATS's batched direct get (ADR-31): answers come to the inbox one by one, and one without data ends them.
func (r *Relay) readStream(ctx context.Context, roomID string, position uint64) ([]*eventv1.RoomEvent, error) {
	request, err := json.Marshal(map[string]any{
		"seq": position + 1, "next_by_subj": subject.RoomLog(roomID), "batch": streamBatch, "max_bytes": streamBytes,
	})
	if err != nil {
		return nil, fmt.Errorf("ask the stream: %w", err)
	}
	inbox := r.nc.NewInbox()
	sub, err := r.nc.SubscribeSync(inbox)
	if err != nil {
		return nil, fmt.Errorf("ask the stream: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := r.nc.PublishRequest(subject.RoomsStreamGet, inbox, request); err != nil {
		return nil, fmt.Errorf("ask the stream: %w", err)
	}
	var events []*eventv1.RoomEvent
	for {
		msg, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return events, fmt.Errorf("read the stream: %w", err)
		}
		if len(msg.Data) == 0 { // 204: that was all; 404: none; 503: no stream
			return events, nil
		}
		var b eventv1.RoomEventBatch
		if err := proto.Unmarshal(msg.Data, &b); err != nil {
			return events, fmt.Errorf("read the stream: %w", err)
		}
		events = append(events, b.GetEvents()...)
	}
}
