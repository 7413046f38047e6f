package rules

import (
	"time"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/proto/fault"
)

// How moderators let others in by an invite stands in this file.

// Invite makes an invitation. Its Room and By are those of the Origin.
type Invite struct {
	Origin

	Hash  chat.InviteHash
	Salt  chat.InviteSalt // of the invite; only for the Outcome
	Role  access.Role
	Uses  int
	Until time.Time
}

// RevokeInvite ends an invitation.
type RevokeInvite struct {
	Origin

	Hash chat.InviteHash
}

func (c Invite) need(n *Needs) { n.Members = append(n.Members, c.membership()) }

// decide makes the invitation. Nobody invites to a role above its own.
func (c Invite) decide(b *batch) Outcome {
	r := b.room(c.Room)
	s := b.asking(r, c.Origin)
	switch err := s.Refuse(access.Moderate, b.state.At); {
	case err != nil:
		return Outcome{Err: err}
	case r.Archived:
		return Outcome{Err: access.Archived()}
	case s.Kind == access.Direct:
		return Outcome{Err: ErrDirect()}
	case c.Role.Above(s.Role):
		return Outcome{Err: errRank()}
	}
	b.changes.Invites = append(b.changes.Invites, chat.Invitation{Hash: c.Hash, Room: c.Room, By: c.User, Role: c.Role, Uses: c.Uses, Until: c.Until})
	b.audit(c.Origin, Audit{Act: actInvite, Role: c.Role, Until: c.Until})
	return Outcome{Changed: true, Details: &Details{Until: c.Until, Salt: c.Salt}}
}

func (c RevokeInvite) need(n *Needs) {
	n.Members, n.Invites = append(n.Members, c.membership()), append(n.Invites, c.Hash)
}

// decide ends the invitation, if it is still one. Nobody ends one to a role above its own.
func (c RevokeInvite) decide(b *batch) Outcome {
	s := b.asking(b.room(c.Room), c.Origin)
	if err := s.Refuse(access.Moderate, b.state.At); err != nil {
		return Outcome{Err: err}
	}
	i, ok := b.open(c.Room, c.Hash)
	switch {
	case !ok:
		return Outcome{}
	case i.Role.Above(s.Role):
		return Outcome{Err: errRank()}
	}
	b.left(i, 0)
	act := Audit{Act: actRevokeInvite, Role: i.Role, Until: i.Until}
	if i.By != chat.System {
		act.User = i.By
	}
	b.audit(c.Origin, act)
	return Outcome{Changed: true}
}

// open gives an invitation to a room that is neither used up nor over by now.
func (b *batch) open(room chat.RoomID, hash chat.InviteHash) (chat.Invitation, bool) {
	i, ok := b.invites[hash]
	if !ok {
		i, ok = b.state.Invites[hash]
	}
	return i, ok && i.Room == room && i.Uses > 0 && i.Until.After(b.state.At)
}

// invitation gives the invitation that a Join shows, if it lets the user in now: there is the room, and its maker still has to be one who may
// invite to that role. r may be nil.
func (b *batch) invitation(c Join, r *changingRoom) (chat.Invitation, bool) {
	i, ok := b.open(c.Room, c.Invite)
	if !ok || r == nil || i.By != c.Inviter || r.Kind == access.Direct {
		return chat.Invitation{}, false
	}
	if i.By == chat.System {
		return i, true
	}
	maker := b.standing(r, i.By, b.member(chat.Membership{Room: c.Room, User: i.By}))
	return i, maker.Member && !access.RoleModerator.Above(maker.Role) && !i.Role.Above(maker.Role)
}

// enterInvited makes the user of c a member by an invitation; one who was a member by a token is one from now on whatever its token says.
func (b *batch) enterInvited(c Join, r *changingRoom, i chat.Invitation, member bool) Outcome {
	switch {
	case !member && r.Archived:
		return Outcome{Err: access.Archived()}
	case !member && b.full(c.Room, r):
		return Outcome{Err: errFull()}
	}
	if !member {
		if err := b.spendJoin(c.User); err != nil {
			return Outcome{Err: err}
		}
	}
	b.left(i, i.Uses-1)
	if member {
		m := b.change(c.membership())
		m.Role, m.ByToken = Invited{User: c.User, Role: i.Role}.role(), false
		return Outcome{Changed: true}
	}
	return b.enter(c.Origin, r, Invited{User: c.User, Role: i.Role}, b.name(c.Origin))
}

// left has an invitation have so many uses left.
func (b *batch) left(i chat.Invitation, uses int) {
	i.Uses = uses
	if b.invites == nil {
		b.invites = map[chat.InviteHash]chat.Invitation{}
	}
	b.invites[i.Hash] = i
	b.changes.Invites = append(b.changes.Invites, i)
}

// ErrInvite refuses an invite that is none, or none any more. What is said is the same for a room that there is not.
func ErrInvite() error {
	return fault.Because(fault.Forbidden, fault.ReasonInvite, "The invite is not good, or no longer")
}

var _, _ Command = Invite{}, RevokeInvite{}
