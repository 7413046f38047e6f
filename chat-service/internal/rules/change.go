package rules

import (
	"slices"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/message"
	"github.com/starling-chat/starling/proto/fault"
)

// What all that changes messages has in common stands in this file.

// ChangedMessage is the new state of a message.
type ChangedMessage struct {
	chat.Message

	Body    bool           // what it says has changed
	Counted bool           // its reactions have
	Pinned  bool           // whether it is pinned has
	Gone    bool           // it was deleted: nothing of what it said is to be left anywhere
	Former  []chat.Message // what it was before, to be kept

	reactions *chat.ReactionsChanged // the last fact of the message in the batch, if it is one
}

// message gives a message as it is by now; nil: there is none.
func (b *batch) message(room chat.RoomID, id chat.MessageID) *chat.Message {
	ref := chat.RefOf(room, id)
	if c := b.altered[ref]; c != nil && c.ID == id {
		return &c.Message
	}
	if m, ok := b.state.Messages[ref]; ok && m.ID == id {
		return &m
	}
	return nil
}

// alter gives a message to be changed by the fact with a sequence.
func (b *batch) alter(m *chat.Message, by uint64) *ChangedMessage {
	c := b.altered[m.Ref()]
	if c == nil {
		if b.altered == nil {
			b.altered = map[chat.MessageRef]*ChangedMessage{}
		}
		c = &ChangedMessage{Message: *m}
		b.altered[m.Ref()] = c
		b.changes.Messages = append(b.changes.Messages, c)
	}
	c.Changed, c.Extras, c.reactions = by, c.CopyExtras(), nil
	return c
}

// needReply has the message known that another one answers.
func needReply(n *Needs, e *chat.Extras, room chat.RoomID) {
	if e != nil && e.ReplyTo != nil {
		n.Messages = append(n.Messages, chat.RefOf(room, e.ReplyTo.ID))
	}
}

// extrasOf gives what a message has beside its text, with what it answers.
func (b *batch) extrasOf(c Send, r *changingRoom) (*chat.Extras, error) {
	extras := new(*c.Extras)
	if err := b.mayMention(c.Origin, r, extras.MentionsRoom); err != nil {
		return nil, err
	}
	if extras.ReplyTo != nil {
		to := b.message(c.Room, extras.ReplyTo.ID)
		if to == nil || to.Deleted() {
			return nil, fault.Because(fault.NotFound, fault.ReasonReplyGone, "The message that this one answers is gone")
		}
		extras.ReplyTo = &chat.Reply{ID: to.ID, Sender: to.Sender, Preview: message.Preview(to.Content)}
	}
	return extras, nil
}

// mayMention refuses who would mention a whole room and may not: that is for moderators, and for all in a direct room.
func (b *batch) mayMention(o Origin, r *changingRoom, all bool) error {
	if s := b.asking(r, o); all && r.Kind != access.Direct && access.RoleModerator.Above(s.Role) {
		return fault.Because(fault.Forbidden, fault.ReasonMention, "Only a moderator of the room may mention all of it")
	}
	return nil
}

func sameMentions(x, y *chat.Extras) bool {
	return x.MentionsRoom == y.MentionsRoom && slices.Equal(x.Mentioned, y.Mentioned)
}
