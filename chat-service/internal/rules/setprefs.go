package rules

import (
	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
)

// SetPrefs changes how the user wants the room shown.
type SetPrefs struct {
	Origin

	Muted, Hidden, Pinned *bool // nil = stays
}

// ChangedPrefs are the new Prefs of a user in a room.
type ChangedPrefs struct {
	chat.Membership
	chat.Prefs
}

func (c SetPrefs) need(n *Needs) {
	n.Members, n.Prefs = append(n.Members, c.membership()), append(n.Prefs, c.membership())
	n.Logs = append(n.Logs, c.User)
}

// decide changes what is given, and tells the user's devices if that is something new.
func (c SetPrefs) decide(b *batch) Outcome {
	s := b.asking(b.room(c.Room), c.Origin)
	if err := s.Refuse(access.Attend, b.state.At); err != nil {
		return Outcome{Err: err}
	}
	before := b.prefsOf(c.membership())
	after := before
	for _, p := range []struct{ to, from *bool }{{&after.Muted, c.Muted}, {&after.Hidden, c.Hidden}, {&after.Pinned, c.Pinned}} {
		if p.from != nil {
			*p.to = *p.from
		}
	}
	if after == before {
		return Outcome{}
	}
	b.changes.Prefs = append(b.changes.Prefs, ChangedPrefs{c.membership(), after})
	b.tell(c.User, c.Origin, nil, chat.PrefsChanged{Room: c.Room, Prefs: after})
	return Outcome{Changed: true}
}

// prefsOf gives the Prefs of a user by now.
func (b *batch) prefsOf(m chat.Membership) chat.Prefs {
	prefs := b.state.Prefs[m]
	if member := b.members[m]; member != nil && (member.again || !member.was) {
		prefs = chat.Prefs{} // they end with the membership
	}
	for _, c := range b.changes.Prefs {
		if c.Membership == m {
			prefs = c.Prefs
		}
	}
	return prefs
}

var _ Command = SetPrefs{}
