package usecases

import (
	"context"
	"slices"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/message"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/proto/fault"
)

// Bounds of reading messages.
const (
	maxMessagesAsked = 100
	maxChangesPage   = 200
	maxFormer        = 100
)

// MessagesConfig has an operator's choices for messages that were sent.
type MessagesConfig struct {
	EditWindow time.Duration // for so long authors may edit; 0 = for good
	KeepEdits  bool          // what a message was before an edit is kept, and shown
}

// checkExtras refuses what is too large.
func checkExtras(x *chat.Extras) error {
	switch {
	case x == nil:
	case len(x.Data) > message.MaxData:
		return fault.Newf(fault.TooLarge, "data must have at most %d bytes", message.MaxData)
	case len(x.Mentioned) > message.MaxMentions:
		return fault.Newf(fault.TooLarge, "mentions.users must have at most %d entries", message.MaxMentions)
	}
	return nil
}

// Edit changes what a message says, and gives the sequence of the change.
func (s *Service) Edit(c Caller, e rules.Edit, done func(rules.Outcome)) error {
	if e.Content != nil {
		d := Draft{Content: *e.Content}
		if err := d.check(); err != nil {
			return err
		}
	}
	var extras chat.Extras
	if e.Data != nil {
		extras.Data = *e.Data
	}
	if e.Mentions != nil {
		extras.Mentioned = e.Mentions.Users
	}
	if err := checkExtras(&extras); err != nil {
		return err
	}
	if e.Content == nil && e.Data == nil && e.Mentions == nil {
		return fault.New(fault.Invalid, "content, data or mentions must be given")
	}
	e.Origin = c.in(e.Room)
	asked := e
	e.Window = s.cfg.Messages.EditWindow
	return s.writer.Submit(c.keyedAs(e.Room, asked, e), done)
}

// DeleteMessage leaves nothing of a message but its place, and gives the sequence of that.
func (s *Service) DeleteMessage(c Caller, room chat.RoomID, id chat.MessageID, done func(rules.Outcome)) error {
	return s.writer.Submit(c.keyed(rules.DeleteMessage{Origin: c.in(room), Message: id}), func(o rules.Outcome) {
		if o.Changed {
			s.publisher.Erase()
		}
		done(o)
	})
}

// Changes is what is new in a room or has changed since a sequence, in the order of versions.
type Changes struct {
	Seqs, Versions []uint64
	UpTo           uint64 // what changes after it is not in here
	HasMore        bool
}

// ChangesView is Changes with the messages as they are now.
type ChangesView struct {
	Messages []chat.Message
	UpTo     uint64
	HasMore  bool
}

// MessageChanges gives who may read the room what is new or has changed since a sequence, each message once and as it is now. A limit of 0
// means 200, the most.
func (s *Service) MessageChanges(ctx context.Context, c Caller, room chat.RoomID, since uint64, limit int) (v ChangesView, err error) {
	if err := s.require(ctx, c, room, access.Read); err != nil {
		return v, err
	}
	if limit <= 0 || limit > maxChangesPage {
		limit = maxChangesPage
	}
	changes, err := s.store.Changes(ctx, room, since, limit)
	if err != nil {
		return v, err
	}
	list, err := s.store.Messages(ctx, room, changes.Seqs)
	if err != nil {
		return v, err
	}
	v.UpTo, v.HasMore = max(changes.UpTo, since), changes.HasMore
	if changes.UpTo == 0 {
		v.UpTo = 0 // there is no such room any more
	}
	weight := 0
	for i, seq := range changes.Seqs {
		at := slices.IndexFunc(list, func(m chat.Message) bool { return m.Seq == seq })
		if at < 0 {
			continue
		}
		if weight += weightOf(&list[at]); weight > maxPageWeight && i > 0 {
			v.UpTo, v.HasMore = changes.Versions[i-1], true
			break
		}
		v.Messages = append(v.Messages, list[at])
	}
	return v, s.showMine(ctx, c, room, v.Messages)
}

// Messages gives who may read the room some of its messages, as they are now, by sequence. Those that there are not are left out. more tells
// that others were left out because all are too large for one answer.
func (s *Service) Messages(ctx context.Context, c Caller, room chat.RoomID, ids []chat.MessageID) (list []chat.Message, more bool, err error) {
	if len(ids) > maxMessagesAsked {
		return nil, false, fault.Newf(fault.TooLarge, "messageIds must have at most %d entries", maxMessagesAsked)
	}
	if err := s.require(ctx, c, room, access.Read); err != nil {
		return nil, false, err
	}
	seqs := make([]uint64, len(ids))
	for i, id := range ids {
		seqs[i] = chat.SeqOf(id)
	}
	list, err = s.store.Messages(ctx, room, seqs)
	if err != nil {
		return nil, false, err
	}
	list = slices.DeleteFunc(list, func(m chat.Message) bool { return !slices.Contains(ids, m.ID) })
	view := View{Messages: list}
	view.fit(maxPageWeight, true)
	return view.Messages, view.HasMore, s.showMine(ctx, c, room, view.Messages)
}

