package relay

import (
	"context"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/proto/fault"
	chatv1 "github.com/starling-chat/starling/proto/gen/starling/chat/v1"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// A room that a token opened is left when the socket comes with one that does not: chat-service knows which rooms these are, and decides
// anew for the fresh token.

// token tells one token of the client from another.
func (c *client) token() uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tokens
}

// identityNow is who the client is by its latest token.
func (c *client) identityNow() (*eventv1.Identity, error) {
	c.mu.Lock()
	prefix := c.prefix
	c.mu.Unlock()
	var event eventv1.ClientEvent
	err := proto.Unmarshal([]byte(prefix), &event)
	return event.GetIdentity(), err
}

// Opens is what the client's token opens; package watches asks.
func (c *client) Opens() []*eventv1.RoomGrant {
	identity, err := c.identityNow()
	if err != nil {
		return nil
	}
	return identity.GetRooms()
}

// leaveClosed takes the socket out of the rooms that was opened and now does not. When chat-service does not answer, the socket goes
// on as was.
func (r *Relay) leaveClosed(ctx context.Context, c *client, was, now *eventv1.Identity) error {
	if len(was.GetRooms()) == 0 || slices.EqualFunc(was.GetRooms(), now.GetRooms(), func(x, y *eventv1.RoomGrant) bool { return proto.Equal(x, y) }) {
		return nil
	}
	r.inbox.Renew(c.socket)
	c.mu.Lock()
	ids := c.roomIDsLocked()
	c.mu.Unlock()
	if len(ids) == 0 {
		return nil
	}
	res, err := r.chat.GetHeads(ctx, &chatv1.GetHeadsRequest{RoomIds: ids, ForUserId: c.socket.UserID, Grants: now.GetRooms()})
	if err != nil {
		if undo := c.setIdentity(was); undo != nil {
			return undo
		}
		return fault.FromStatus(err)
	}
	for _, id := range res.GetClosedRoomIds() {
		r.dropRoom(c, id)
	}
	r.save(c)
	return nil
}

// dropRoom takes the socket out of a room that its user is no member of, also while it is joining.
func (r *Relay) dropRoom(c *client, roomID string) {
	r.hub.Leave(c.socket, roomID)
	if c.forgetRoom(roomID) {
		r.rooms.Release(roomID)
	}
}
