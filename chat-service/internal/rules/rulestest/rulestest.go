// Package rulestest helps tests of the rules of writing and of what stands on them.
package rulestest

import (
	"fmt"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/proto/fault"
)

// World is the state before a batch, in short: a room is public, has seq 10, and the first of its members owns it.
type World map[chat.RoomID][]chat.UserID

// State is the world as a batch finds it.
func (w World) State() rules.State {
	s := rules.State{
		At: time.UnixMilli(1_800_000_000_000).UTC(), Random: func() uint64 { return 7 },
		Rooms: map[chat.RoomID]rules.Room{}, Members: map[chat.Membership]rules.Member{}, Sent: map[rules.Repeat]rules.Outcome{},
	}
	for room, members := range w {
		r := rules.Room{Seq: 10, Kind: access.Public}
		for i, user := range members {
			if i == 0 {
				r.Owner = user
			}
			s.Members[chat.Membership{Room: room, User: user}] = rules.Member{Is: true, Name: chat.Name{Text: "name of " + string(user)}, Role: access.RoleMember}
		}
		s.Rooms[room] = r
	}
	return s
}

// By is the origin of what a user does in room r.
func By(user chat.UserID) rules.Origin {
	return rules.Origin{Room: "r", User: user, Name: chat.Name{Text: string(user)}, Socket: "of " + string(user)}
}

// Send is a message of a user.
func Send(user chat.UserID, id string) rules.Send {
	return rules.Send{Origin: By(user), Content: "x", Type: "text", ClientMsgID: id}
}

// Join is the join of a user.
func Join(user chat.UserID) rules.Join { return rules.Join{Origin: By(user)} }

// Leave is the leave of a user.
func Leave(user chat.UserID) rules.Leave { return rules.Leave{Origin: By(user)} }

// Short tells outcomes in one word each: the sequence, "old" before one that is no news, the kind of refusal, or "-" for nothing done.
func Short(outcomes []rules.Outcome) []string {
	words := make([]string, len(outcomes))
	for i, o := range outcomes {
		switch {
		case o.Err != nil:
			words[i] = string(fault.KindOf(o.Err))
		case o.Changed:
			words[i] = fmt.Sprint(o.Seq)
		case o.Seq > 0:
			words[i] = fmt.Sprint("old ", o.Seq)
		default:
			words[i] = "-"
		}
	}
	return words
}
