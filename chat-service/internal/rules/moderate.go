package rules

import (
	"slices"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/proto/fault"
)

// What moderators do to members stands in this file: the commands, each about one user, and their rules. Every act that changes
// something leaves an Audit in the transaction that stores it. Who acts must outrank the user concerned, or own the room.

// Add makes a user a member.
type Add struct {
	Origin

	Who Invited
}

// Remove ends the membership of another user.
type Remove struct {
	Origin

	Who chat.UserID
	Why string // for the audit
}

// SetRole gives a member, the user itself included, another role.
type SetRole struct {
	Origin

	Who  chat.UserID
	Role access.Role
}

// Restrict bans or mutes another user, member or not, or ends that.
type Restrict struct {
	Origin

	Who   chat.UserID
	Mute  bool      // false: it is about a ban, which ends the membership
	Until time.Time // Forever = without end, zero = no longer
	Why   string    // for the audit
}

// Audit is what is kept of an act of a moderator.
type Audit struct {
	Room  chat.RoomID
	By    chat.UserID // System = another backend as itself
	Key   string      // the API key by which a backend did it; "" = the user itself did
	Act   string
	User  chat.UserID // whom it concerned; "" = the room
	Role  access.Role // that was given; "" = none was
	Until time.Time
	Why   string
}

// The acts in an Audit.
const (
	actCreate  = "create" // by a backend
	actAdd     = "add"
	actRemove  = "remove"
	actRole    = "role"
	actBan     = "ban"
	actUnban   = "unban"
	actMute    = "mute"
	actUnmute  = "unmute"
	actUpdate  = "update"
	actArchive = "archive"
	actInvite  = "invite"
	actDelete  = "delete"

	actRevokeInvite = "revoke-invite"

	actEdit          = "edit-message"
	actDeleteMessage = "delete-message"
	actPin           = "pin"
	actUnpin         = "unpin"
)

// moderate gives the room and both users' memberships, and refuses who may not act on the other one.
func (b *batch) moderate(o Origin, who chat.UserID) (r *changingRoom, actor, target access.Standing, err error) {
	r = b.room(o.Room)
	actor = b.asking(r, o)
	if err = actor.Refuse(access.Moderate, b.state.At); err != nil {
		return r, actor, target, err
	}
	target = b.standing(r, who, b.member(chat.Membership{Room: o.Room, User: who}))
	if who != o.User && target.Member && !actor.Role.Above(target.Role) && actor.Role != access.RoleOwner {
		err = errRank()
	}
	return r, actor, target, err
}

// moderateOther is moderate for what nobody does to oneself.
func (b *batch) moderateOther(o Origin, who chat.UserID) (r *changingRoom, target access.Standing, err error) {
	r, _, target, err = b.moderate(o, who)
	if err == nil && who == o.User {
		err = errSelf()
	}
	return r, target, err
}

func needBoth(n *Needs, o Origin, who chat.UserID) {
	n.Members = append(n.Members, o.membership(), chat.Membership{Room: o.Room, User: who})
}

func (c Add) need(n *Needs) {
	needBoth(n, c.Origin, c.Who.User)
	n.Names = appendNames(n.Names, []Invited{c.Who})
	n.Logs, n.Infos = append(n.Logs, c.Who.User), append(n.Infos, c.Room)
	n.Counts = append(n.Counts, c.Room)
}

// decide adds the user, unless it is banned or a member.
func (c Add) decide(b *batch) Outcome {
	r := b.room(c.Room)
	actor := b.asking(r, c.Origin)
	if err := actor.Refuse(access.Moderate, b.state.At); err != nil {
		return Outcome{Err: err}
	}
	target := b.standing(r, c.Who.User, b.member(chat.Membership{Room: c.Room, User: c.Who.User}))
	switch {
	case target.Member && !target.ByToken:
		return Outcome{}
	case target.BannedUntil.After(b.state.At):
		return Outcome{Err: access.Banned(target.BannedUntil)}
	case c.Who.Role.Above(actor.Role):
		return Outcome{Err: errRank()}
	case c.Who.CheckRole() != nil:
		return Outcome{Err: c.Who.CheckRole()}
	case r.Archived && !target.Member:
		return Outcome{Err: access.Archived()}
	case b.full(c.Room, r) && !target.Member:
		return Outcome{Err: errFull()}
	}
	b.audit(c.Origin, Audit{Act: actAdd, User: c.Who.User, Role: c.Who.role()})
	if target.Member { // from now on whatever its token says
		m := b.change(chat.Membership{Room: c.Room, User: c.Who.User})
		m.Role, m.ByToken = c.Who.role(), false
		return Outcome{Changed: true}
	}
	return b.enter(c.Origin, r, c.Who, b.named(c.Who.User))
}

func (c Remove) need(n *Needs) {
	needBoth(n, c.Origin, c.Who)
	n.Logs = append(n.Logs, c.Who)
}

// decide ends the membership, if there is one.
func (c Remove) decide(b *batch) Outcome {
	r, target, err := b.moderateOther(c.Origin, c.Who)
	switch {
	case err != nil:
		return Outcome{Err: err}
	case !target.Member:
		return Outcome{}
	}
	b.audit(c.Origin, Audit{Act: actRemove, User: c.Who, Why: c.Why})
	return b.exit(c.Origin, r, chat.UserLeft{User: c.Who, By: c.User, Reason: chat.LeftRemoved})
}

