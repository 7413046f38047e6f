package replay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/starling-chat/starling/gateway/internal/roomfeed"
	"github.com/starling-chat/starling/gateway/internal/sequence"
	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/stats"
	"github.com/starling-chat/starling/gateway/internal/transport"
	chatv1 "github.com/starling-chat/starling/proto/gen/starling/chat/v1"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

const (
	page = 1000
	// high and low keep a long replay from overflowing the send queue.
	high = 64 << 10
	low  = 16 << 10
)

// ErrBroken tells that the session ended meanwhile.
var ErrBroken = errors.New("the session ended")

// Replay reads from chat-service.
type Replay struct {
	Chat  chatv1.ChatServiceClient
	Stats *stats.Stats
}

// Room queues what a socket missed of a room after a sequence, as fast as its conn takes it; index is the room's number in the
// socket's offsets. It gives the sequence up to which it went, and whether the user is still a member.
func (r Replay) Room(ctx context.Context, socket *session.Socket, roomID string, index uint32, after uint64) (head uint64, member bool, err error) {
	head = after
	for {
		res, err := r.Chat.ReadRoomEvents(ctx, &chatv1.ReadRoomEventsRequest{RoomId: roomID, AfterSeq: head, Limit: page})
		if err != nil {
			return head, true, fmt.Errorf("read missed events: %w", err)
		}
		for _, raw := range res.GetEvents() {
			e := roomfeed.Event(raw)
			head = e.Seq
			if err := r.queue(ctx, socket, index, &e); err != nil {
				return head, true, err
			}
			if e.EvictUser == socket.UserID && e.EvictUser != "" {
				return head, false, nil
			}
		}
		if len(res.GetEvents()) == 0 || head >= res.GetHead() {
			socket.Flush()
			return head, true, nil
		}
	}
}

// Evicts tells whether an event of a room after a sequence takes a user out.
func (r Replay) Evicts(ctx context.Context, roomID string, after uint64, userID string) (bool, error) {
	for {
		res, err := r.Chat.ReadRoomEvents(ctx, &chatv1.ReadRoomEventsRequest{RoomId: roomID, AfterSeq: after, Limit: page})
		if err != nil {
			return false, fmt.Errorf("look for an eviction: %w", err)
		}
		for _, e := range res.GetEvents() {
			if after = e.GetSeq(); e.GetEvictUserId() == userID {
				return true, nil
			}
		}
		if len(res.GetEvents()) == 0 || after >= res.GetHead() {
			return false, nil
		}
	}
}

// Heads asks where rooms stand: all of them, or only those that the user is a member of.
func (r Replay) Heads(ctx context.Context, rooms []string, who *eventv1.Identity, asMember bool) (*chatv1.GetHeadsResponse, error) {
	if len(rooms) == 0 {
		return nil, nil //nolint:nilnil // the getters take it for an empty answer
	}
	ask := &chatv1.GetHeadsRequest{RoomIds: rooms, Grants: who.GetRooms(), ForUserId: who.GetUserId()}
	if asMember {
		ask.AsUserId, ask.ForUserId = who.GetUserId(), ""
	}
	res, err := r.Chat.GetHeads(ctx, ask)
	if err != nil {
		return nil, fmt.Errorf("ask for the heads of rooms: %w", err)
	}
	return res, nil
}

// NotifiedSince tells whether a user was sent a notification after a time.
func (r Replay) NotifiedSince(ctx context.Context, userID string, since time.Time) (bool, error) {
	res, err := r.Chat.GetNotificationHead(ctx, &chatv1.GetNotificationHeadRequest{UserId: userID})
	if err != nil {
		return false, fmt.Errorf("ask for the last notification: %w", err)
	}
	at := res.GetCreatedAt()
	return at != nil && at.AsTime().After(since), nil
}

// queue queues one missed event, and waits when the queue has become long.
func (r Replay) queue(ctx context.Context, socket *session.Socket, index uint32, e *sequence.Event) error {
	if e.Name == "" || e.ExceptSocket == socket.ID || e.ExceptUser != "" && e.ExceptUser == socket.UserID {
		return nil
	}
	m, err := session.Emit{Namespace: socket.Namespace, Event: e.Name, Args: e.Args, Attachments: e.Attachments}.Encode()
	if err != nil {
		return fmt.Errorf("encode a missed event: %w", err)
	}
	if !socket.QueueDurable(m, index, e.Seq) {
		return ErrBroken
	}
	r.Stats.EventsOut.Inc()
	if socket.Conn().QueuedBytes() < high {
		return nil
	}
	socket.Flush()
	return transport.AwaitQueue(ctx, socket.Conn(), low)
}
