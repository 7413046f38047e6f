package rules

import (
	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/proto/fault"
)

// What each command needs to be known, and what it does, stands in this file; batch.go carries it out.

func (c Send) need(n *Needs) {
	if !c.System {
		n.Members = append(n.Members, c.membership())
	}
	if n.repeats && c.ClientMsgID != "" {
		n.Repeats = append(n.Repeats, c.repeat())
	}
	if c.Extras != nil {
		needReply(n, c.Extras, c.Room)
		needMentions(n, c.Origin, c.Extras.Mentioned)
	}
}

func (c Send) repeat() Repeat { return Repeat{c.Room, c.User, c.ClientMsgID} }

// decide stores the message of a member, once for each client message id.
func (c Send) decide(b *batch) Outcome {
	r := b.room(c.Room)
	if r == nil {
		return Outcome{Err: access.NoRoom()}
	}
	if first, ok := b.sentBefore(c); ok {
		return first
	}
	name, extras := c.Name, c.Extras
	if !c.System {
		m, s := b.member(c.membership()), b.asking(r, c.Origin)
		if err := b.mayNotSend(c, r, s, m); err != nil {
			return b.refusedSend(c, err)
		}
		name = name.Or(m.Name)
	} else if r.Archived {
		return b.refusedSend(c, access.Archived())
	}
	if extras != nil {
		var err error
		if extras, err = b.extrasOf(c, r); err != nil {
			return b.refusedSend(c, err)
		}
	}
	seq := b.next(c.Room, r)
	r.N++
	m := chat.Message{
		ID: chat.NewMessageID(b.state.At, seq, b.state.Random()), Room: c.Room, Seq: seq, Sender: chat.Sender{ID: c.User, Name: name.Text},
		Content: c.Content, Type: c.Type, CreatedAt: b.state.At, ClientMsgID: c.ClientMsgID, N: r.N, Extras: extras,
	}
	b.changes.Events = append(b.changes.Events, chat.RoomEvent{Room: c.Room, Seq: seq, Fact: chat.MessageSent{Message: m}, CausedAt: c.CausedAt})
	if extras != nil {
		b.mention(c.Origin, &m, nil)
	}
	o := Outcome{Position: Position{Seq: seq, ID: m.ID}, CreatedAt: b.state.At, N: r.N}
	if c.ClientMsgID != "" {
		if b.sent == nil {
			b.sent = map[Repeat]Outcome{}
		}
		b.sent[c.repeat()] = o
	}
	o.Changed = true
	return o
}

// mayNotSend returns the fault for a message that may not be sent, or not yet: in slow mode members take their time, moderators are free.
func (b *batch) mayNotSend(c Send, r *changingRoom, s access.Standing, m Member) error {
	if err := s.Refuse(access.Speak, b.state.At); err != nil {
		return err
	}
	if r.Settings.SlowMode == 0 || s.Role.Above(access.RoleMember) {
		return nil
	}
	if wait := m.SentAt.Add(r.Settings.SlowMode).Sub(b.state.At); wait > 0 && !m.SentAt.IsZero() {
		return &fault.Error{
			Kind: fault.RateLimited, Reason: fault.ReasonSlowMode, Message: "Slow mode: wait before the next message", RetryAfter: wait,
		}
	}
	b.change(c.membership()).SentAt = b.state.At
	return nil
}

// refusedSend refuses a message, unless it turns out to be the repeat of one that was stored.
func (b *batch) refusedSend(c Send, err error) Outcome {
	if c.ClientMsgID != "" && !b.state.Repeats {
		b.changes.Repeats = append(b.changes.Repeats, c.repeat())
	}
	return Outcome{Err: err}
}

// sentBefore finds the first message with the same client message id. Its sender need no longer be a member.
func (b *batch) sentBefore(c Send) (Outcome, bool) {
	if c.ClientMsgID == "" {
		return Outcome{}, false
	}
	if first, ok := b.sent[c.repeat()]; ok {
		return first, true
	}
	first, ok := b.state.Sent[c.repeat()]
	first.Changed = false
	return first, ok
}

func (c Join) need(n *Needs) {
	n.Members, n.Names, n.Usage = append(n.Members, c.membership()), append(n.Names, c.name()), append(n.Usage, c.User)
	n.Logs, n.Infos = append(n.Logs, c.User), append(n.Infos, c.Room)
	n.Counts = append(n.Counts, c.Room)
	if c.Create != "" {
		n.Create = append(n.Create, c.Room)
	}
	if c.Inviter != "" {
		n.Invites, n.Members = append(n.Invites, c.Invite), append(n.Members, chat.Membership{Room: c.Room, User: c.Inviter})
	}
}

