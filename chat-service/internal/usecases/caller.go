package usecases

import (
	"time"

	"github.com/starling-chat/starling/chat-service/internal/chat"
)

// Caller is who asks, on which socket.
type Caller struct {
	User      chat.UserID
	Name      chat.Name
	Admin     bool
	Socket    string // "" when the call does not come from a socket
	Namespace string
	At        time.Time // when the gateway read the client event
}

// in is the origin of what the caller does to a room.
func (c *Caller) in(room chat.RoomID) chat.Origin {
	return chat.Origin{Room: room, User: c.User, Name: c.Name, Socket: c.Socket, CausedAt: c.At}
}
