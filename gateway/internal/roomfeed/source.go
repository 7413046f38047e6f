package roomfeed

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	chatv1 "github.com/starling-chat/starling/proto/gen/starling/chat/v1"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// Source is where room events come from.
type Source interface {
	// Live gives the events in a message of a room's subject, and their position in the stream; 0 when they came past it.
	Live(msg *nats.Msg) (events []*eventv1.RoomEvent, position uint64, err error)
	// FromStream reads a room's events behind a position in the stream. What the stream does not have is not among them.
	FromStream(ctx context.Context, roomID string, position uint64) ([]*eventv1.RoomEvent, error)
	// FromService reads a room's events after < seq ≤ upTo.
	FromService(ctx context.Context, roomID string, after, upTo uint64) ([]*eventv1.RoomEvent, error)
	// Heads tells the last sequence of rooms.
	Heads(ctx context.Context, roomIDs []string) (map[string]uint64, error)
}

type source struct {
	nc   *nats.Conn
	chat chatv1.ChatServiceClient
}

// NewSource is the source of a gateway: the bus, its stream ROOMS and chat-service.
func NewSource(nc *nats.Conn, chat chatv1.ChatServiceClient) Source {
	return &source{nc: nc, chat: chat}
}

const (
	// streamBatch and streamBytes bound one read of the stream.
	streamBatch = 500
	streamBytes = 2 << 20
	// servicePage bounds one read from chat-service, in events.
	servicePage = 1000
	// positionHeader is the stream's position of a republished message.
	positionHeader = "Nats-Sequence"
)

func (s *source) Live(msg *nats.Msg) ([]*eventv1.RoomEvent, uint64, error) {
	var b eventv1.RoomEventBatch
	if err := proto.Unmarshal(msg.Data, &b); err != nil {
		return nil, 0, err
	}
	position, err := strconv.ParseUint(msg.Header.Get(positionHeader), 10, 64)
	if err != nil {
		position = 0
	}
	return b.GetEvents(), position, nil
}

// FromStream needs one request and no consumer, neither chat-service nor PostgreSQL.
//
// The API is NATS's batched direct get (ADR-31): answers come to the inbox one by one, and one without data ends them.
func (s *source) FromStream(ctx context.Context, roomID string, position uint64) ([]*eventv1.RoomEvent, error) {
	request, err := json.Marshal(map[string]any{
		"seq": position + 1, "next_by_subj": subject.RoomLog(roomID), "batch": streamBatch, "max_bytes": streamBytes,
	})
	if err != nil {
		return nil, fmt.Errorf("ask the stream: %w", err)
	}
	inbox := s.nc.NewInbox()
	sub, err := s.nc.SubscribeSync(inbox)
	if err != nil {
		return nil, fmt.Errorf("ask the stream: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := s.nc.PublishRequest(subject.RoomsStreamGet, inbox, request); err != nil {
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

func (s *source) FromService(ctx context.Context, roomID string, after, upTo uint64) ([]*eventv1.RoomEvent, error) {
	res, err := s.chat.ReadRoomEvents(ctx, &chatv1.ReadRoomEventsRequest{
		RoomId: roomID, AfterSeq: after, ToSeq: upTo, Limit: servicePage,
	})
	return res.GetEvents(), err
}

func (s *source) Heads(ctx context.Context, roomIDs []string) (map[string]uint64, error) {
	res, err := s.chat.GetHeads(ctx, &chatv1.GetHeadsRequest{RoomIds: roomIDs})
	return res.GetHeads(), err
}
