package rules

import (
	"bytes"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/proto/fault"
)

// What moderators do to a room itself stands in this file.

// Update changes what a room shows and what is allowed there.
type Update struct {
	Origin

	Patch     chat.Patch
	IfVersion uint64 // only if the room has this version; 0 = whatever it has
}

// Archive makes a room one that can be read only.
type Archive struct{ Origin }

// Delete ends a room, for good.
type Delete struct{ Origin }

// manage gives the room and its details, and refuses who may not change them.
func (b *batch) manage(o Origin) (r *changingRoom, actor access.Standing, d chat.RoomDetails, err error) {
	r = b.room(o.Room)
	actor = b.asking(r, o)
	if err = actor.Refuse(access.Moderate, b.state.At); err != nil {
		return r, actor, d, err
	}
	if d = b.info(o.Room, r).RoomDetails; d.Profile.Name == string(o.Room) {
		d.Profile.Name = "" // it is called so because it has no name
	}
	return r, actor, d, nil
}

// describe gives a room other details and the next version.
func (b *batch) describe(r *changingRoom, d chat.RoomDetails) *chat.RoomDetails {
	d.Version++
	r.details, r.Settings, r.Archived = &d, d.Settings, !d.ArchivedAt.IsZero()
	return r.details
}

func needInfo(n *Needs, o Origin) {
	n.Members, n.Infos = append(n.Members, o.membership()), append(n.Infos, o.Room)
}

func (c Update) need(n *Needs) { needInfo(n, c.Origin) }

// decide changes the room's details. What changes nothing is no news, and where the outcome of an earlier try is unknown, it was that one.
func (c Update) decide(b *batch) Outcome {
	r, actor, before, err := b.manage(c.Origin)
	if err != nil {
		return Outcome{Err: err}
	}
	after, err := c.Patch.Apply(before)
	same := sameDetails(&before, &after)
	switch {
	case err != nil:
		return Outcome{Err: err}
	case same && b.state.Again:
		return Outcome{Version: before.Version}
	case c.IfVersion != 0 && c.IfVersion != before.Version:
		return Outcome{Err: fault.Because(fault.Conflict, fault.ReasonChanged, "The room has changed meanwhile")}
	case same:
		return Outcome{Version: before.Version}
	case after.Settings.Send != before.Settings.Send && after.Settings.Send.Above(actor.Role):
		return Outcome{Err: errRank()}
	}
	now := b.describe(r, after)
	b.audit(c.Origin, Audit{Act: actUpdate})
	o := c.Origin
	o.Socket = "" // everybody is told, who did it included
	outcome := b.happened(o, r, chat.RoomEvent{Fact: chat.RoomUpdated{Details: *now, By: c.User}})
	outcome.Version = now.Version
	return outcome
}

func sameDetails(x, y *chat.RoomDetails) bool {
	return x.Settings == y.Settings && x.Profile.Name == y.Profile.Name && x.Profile.Topic == y.Profile.Topic &&
		x.Profile.AvatarURL == y.Profile.AvatarURL && bytes.Equal(x.Profile.Data, y.Profile.Data)
}

func (c Archive) need(n *Needs) { needInfo(n, c.Origin) }

// decide archives the room, once.
func (c Archive) decide(b *batch) Outcome {
	r, _, d, err := b.manage(c.Origin)
	if err != nil || r.Archived {
		return Outcome{Err: err}
	}
	d.ArchivedAt = b.state.At
	b.describe(r, d)
	b.audit(c.Origin, Audit{Act: actArchive})
	o := c.Origin
	o.Socket = ""
	return b.happened(o, r, chat.RoomEvent{Fact: chat.RoomArchived{At: d.ArchivedAt, By: c.User}})
}

func (c Delete) need(n *Needs) { n.Members = append(n.Members, c.membership()) }

// decide ends the room: nobody is in it any more, nothing of it is shown, and its id is never given to another one. What the Store has of it
// goes later.
func (c Delete) decide(b *batch) Outcome {
	r := b.room(c.Room)
	actor := b.asking(r, c.Origin)
	if err := actor.Refuse(access.Own, b.state.At); err != nil {
		return Outcome{Err: err}
	}
	b.audit(c.Origin, Audit{Act: actDelete})
	o := c.Origin
	o.Socket = "" // everybody is told, who did it included
	outcome := b.happened(o, r, chat.RoomEvent{Fact: chat.RoomDeleted{By: c.User}})
	r.Kind, r.Owner, r.inherit, r.details = access.Deleted, "", false, &chat.RoomDetails{}
	return outcome
}

var _, _, _ Command = Update{}, Archive{}, Delete{}
