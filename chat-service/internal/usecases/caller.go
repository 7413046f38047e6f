package usecases

import (
	"time"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
)

// Caller is who asks, on which socket.
type Caller struct {
	User      chat.UserID // System: another backend as itself
	Name      chat.Name
	Admin     bool
	Socket    string // "" when the call does not come from a socket
	Namespace string
	At        time.Time     // when the gateway read the client event
	Grants    access.Grants // of the user's token
	Key       string        // by which another backend asks, as itself or as the user; "" = it is the user

	Trace string // traceparent of the span in which the caller asks; "" = it is not traced

	Asker rules.Asker // what it says of when the caller gives up

	RequestKey string // by which the same request is known when it comes again; "" = it has none
}

// in is the origin of what the caller does to a room.
func (c *Caller) in(room chat.RoomID) rules.Origin {
	return rules.Origin{
		Room: room, User: c.User, Name: c.Name, Socket: c.Socket, CausedAt: c.At, Granted: c.granted(room), Key: c.Key,
		Trace: c.Trace, Asker: c.Asker,
	}
}

// of is the membership that the caller has in a room, or would have.
func (c *Caller) of(room chat.RoomID) chat.Membership {
	return chat.Membership{Room: room, User: c.User}
}

// granted is what the caller brings along that opens a room. No token opens direct rooms: their members never change.
func (c *Caller) granted(room chat.RoomID) access.Rights {
	switch {
	case c.User == chat.System:
		return access.Everything
	case len(c.Grants) == 0 || chat.IsDirectID(room):
		return 0
	}
	return c.Grants.For(string(room))
}
