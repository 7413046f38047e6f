package wire

import (
	"strings"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// roleAdmin is the role in an identity that may announce.
const roleAdmin = "admin"

// Caller reads who sent a client event. The name comes from outside and is made storable.
func Caller(e *eventv1.ClientEvent) (chat.Caller, error) {
	identity := e.GetIdentity()
	user, err := chat.ParseUserID(identity.GetUserId())
	if err != nil {
		return chat.Caller{}, err
	}
	c := chat.Caller{
		User: user, Name: storable(identity.GetName()), Admin: identity.GetRole() == roleAdmin,
		Socket: e.GetSocketId(), Namespace: e.GetNamespace(),
	}
	if at := e.GetReceivedAt(); at != nil {
		c.At = at.AsTime()
	}
	return c, nil
}

func storable(name string) string {
	if strings.IndexByte(name, 0) < 0 {
		return name
	}
	return strings.ReplaceAll(name, "\x00", "\ufffd")
}
