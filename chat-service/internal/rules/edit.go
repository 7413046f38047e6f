package rules

import (
	"bytes"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/proto/fault"
)

// What is done to messages that were sent stands in this file. The author changes what it said, and a moderator what others said, of
// which the audit keeps a line.

// Edit changes what a message says.
type Edit struct {
	Origin

	Message   chat.MessageID
	Content   *string   // nil = stays
	Data      *[]byte   // nil = stays
	Mentions  *Mentions // nil = stay
	IfChanged uint64    // only if the message has this version; 0 = whatever it has

	Window time.Duration // for so long the author may; 0 = for good
}

// Mentions are whom a message mentions.
type Mentions struct {
	Users []chat.UserID
	Room  bool
}

// DeleteMessage leaves nothing of a message but its place.
type DeleteMessage struct {
	Origin

	Message chat.MessageID
}

func needMessage(n *Needs, o Origin, id chat.MessageID) {
	n.Members, n.Messages = append(n.Members, o.membership()), append(n.Messages, chat.RefOf(o.Room, id))
}

func (c Edit) need(n *Needs) {
	needMessage(n, c.Origin, c.Message)
	if c.Mentions != nil {
		needMentions(n, c.Origin, c.Mentions.Users)
	}
}

// decide edits the message. An edit that changes nothing is no news.
func (c Edit) decide(b *batch) Outcome {
	r, m, err := b.mayEdit(c)
	if err != nil {
		return Outcome{Err: err}
	}
	content, extras := m.Content, m.CopyExtras()
	if c.Content != nil {
		content = *c.Content
	}
	if c.Data != nil {
		extras.Data = *c.Data
	}
	if c.Mentions != nil {
		extras.Mentioned, extras.MentionsRoom = c.Mentions.Users, c.Mentions.Room
	}
	before := m.CopyExtras()
	same := content == m.Content && bytes.Equal(extras.Data, before.Data) && sameMentions(extras, before)
	switch {
	case same && (b.state.Again || c.IfChanged == 0):
		return Outcome{Position: Position{Seq: m.Version()}}
	case c.IfChanged != 0 && c.IfChanged != m.Version():
		return Outcome{Err: fault.Because(fault.Conflict, fault.ReasonChanged, "The message has changed meanwhile")}
	case same:
		return Outcome{Position: Position{Seq: m.Version()}}
	}
	if err := b.mayMention(c.Origin, r, extras.MentionsRoom && !before.MentionsRoom); err != nil {
		return Outcome{Err: err}
	}
	former := *m
	changed := b.alter(m, b.next(c.Room, r))
	changed.Content, changed.Body, changed.Extras = content, true, extras
	changed.Extras.EditedAt = b.state.At
	b.mention(c.Origin, &changed.Message, before)
	if b.state.KeepEdits {
		changed.Former = append(changed.Former, former)
	}
	if m.Sender.ID != c.User {
		b.audit(c.Origin, Audit{Act: actEdit, User: m.Sender.ID})
	}
	return b.changedBy(c.Origin, changed.Changed, chat.MessageEdited{Message: changed.Message})
}

// mayEdit gives the message, and refuses who may not change what it says.
func (b *batch) mayEdit(c Edit) (*changingRoom, *chat.Message, error) {
	r := b.room(c.Room)
	s := b.asking(r, c.Origin)
	if err := s.Refuse(access.Read, b.state.At); err != nil {
		return r, nil, err
	}
	m := b.message(c.Room, c.Message)
	switch {
	case m == nil:
		return r, nil, ErrNoMessage()
	case m.Sender.ID == c.User:
		if err := s.Refuse(access.Speak, b.state.At); err != nil {
			return r, nil, err
		}
	case s.Refuse(access.Moderate, b.state.At) != nil:
		return r, nil, errNotAuthor()
	}
	switch {
	case r.Archived:
		return r, nil, access.Archived()
	case m.Deleted():
		return r, nil, errDeleted()
	case m.Sender.ID == c.User && c.Window > 0 && b.state.At.Sub(m.CreatedAt) > c.Window && s.Refuse(access.Moderate, b.state.At) != nil:
		return r, nil, fault.Because(fault.Forbidden, fault.ReasonEditWindow, "The message is too old to be edited")
	}
	return r, m, nil
}

func (c DeleteMessage) need(n *Needs) { needMessage(n, c.Origin, c.Message) }

// decide deletes the message, once.
func (c DeleteMessage) decide(b *batch) Outcome {
	r := b.room(c.Room)
	s := b.asking(r, c.Origin)
	if err := s.Refuse(access.Read, b.state.At); err != nil {
		return Outcome{Err: err}
	}
	m := b.message(c.Room, c.Message)
	switch {
	case m == nil:
		return Outcome{Err: ErrNoMessage()}
	case m.Sender.ID == c.User && s.Refuse(access.Attend, b.state.At) == nil:
	case s.Refuse(access.Moderate, b.state.At) != nil:
		return Outcome{Err: errNotAuthor()}
	}
	if m.Deleted() {
		return Outcome{Position: Position{Seq: m.Version()}}
	}
	author := m.Sender.ID
	if !m.CopyExtras().PinnedAt.IsZero() {
		r.pinned--
	}
	changed := b.alter(m, b.next(c.Room, r))
	changed.Content, changed.Former, changed.Body, changed.Gone = "", nil, true, true
	changed.Extras = &chat.Extras{DeletedAt: b.state.At, DeletedBy: c.User}
	b.forget(changed)
	if author != c.User {
		b.audit(c.Origin, Audit{Act: actDeleteMessage, User: author})
	}
	return b.changedBy(c.Origin, changed.Changed, chat.MessageDeleted{Message: c.Message, By: c.User, At: b.state.At})
}

// forget has the facts of this batch show nothing of a message that is gone: those before it and those that quote it.
func (b *batch) forget(gone *ChangedMessage) {
	for i := range b.changes.Events {
		e := &b.changes.Events[i]
		if e.Room != gone.Room {
			continue
		}
		switch f := e.Fact.(type) {
		case chat.MessageEdited:
			if f.Message.ID == gone.ID {
				e.Fact = chat.MessageEdited{Message: gone.Message}
			}
		case chat.MessageSent:
			if x := f.Message.Extras; x != nil && x.ReplyTo != nil && x.ReplyTo.ID == gone.ID {
				f.Message.Extras = f.Message.CopyExtras()
				f.Message.Extras.ReplyTo = &chat.Reply{ID: gone.ID, Sender: x.ReplyTo.Sender}
				e.Fact = f
			}
		}
	}
}

// changedBy adds a fact about a message, which everybody is told.
func (b *batch) changedBy(o Origin, seq uint64, fact chat.Fact) Outcome {
	b.changes.Events = append(b.changes.Events, chat.RoomEvent{Room: o.Room, Seq: seq, Fact: fact, CausedAt: o.CausedAt})
	return Outcome{Position: Position{Seq: seq}, CreatedAt: b.state.At, Changed: true}
}

var _, _ Command = Edit{}, DeleteMessage{}

// ErrNoMessage refuses what is asked of a message that there is not.
func ErrNoMessage() error { return fault.New(fault.NotFound, "Message not found") }

func errNotAuthor() error {
	return fault.Because(fault.Forbidden, fault.ReasonNotAuthor, "Only the author of the message or a moderator may do this")
}

func errDeleted() error {
	return fault.Because(fault.NotFound, fault.ReasonDeleted, "The message was deleted")
}
