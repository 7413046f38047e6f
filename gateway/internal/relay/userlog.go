package relay

import (
	"github.com/starling-chat/starling/gateway/internal/inbox"
	"github.com/starling-chat/starling/gateway/internal/userlog"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

var (
	_ userlog.Client = (*client)(nil)
	_ inbox.Client   = (*client)(nil)
)

// logHeard hears of events of a user's log before the hub has them.
func (r *Relay) logHeard(userID string, events []*eventv1.RoomEvent) {
	r.inbox.Heard(userID, events)
	r.logs.Heard(userID, events[0].GetSeq())
}

// LogStart implements userlog.Client.
func (c *client) LogStart() userlog.Start {
	return userlog.Start{Seq: c.logSeq, Since: c.logSince, Old: c.old}
}

// InRoom implements userlog.Client.
func (c *client) InRoom(roomID string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.roomLocked(roomID) >= 0
}

// RoomIndex implements userlog.Client.
func (c *client) RoomIndex(roomID string) uint32 { return c.roomIndex(roomID) }

// ListRoom implements userlog.Client. The state in the bus lists the room from then on, so that a recovery brings it back.
func (c *client) ListRoom(roomID string, index uint32, seq uint64) (alive bool) {
	r := c.relay
	if err := r.rooms.Acquire(r.ctx, roomID); err != nil { // of a log it does not fail
		return false
	}
	if _, alive = c.addRoom(clientRoom{id: roomID, index: index, seq: seq}, true); alive {
		r.save(c)
	} else {
		r.rooms.Discard(roomID)
	}
	return alive
}

// Gone implements userlog.Client.
func (c *client) Gone() bool { return c.isGone() }
