package rules

import (
	"slices"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/message"
	"github.com/starling-chat/starling/proto/fault"
)

// What others do with a message that was sent stands in this file: they react to it, and moderators pin it.

// MaxPins bounds how many messages of a room are pinned.
const MaxPins = 50

// React has a user react to a message, or no longer.
type React struct {
	Origin

	Message chat.MessageID
	Key     string
	Off     bool
}

// Reactions are what several users do with messages of one room, one after the other. What they do with one message in a row is one fact.
type Reactions struct {
	Origin // only the room

	Each []React
}

// Reactor is a user and a message that it may have reacted to.
type Reactor struct {
	chat.MessageRef
	User chat.UserID
}

// ChangedReaction is a reaction that is from now on, or no longer.
type ChangedReaction struct {
	Reactor

	Key string
	Off bool
}

func (c Reactions) need(n *Needs) {
	for _, r := range c.Each {
		r.need(n)
	}
}

// decide gives what became of each in Details.Parts.
func (c Reactions) decide(b *batch) Outcome {
	parts := make([]Outcome, len(c.Each))
	for i, r := range c.Each {
		if r.Asker.gaveUp(b.state.Now) {
			parts[i] = b.givenUp()
			continue
		}
		parts[i] = r.decide(b)
	}
	return Outcome{Details: &Details{Parts: parts}}
}

func (c React) reactor() Reactor { return Reactor{chat.RefOf(c.Room, c.Message), c.User} }

func (c React) need(n *Needs) {
	needMessage(n, c.Origin, c.Message)
	n.Reactors = append(n.Reactors, c.reactor())
}

// decide changes the reaction, once for each user and key, and gives the counts and what the user's own are.
func (c React) decide(b *batch) Outcome {
	r := b.room(c.Room)
	s := b.asking(r, c.Origin)
	if err := s.Refuse(access.React, b.state.At); err != nil {
		return Outcome{Err: err}
	}
	m := b.message(c.Room, c.Message)
	switch {
	case m == nil:
		return Outcome{Err: ErrNoMessage()}
	case m.Deleted():
		return Outcome{Err: errDeleted()}
	}
	mine := b.mine(c.reactor())
	if slices.Contains(mine, c.Key) != c.Off {
		return Outcome{Details: &Details{Reactions: m.CopyExtras().Reactions, Mine: mine}}
	}
	counts := m.CopyExtras().Reactions
	if !c.Off && !counts.Has(c.Key) && len(counts) >= message.MaxKeys {
		return Outcome{Err: fault.Because(fault.TooLarge, fault.ReasonKeys, "The message has as many different reactions as it may have")}
	}
	by, after := 1, append(slices.Clone(mine), c.Key)
	if c.Off {
		by, after = -1, slices.DeleteFunc(slices.Clone(mine), func(key string) bool { return key == c.Key })
	}
	b.reacted[c.reactor()] = after
	b.changes.Reactions = append(b.changes.Reactions, ChangedReaction{c.reactor(), c.Key, c.Off})
	seq := b.react(c, r, m, counts.Add(c.Key, by))
	return Outcome{
		Position: Position{Seq: seq}, CreatedAt: b.state.At, Changed: true, Details: &Details{Reactions: counts.Add(c.Key, by), Mine: after},
	}
}

// react adds a reaction to the last fact of the message, if that is one about its reactions, or makes a new one. It gives its sequence.
func (b *batch) react(c React, r *changingRoom, m *chat.Message, counts message.Counts) uint64 {
	ref := m.Ref()
	fact := (*chat.ReactionsChanged)(nil)
	if last := b.altered[ref]; last != nil {
		fact = last.reactions
	}
	seq := m.Changed
	if fact == nil {
		seq, fact = b.next(c.Room, r), &chat.ReactionsChanged{Message: m.ID}
		b.changes.Events = append(b.changes.Events, chat.RoomEvent{Room: c.Room, Seq: seq, Fact: fact, CausedAt: c.CausedAt})
	}
	fact.Changes, fact.Counts = append(fact.Changes, chat.ReactionChange{Key: c.Key, User: c.User, On: !c.Off}), counts
	changed := b.alter(m, seq)
	changed.reactions, changed.Counted, changed.Extras.Reactions = fact, true, counts
	return seq
}

// mine gives the keys with which a user has reacted to a message by now.
func (b *batch) mine(r Reactor) []string {
	if b.reacted == nil {
		b.reacted = map[Reactor][]string{}
	}
	if keys, known := b.reacted[r]; known {
		return keys
	}
	return b.state.Reacted[r]
}

// Pin has a message shown among those that a room holds on to, or no longer.
type Pin struct {
	Origin

	Message chat.MessageID
	Off     bool
}

func (c Pin) need(n *Needs) {
	needMessage(n, c.Origin, c.Message)
	n.Pins = append(n.Pins, c.Room)
}

// decide pins the message, or no longer. In a direct room all may.
func (c Pin) decide(b *batch) Outcome {
	r := b.room(c.Room)
	s := b.asking(r, c.Origin)
	act := access.Moderate
	if s.Kind == access.Direct {
		act = access.React
	}
	if err := s.Refuse(act, b.state.At); err != nil {
		return Outcome{Err: err}
	}
	m := b.message(c.Room, c.Message)
	switch {
	case m == nil:
		return Outcome{Err: ErrNoMessage()}
	case m.Deleted():
		return Outcome{Err: errDeleted()}
	case m.CopyExtras().PinnedAt.IsZero() == c.Off:
		return Outcome{Position: Position{Seq: m.Version()}}
	case !c.Off && b.state.Pins[c.Room]+r.pinned >= MaxPins:
		return Outcome{Err: fault.Newf(fault.TooLarge, "At most %d messages of a room are pinned", MaxPins)}
	}
	changed := b.alter(m, b.next(c.Room, r))
	changed.Pinned, changed.Extras.PinnedAt = true, b.state.At
	audited := actPin
	r.pinned++
	if c.Off {
		changed.Extras.PinnedAt, audited = time.Time{}, actUnpin
		r.pinned -= 2
	}
	if s.Kind != access.Direct {
		b.audit(c.Origin, Audit{Act: audited, User: m.Sender.ID})
	}
	return b.changedBy(c.Origin, changed.Changed, chat.MessagePinned{Message: c.Message, By: c.User, At: b.state.At, Off: c.Off})
}

var _, _, _ Command = React{}, Reactions{}, Pin{}