// decide makes the user a member, and the owner of a public room that has none.
func (c Join) decide(b *batch) Outcome {
	r := b.room(c.Room)
	if r == nil && c.Create != "" {
		made, err := b.found(c.Origin, chat.NewRoom{Kind: c.Create}, 0)
		if err != nil {
			return Outcome{Err: err}
		}
		if r = made; r != nil {
			r.Owner = c.User
			return b.enter(c.Origin, r, Invited{User: c.User}, b.name(c.Origin))
		}
	}
	s := b.asking(r, c.Origin)
	err := s.Refuse(access.Enter, b.state.At)
	if c.Inviter != "" && (!s.Member || s.ByToken) && !s.BannedUntil.After(b.state.At) {
		if i, ok := b.invitation(c, r); ok {
			return b.enterInvited(c, r, i, s.Member)
		}
		if err != nil {
			return Outcome{Err: ErrInvite()}
		}
	}
	switch {
	case err != nil:
		return Outcome{Err: err}
	case s.Member:
		return Outcome{}
	}
	if b.full(c.Room, r) {
		return Outcome{Err: errFull()}
	}
	if err := b.spendJoin(c.User); err != nil {
		return Outcome{Err: err}
	}
	if r.Owner == "" && !r.inherit && r.Kind == access.Public && !c.User.Guest() {
		r.Owner = c.User
	}
	o := b.enter(c.Origin, r, Invited{User: c.User}, b.name(c.Origin))
	b.change(c.membership()).ByToken = r.Kind != access.Public // which everybody may enter
	return o
}

// name is how the user of o is called, which joins a room.
func (b *batch) name(o Origin) chat.Name {
	name := o.Name.Or(b.state.Names[o.User])
	if name.Text == "" {
		name.Text = string(o.User)
	}
	return name
}

// named is how a user is called whom another one makes a member: by the id where nobody knows better.
func (b *batch) named(user chat.UserID) chat.Name {
	if name := b.state.Names[user]; name.Text != "" {
		return name
	}
	return chat.Name{Text: string(user)}
}

// full tells that a room has as many members as it may have.
func (b *batch) full(id chat.RoomID, r *changingRoom) bool {
	most := b.state.Quotas.Members
	if own := r.Settings.MaxMembers; own > 0 && (most == 0 || own < most) {
		most = own
	}
	return most > 0 && b.state.Counts[id]+r.grown >= most
}

// enter makes a user a member.
func (b *batch) enter(o Origin, r *changingRoom, who Invited, name chat.Name) Outcome {
	joined := chat.UserJoined{User: who.User, Name: name.Text}
	if who.User != o.User {
		joined.By, o.Socket = o.User, "" // everybody is told, who did it included
	}
	m := b.change(chat.Membership{Room: o.Room, User: who.User})
	m.Is, m.again, m.Name, m.Role, m.ByToken, m.joined = true, m.was, name, who.role(), false, len(b.changes.Events)
	r.grown++
	b.tell(who.User, o, r, chat.RoomAdded{By: joined.By})
	return b.happened(o, r, chat.RoomEvent{Fact: joined})
}

func (c Leave) need(n *Needs) {
	n.Members = append(n.Members, c.membership())
	n.Owners, n.Company, n.Logs = append(n.Owners, c.Room), append(n.Company, c.membership()), append(n.Logs, c.User)
	if c.Successor != "" {
		n.Members = append(n.Members, chat.Membership{Room: c.Room, User: c.Successor})
	}
}

// decide ends the membership, if there is one. Where the last owner leaves others behind, it names who follows; in a public room
// another member follows by itself. Nobody leaves a direct room.
func (c Leave) decide(b *batch) Outcome {
	r := b.room(c.Room)
	m := b.member(c.membership())
	switch {
	case r == nil || !m.Is:
		return Outcome{}
	case r.Kind == access.Direct:
		return Outcome{Err: ErrDirect()}
	}
	s := b.standing(r, c.User, m)
	if s.Role == access.RoleOwner {
		if err := b.handOver(c, r); err != nil {
			return Outcome{Err: err}
		}
	}
	return b.exit(c.Origin, r, chat.UserLeft{User: c.User})
}

// handOver sees to it that the room of an owner who leaves has another one.
func (b *batch) handOver(c Leave, r *changingRoom) error {
	if c.Successor != "" {
		heir := chat.Membership{Room: c.Room, User: c.Successor}
		if c.Successor == c.User || !b.member(heir).Is || c.Successor.Guest() {
			return fault.New(fault.Invalid, "successor must be another member of the room, and no guest")
		}
		if r.Owner == c.User {
			r.Owner = c.Successor
		}
		next := b.change(heir)
		next.Role, next.ByToken = access.RoleOwner, false
		b.happened(Origin{Room: c.Room, CausedAt: c.CausedAt}, r, chat.RoomEvent{Fact: chat.RoleChanged{User: c.Successor, Role: access.RoleOwner, By: c.User}})
		return nil
	}
	other, ok := b.otherOwner(c.Room, r, c.User)
	switch {
	case ok && r.Owner == c.User:
		r.Owner = other
	case !ok && r.Kind != access.Public && b.state.Company[c.membership()]:
		return errLastOwner()
	}
	return nil
}

