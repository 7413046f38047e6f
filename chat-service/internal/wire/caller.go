package wire

import (
	"strings"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// roleAdmin is the role in an identity that may announce.
const roleAdmin = "admin"

// Sender is who sent a client event, as the gateway says.
type Sender struct {
	UserID, Name, Role  string
	NameVersion         int64
	Rooms               []*eventv1.RoomGrant // that the sender's token opens
	SocketID, Namespace string
	At                  time.Time     // when the gateway received it; zero = not said
	Trace               string        // see usecases.Caller
	Until               time.Time     // when the gateway gives the event up; zero = not said
	Grace               time.Duration // for which it waits longer, for what was begun before
}

// SenderIs is the user of an identity.
func SenderIs(identity *eventv1.Identity) Sender {
	return Sender{
		UserID: identity.GetUserId(), Name: identity.GetName(), Role: identity.GetRole(), NameVersion: identity.GetNameVersion(),
		Rooms: identity.GetRooms(),
	}
}

// SenderOf is the sender of an event in its form on the bus.
func SenderOf(e *eventv1.ClientEvent) Sender {
	s := SenderIs(e.GetIdentity())
	s.SocketID, s.Namespace = e.GetSocketId(), e.GetNamespace()
	if at := e.GetReceivedAt(); at != nil {
		s.At = at.AsTime()
	}
	return s
}

// Caller gives the sender the form that the use cases take. The name comes from outside and is made storable.
func (s Sender) Caller() (usecases.Caller, error) {
	user, err := chat.ParseUserID(s.UserID)
	if err != nil {
		return usecases.Caller{}, err
	}
	return usecases.Caller{
		User: user, Name: chat.Name{Text: storable(s.Name), Version: s.NameVersion}, Admin: s.Role == roleAdmin,
		Socket: s.SocketID, Namespace: s.Namespace, At: s.At, Grants: Grants(s.Rooms),
		Trace: s.Trace, Asker: rules.Asker{Until: s.Until, Grace: s.Grace},
	}, nil
}

// Grants reads what a token opens, as a gateway says.
func Grants(rooms []*eventv1.RoomGrant) access.Grants {
	if len(rooms) == 0 {
		return nil
	}
	grants := make(access.Grants, len(rooms))
	for i, r := range rooms {
		grants[i] = access.Grant{Match: r.GetMatch(), Can: access.RightsOf(r.GetCan())}
	}
	return grants
}

// UserName reads a name that auth-service tells of.
func UserName(n *eventv1.UserName) (chat.UserName, error) {
	user, err := chat.ParseUserID(n.GetUserId())
	return chat.UserName{User: user, Name: chat.Name{Text: storable(n.GetName()), Version: n.GetVersion()}}, err
}

func storable(name string) string {
	if strings.IndexByte(name, 0) < 0 {
		return name
	}
	return strings.ReplaceAll(name, "\x00", "\ufffd")
}