// exit ends a membership.
func (b *batch) exit(o Origin, r *changingRoom, left chat.UserLeft) Outcome {
	if left.By != "" {
		o.Socket = "" // everybody is told, who did it included
	}
	gone := b.change(chat.Membership{Room: o.Room, User: left.User})
	gone.Is, gone.again, gone.Role, gone.ByToken = false, false, access.RoleMember, false
	gone.restricted = gone.restricted || !gone.SentAt.IsZero() // slow mode knows who comes again
	if r.Owner == left.User {
		r.Owner, r.inherit = "", true
	}
	r.grown--
	b.changes.Prefs = slices.DeleteFunc(b.changes.Prefs, func(p ChangedPrefs) bool { return p.Membership == chat.Membership{Room: o.Room, User: left.User} })
	reason := left.Reason
	if reason == "" {
		reason = chat.LeftBySelf
	}
	b.tell(left.User, o, r, chat.RoomRemoved{Room: o.Room, Reason: reason})
	return b.happened(o, r, chat.RoomEvent{Fact: left, EvictUser: left.User})
}

func (c SetRole) need(n *Needs) {
	needBoth(n, c.Origin, c.Who)
	n.Owners = append(n.Owners, c.Room)
}

// decide changes the role. Nobody gives a role above its own; the last owner stays one.
func (c SetRole) decide(b *batch) Outcome {
	r, actor, target, err := b.moderate(c.Origin, c.Who)
	switch {
	case err != nil:
		return Outcome{Err: err}
	case !target.Member:
		return Outcome{Err: fault.New(fault.NotFound, "The user is no member of this room")}
	case c.Who.Guest():
		return Outcome{Err: errGuest()}
	case target.Role == c.Role:
		return Outcome{}
	case c.Role.Above(actor.Role):
		return Outcome{Err: errRank()}
	case target.Role == access.RoleOwner:
		other, ok := b.otherOwner(c.Room, r, c.Who)
		if !ok {
			return Outcome{Err: errLastOwner()}
		}
		if r.Owner == c.Who {
			r.Owner = other
		}
	}
	m := b.change(chat.Membership{Room: c.Room, User: c.Who})
	m.Role, m.ByToken = c.Role, false
	b.audit(c.Origin, Audit{Act: actRole, User: c.Who, Role: c.Role})
	o := c.Origin
	o.Socket = "" // everybody is told, who did it included
	return b.happened(o, r, chat.RoomEvent{Fact: chat.RoleChanged{User: c.Who, Role: c.Role, By: c.User}})
}

// otherOwner finds an owner of a room besides a user.
func (b *batch) otherOwner(id chat.RoomID, r *changingRoom, user chat.UserID) (chat.UserID, bool) {
	if r.Owner != "" && r.Owner != user {
		return r.Owner, true
	}
	candidates := slices.Clone(b.state.Owners[id])
	for _, m := range b.touched {
		if m.Room == id {
			candidates = append(candidates, m.User)
		}
	}
	for _, other := range candidates {
		if m := b.member(chat.Membership{Room: id, User: other}); other != user && (m.Role == access.RoleOwner && m.Is || b.members[chat.Membership{Room: id, User: other}] == nil) {
			return other, true
		}
	}
	return "", false
}

func (c Restrict) need(n *Needs) {
	needBoth(n, c.Origin, c.Who)
	if !c.Mute {
		n.Logs = append(n.Logs, c.Who)
	}
}

// decide bans, mutes, or ends it. A ban ends the membership as well.
func (c Restrict) decide(b *batch) Outcome {
	r, target, err := b.moderateOther(c.Origin, c.Who)
	switch {
	case err != nil:
		return Outcome{Err: err}
	case c.Mute && target.MutedUntil.Equal(c.Until), !c.Mute && target.BannedUntil.Equal(c.Until):
		return Outcome{}
	}
	m := b.change(chat.Membership{Room: c.Room, User: c.Who})
	m.restricted = true
	act := map[bool]string{true: actUnmute, false: actUnban}[c.Mute]
	if !c.Until.IsZero() {
		act = map[bool]string{true: actMute, false: actBan}[c.Mute]
	}
	b.audit(c.Origin, Audit{Act: act, User: c.Who, Until: c.Until, Why: c.Why})
	if c.Mute {
		m.MutedUntil = c.Until
		return Outcome{Changed: true}
	}
	m.BannedUntil = c.Until
	if !target.Member || c.Until.IsZero() {
		return Outcome{Changed: true}
	}
	return b.exit(c.Origin, r, chat.UserLeft{User: c.Who, By: c.User, Reason: chat.LeftBanned})
}

// audit keeps an act, with who did it where.
func (b *batch) audit(o Origin, a Audit) {
	a.Room, a.By, a.Key = o.Room, o.User, o.Key
	b.changes.Audit = append(b.changes.Audit, a)
}

var _, _, _, _ Command = Add{}, Remove{}, SetRole{}, Restrict{}

func errRank() error {
	return fault.Because(fault.Forbidden, fault.ReasonNotAllowed, "Your role in the room does not suffice")
}

func errSelf() error {
	return fault.Because(fault.Forbidden, fault.ReasonNotAllowed, "Nobody does this to oneself; leave the room instead")
}

func errLastOwner() error {
	return fault.Because(fault.Conflict, fault.ReasonLastOwner, "Make another member the owner first")
}