// FormerMessage is what a message was before an edit.
type FormerMessage struct {
	Version uint64
	Content string
	Data    []byte
	At      time.Time // when it was said
}

// Edits gives who may read the room what a message was before its edits, the last hundred, the oldest first.
func (s *Service) Edits(ctx context.Context, c Caller, room chat.RoomID, id chat.MessageID) ([]FormerMessage, error) {
	if !s.cfg.Messages.KeepEdits {
		return nil, fault.New(fault.Forbidden, "message:edits is turned off here")
	}
	list, _, err := s.Messages(ctx, c, room, []chat.MessageID{id})
	switch {
	case err != nil:
		return nil, err
	case len(list) == 0:
		return nil, rules.ErrNoMessage()
	}
	return s.store.Former(ctx, room, chat.SeqOf(id), maxFormer)
}

// around reads a page with a message in its middle: half of the page up to it, half behind it. HasMore tells of older ones.
func (s *Service) around(ctx context.Context, c Caller, room chat.RoomID, page Page) (View, error) {
	middle := *page.Around
	if page.Before != nil || page.After != nil {
		return View{}, fault.New(fault.Invalid, "around goes without before and after")
	}
	older := Page{Before: new(middle + 1), Limit: (page.Limit + 1) / 2, Granted: page.Granted}
	view, err := s.store.View(ctx, room, c.User, older)
	if err == nil {
		err = view.Refuse(access.Read, time.Now())
	}
	if err != nil {
		return View{}, err
	}
	newer, err := s.store.View(ctx, room, c.User, Page{After: &middle, Limit: page.Limit / 2, Granted: page.Granted})
	if err != nil {
		return View{}, err
	}
	view.fit(maxPageWeight/2, false)
	newer.fit(maxPageWeight/2, true)
	view.Messages, view.Newer = append(view.Messages, newer.Messages...), new(newer.HasMore)
	return view, s.showMine(ctx, c, room, view.Messages)
}

// showMine gives messages that are read for a user which reactions are its own.
func (s *Service) showMine(ctx context.Context, c Caller, room chat.RoomID, list []chat.Message) error {
	var seqs []uint64
	for i := range list {
		if x := list[i].Extras; x != nil && len(x.Reactions) > 0 {
			seqs = append(seqs, list[i].Seq)
		}
	}
	if len(seqs) == 0 || c.User == chat.System {
		return nil
	}
	keys, err := s.store.Mine(ctx, c.of(room), seqs)
	for i := range list {
		if mine := keys[list[i].Seq]; len(mine) > 0 {
			list[i].Extras.Mine = mine
		}
	}
	return err
}

// React has the caller react to a message, or no longer.
func (s *Service) React(c Caller, r rules.React, done func(rules.Outcome)) error {
	if err := message.CheckKey(r.Key); err != nil {
		return err
	}
	r.Origin = c.in(r.Room)
	return s.reactions.React(r, done)
}

// Pin has a message shown among those that a room holds on to, or no longer, and gives the sequence of the change.
func (s *Service) Pin(c Caller, p rules.Pin, done func(rules.Outcome)) error {
	p.Origin = c.in(p.Room)
	return s.writer.Submit(c.keyed(p), done)
}

// Pins gives who may read the room its pinned messages behind a sequence, by sequence; more tells that there are others behind them.
func (s *Service) Pins(ctx context.Context, c Caller, room chat.RoomID, after uint64, limit int) (list []chat.Message, more bool, err error) {
	if err := s.require(ctx, c, room, access.Read); err != nil {
		return nil, false, err
	}
	limit = pageLimit(limit, rules.MaxPins)
	list, err = s.store.Pins(ctx, room, after, limit+1)
	if err != nil {
		return nil, false, err
	}
	view := View{Messages: list, HasMore: len(list) > limit}
	view.Messages = view.Messages[:min(len(list), limit)]
	view.fit(maxPageWeight, true)
	return view.Messages, view.HasMore, s.showMine(ctx, c, room, view.Messages)
}
