package relay

import (
	"slices"

	"github.com/starling-chat/starling/proto/limits"
)

// membership is which rooms a client is in; client.mu guards it.
type membership struct {
	rooms      []clientRoom
	generation uint64 // counts changes of rooms
}

// clientRoom is a room that the socket is in.
type clientRoom struct {
	id    string
	index uint32 // in the socket's offsets
	seq   uint64 // what the socket had seen when it entered
}

// addRoom notes a room, or what the socket has seen of one that is noted; alive is false when the client is gone. change tells
// whether the room is new to the client; one that the socket was in before it came here is not.
func (c *client) addRoom(room clientRoom, change bool) (added, alive bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return false, false
	}
	if i := c.roomLocked(room.id); i >= 0 {
		c.rooms[i].seq = max(c.rooms[i].seq, room.seq)
		return false, true
	}
	c.rooms = append(c.rooms, room)
	if change {
		c.changedLocked()
	}
	return true, true
}

// changedLocked counts a change of rooms, for the state in the bus and for the client's offsets alike.
func (c *client) changedLocked() {
	c.generation++
	if c.socket.Offsets != nil {
		c.socket.Offsets.SetGeneration(c.generation)
	}
}

func (c *client) roomLocked(roomID string) int {
	return slices.IndexFunc(c.rooms, func(r clientRoom) bool { return r.id == roomID })
}

// forgetRoom takes a room out of the list, and reports whether it was in it.
func (c *client) forgetRoom(roomID string) (was bool) {
	c.mu.Lock()
	i := c.roomLocked(roomID)
	if i >= 0 {
		c.rooms = slices.Delete(c.rooms, i, i+1)
		c.changedLocked()
	}
	c.mu.Unlock()
	if i >= 0 {
		c.relay.watches.LeftRoom(&c.watching, roomID)
	}
	return i >= 0
}

// inRoom tells whether the socket is in a room, and in how many rooms it is; its user's log is none of them.
func (c *client) inRoom(roomID string) (in bool, rooms int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.roomLocked(roomID) >= 0, len(c.roomIDsLocked())
}

// roomIndex is a room's number in the socket's offsets: its own, or a new one.
func (c *client) roomIndex(roomID string) uint32 {
	if c.socket.Offsets == nil {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := c.roomLocked(roomID); i >= 0 {
		return c.rooms[i].index
	}
	return c.socket.Offsets.Enter()
}

// roomIDsLocked lists the rooms that the socket is in, without its user's log; c.mu is held.
func (c *client) roomIDsLocked() []string {
	ids := make([]string, 0, len(c.rooms))
	for _, room := range c.rooms {
		if _, isLog := limits.UserOfLog(room.id); !isLog {
			ids = append(ids, room.id)
		}
	}
	return ids
}
