package chat

import (
	"time"

	"github.com/starling-chat/starling/chat-service/internal/message"
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

// Ref is the place of the message.
func (m *Message) Ref() MessageRef { return MessageRef{m.Room, m.Seq} }

// CopyExtras gives a copy of what the message has beside its text.
func (m *Message) CopyExtras() *Extras {
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