func (c Create) need(n *Needs) {
	n.Create, n.Names = append(n.Create, c.Room), appendNames(n.Names, c.Members)
	if c.User != chat.System {
		n.Names, n.Usage = append(n.Names, c.name()), append(n.Usage, c.User)
	}
	needLogs(n, c.Origin, c.Members)
}

// needLogs adds the logs of those who are in a room from its start.
func needLogs(n *Needs, o Origin, others []Invited) {
	if o.User != chat.System {
		n.Logs = append(n.Logs, o.User)
	}
	for _, other := range others {
		n.Logs = append(n.Logs, other.User)
	}
}

// appendNames adds users whose names are asked for: the one who invites them does not bring them.
func appendNames(names []chat.UserName, users []Invited) []chat.UserName {
	for _, u := range users {
		names = append(names, chat.UserName{User: u.User})
	}
	return names
}

// decide makes the room, with the user as its owner and those who are in it from the start.
func (c Create) decide(b *batch) Outcome {
	r, err := b.found(c.Origin, c.New, len(c.Members))
	if err != nil {
		return Outcome{Err: err}
	}
	if r == nil {
		if r = b.room(c.Room); r != nil && b.state.Again && r.Owner == c.User {
			return Outcome{CreatedAt: b.state.At, Details: &Details{Room: c.Room}}
		}
		return Outcome{Err: fault.Because(fault.Conflict, fault.ReasonExists, "The room exists already")}
	}
	r.Owner = c.User
	if c.Key != "" {
		b.audit(c.Origin, Audit{Act: actCreate})
	}
	o := b.enterAll(c.Origin, r, c.Members)
	o.Details = &Details{Room: c.Room}
	return o
}

// enterAll makes the user of o a member, unless no user asks, and others with it.
func (b *batch) enterAll(o Origin, r *changingRoom, others []Invited) Outcome {
	b.touch(o.Room, r)
	if o.User != chat.System {
		b.enter(o, r, Invited{User: o.User}, b.name(o))
	}
	for _, other := range others {
		b.enter(o, r, other, b.named(other.User))
	}
	return Outcome{Position: Position{Seq: r.Seq}, CreatedAt: b.state.At, Changed: true}
}

func (c Open) need(n *Needs) {
	n.Create, n.Members = append(n.Create, c.Room), append(n.Members, c.membership())
	n.Names = appendNames(n.Names, c.Others)
	if c.User != chat.System {
		n.Names, n.Usage = append(n.Names, c.name()), append(n.Usage, c.User)
	}
	needLogs(n, c.Origin, c.Others)
	for _, p := range c.pairs() {
		n.Blocks = append(n.Blocks, p, p.reverse())
	}
}

// decide makes the direct room, unless there is one. A backend makes that of two also while one of them blocks the other: there they say nothing,
// as in one that they had before.
func (c Open) decide(b *batch) Outcome {
	if r := b.room(c.Room); r != nil {
		s := b.asking(r, c.Origin)
		err := s.Refuse(access.Read, b.state.At)
		if err == nil && s.MutedUntil.After(b.state.At) {
			err = access.Blocked()
		}
		return Outcome{Err: err}
	}
	blocked := b.anyBlocked(c.pairs())
	if blocked && c.User != chat.System {
		return Outcome{Err: access.Blocked()}
	}
	r, err := b.found(c.Origin, chat.NewRoom{Kind: access.Direct}, len(c.Others))
	switch {
	case err != nil:
		return Outcome{Err: err}
	case r == nil:
		return Outcome{Err: access.NoRoom()}
	}
	o := b.enterAll(c.Origin, r, c.Others)
	if blocked {
		for _, other := range c.Others {
			b.change(chat.Membership{Room: c.Room, User: other.User}).MutedUntil = access.Forever()
		}
	}
	return o
}

var _, _, _, _, _ Command = Send{}, Join{}, Leave{}, Create{}, Open{}

func errFull() error {
	return fault.Because(fault.Forbidden, fault.ReasonRoomFull, "The room has as many members as it may have")
}

// ErrDirect refuses what would change who is in a direct room.
func ErrDirect() error {
	return fault.Because(fault.Forbidden, fault.ReasonNotAllowed, "The members of a direct room never change")
}
