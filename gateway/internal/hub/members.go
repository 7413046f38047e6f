package hub

import "github.com/starling-chat/starling/gateway/internal/session"

// Members gives the local sockets inside a room. Those at its door for the first time are not: their history comes first.
func (h *Hub) Members(roomID string) []*session.Socket {
	sh := h.shard(roomID)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	r := sh.rooms[roomID]
	if r == nil {
		return nil
	}
	sockets := make([]*session.Socket, 0, len(r.members))
	for i := range r.members {
		if m := &r.members[i]; m.door == nil || m.door.inside {
			sockets = append(sockets, m.socket)
		}
	}
	return sockets
}
