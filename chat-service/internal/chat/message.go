package chat

import (
	"slices"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/message"
	"github.com/starling-chat/starling/proto/fault"
)

// Sender is the author of a message.
type Sender struct {
	ID   UserID
	Name string
}

// Message is one stored message, as it is now.
type Message struct {
	ID          MessageID
	Room        RoomID
	Seq         uint64
	Sender      Sender
	Content     string // "" of one that was deleted
	Type        string
	CreatedAt   time.Time // UTC, whole milliseconds
	ClientMsgID string    // "" when the sender gave none
	N           uint64    // counts the room's messages; 0 = not known, of one from before there were such numbers
	Changed     uint64    // the sequence of the last fact that changed it; 0 = it is as it was sent
	Extras      *Extras   // nil = it has none
}

// Extras are what most messages do not have. Nobody changes them: what changes a message makes others.
type Extras struct {
	Data         []byte // a JSON object; nil = none
	Format       string // message.Plain or message.Markdown
	ReplyTo      *Reply
	Mentioned    []UserID
	MentionsRoom bool

	Reactions           message.Counts
	Mine                []string  // keys of reactions; only in what is read for a user
	PinnedAt            time.Time // zero = it is not
	EditedAt, DeletedAt time.Time // zero = never
	DeletedBy           UserID
}

// Reply is the message that another one answers, as it was then.
type Reply struct {
	ID      MessageID
	Sender  Sender
	Preview string // "" when it was deleted since
}

// Version is the sequence of the last fact of the message. Whoever knows a version knows all facts of the message up to it.
func (m *Message) Version() uint64 { return max(m.Seq, m.Changed) }

// Deleted tells that only the place of the message is left.
func (m *Message) Deleted() bool { return m.Extras != nil && !m.Extras.DeletedAt.IsZero() }

func (m *Message) ref() MessageRef { return MessageRef{m.Room, m.Seq} }

// extras gives a copy of what the message has.
func (m *Message) extras() *Extras {
	if m.Extras == nil {
		return &Extras{}
	}
	return new(*m.Extras)
}

// MessageRef is the place of a message.
type MessageRef struct {
	Room RoomID
	Seq  uint64
}

// RefOf is where a message of a room would be that has the id.
func RefOf(room RoomID, id MessageID) MessageRef { return MessageRef{room, SeqOf(id)} }

// ChangedMessage is the new state of a message.
type ChangedMessage struct {
	Message

	Body    bool      // what it says has changed
	Counted bool      // its reactions have
	Pinned  bool      // whether it is pinned has
	Gone    bool      // it was deleted: nothing of what it said is to be left anywhere
	Former  []Message // what it was before, to be kept

	reactions *ReactionsChanged // the last fact of the message in the batch, if it is one
}

// message gives a message as it is by now; nil: there is none.
func (b *batch) message(room RoomID, id MessageID) *Message {
	ref := RefOf(room, id)
	if c := b.altered[ref]; c != nil && c.ID == id {
		return &c.Message
	}
	if m, ok := b.state.Messages[ref]; ok && m.ID == id {
		return &m
	}
	return nil
}

// alter gives a message to be changed by the fact with a sequence.
func (b *batch) alter(m *Message, by uint64) *ChangedMessage {
	c := b.altered[m.ref()]
	if c == nil {
		if b.altered == nil {
			b.altered = map[MessageRef]*ChangedMessage{}
		}
		c = &ChangedMessage{Message: *m}
		b.altered[m.ref()] = c
		b.changes.Messages = append(b.changes.Messages, c)
	}
	c.Changed, c.Extras, c.reactions = by, c.extras(), nil
	return c
}

func (e *Extras) need(n *Needs, room RoomID) {
	if e != nil && e.ReplyTo != nil {
		n.Messages = append(n.Messages, RefOf(room, e.ReplyTo.ID))
	}
}

// extrasOf gives what a message has beside its text, with what it answers.
func (b *batch) extrasOf(c Send, r *changingRoom) (*Extras, error) {
	extras := new(*c.Extras)
	if err := b.mayMention(c.Origin, r, extras.MentionsRoom); err != nil {
		return nil, err
	}
	if extras.ReplyTo != nil {
		to := b.message(c.Room, extras.ReplyTo.ID)
		if to == nil || to.Deleted() {
			return nil, fault.Because(fault.NotFound, fault.ReasonReplyGone, "The message that this one answers is gone")
		}
		extras.ReplyTo = &Reply{ID: to.ID, Sender: to.Sender, Preview: message.Preview(to.Content)}
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

func sameMentions(x, y *Extras) bool {
	return x.MentionsRoom == y.MentionsRoom && slices.Equal(x.Mentioned, y.Mentioned)
}
