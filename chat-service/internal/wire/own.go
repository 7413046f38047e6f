package wire

import (
	"strconv"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
	"github.com/starling-chat/starling/platform/rawjson"
	"github.com/starling-chat/starling/proto/fault"
	"github.com/starling-chat/starling/proto/isotime"
)

// RoomPrefs reads `{ roomId, muted?, hidden?, pinned? }`.
func RoomPrefs(args []byte) (p rules.SetPrefs, err error) {
	o, err := firstObject(args)
	if err != nil {
		return p, err
	}
	if p.Room, err = o.room(); err != nil {
		return p, err
	}
	for _, f := range []struct {
		name string
		to   **bool
	}{{"muted", &p.Muted}, {"hidden", &p.Hidden}, {"pinned", &p.Pinned}} {
		raw, given := o.get(f.name)
		switch {
		case !given:
		case string(raw) == "true", string(raw) == "false":
			*f.to = new(string(raw) == "true")
		default:
			return p, fault.Newf(fault.Invalid, "%s must be true or false", f.name)
		}
	}
	return p, nil
}

// UserOnly reads a user id given as a string, or inside `{ userId }`.
func UserOnly(args []byte) (chat.UserID, error) {
	elements, err := splitArgs(args)
	if err != nil {
		return "", err
	}
	if len(elements) > 0 && elements[0][0] == '"' {
		return chat.ParseUserID(unquote(elements[0]))
	}
	o, err := firstObject(args)
	if err != nil {
		return "", fault.New(fault.Invalid, "userId must be a string")
	}
	return o.user()
}

// UserBlocks reads `{ after?, limit? }`; no argument at all is fine.
func UserBlocks(args []byte) (after chat.UserID, limit int, err error) {
	elements, err := splitArgs(args)
	if err != nil || len(elements) == 0 || string(elements[0]) == null {
		return "", 0, err
	}
	o, err := firstObject(args)
	if err != nil {
		return "", 0, err
	}
	user, _, err := o.string("after")
	if err != nil {
		return "", 0, err
	}
	limit, err = o.limit()
	return chat.UserID(user), limit, err
}

// BlocksAck is the ack of user:blocks.
func BlocksAck(list []usecases.Blocked, more bool) []byte {
	b := append(make([]byte, 0, 64+96*len(list)), `[{"ok":true,"blocks":[`...)
	for i, blocked := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = rawjson.AppendString(append(b, `{"userId":`...), string(blocked.User))
		b = append(isotime.Append(append(b, `,"blockedAt":"`...), blocked.At), `"}`...)
	}
	b = append(b, ']')
	if more {
		b = rawjson.AppendString(append(b, `,"next":`...), string(list[len(list)-1].User))
	}
	return append(b, `}]`...)
}

// RoomInvite reads `{ roomId, uses?, expiresInMs?, role? }`.
func RoomInvite(args []byte) (r usecases.InviteRequest, err error) {
	o, err := firstObject(args)
	if err != nil {
		return r, err
	}
	if r.Room, err = o.room(); err != nil {
		return r, err
	}
	uses, err := o.positive("uses")
	if err != nil {
		return r, err
	}
	life, err := o.positive("expiresInMs")
	if err != nil {
		return r, err
	}
	r.Uses, r.Life = int(uses), time.Duration(life)*time.Millisecond //nolint:gosec // bounded by positive
	role, _, err := o.string("role")
	r.Role = access.Role(role)
	return r, err
}

// positive reads an optional whole number from 1 that is not very large; 0 = not given.
func (o object) positive(name string) (uint64, error) {
	raw, given := o.get(name)
	if !given {
		return 0, nil
	}
	n, ok := rawjson.Whole(raw)
	if !ok || n < 1 || n > 1<<40 {
		return 0, fault.Newf(fault.Invalid, "%s must be a whole number from 1", name)
	}
	return n, nil
}

// InviteAck is the ack of room:invite.
func InviteAck(invite string, until time.Time) []byte {
	b := rawjson.AppendString(append(make([]byte, 0, 176), `[{"ok":true,"invite":`...), invite)
	b = rawjson.AppendString(append(b, `,"inviteId":`...), chat.HashInvite(invite).ID())
	b = isotime.Append(append(b, `,"expiresAt":"`...), until)
	return append(b, `"}]`...)
}

// RoomInvites reads `roomId` or `{ roomId, after?, limit? }`.
func RoomInvites(args []byte) (room chat.RoomID, after chat.InviteHash, limit int, err error) {
	if room, err = RoomOnly(args); err != nil {
		return "", after, 0, err
	}
	o, err := firstObject(args)
	if err != nil {
		return room, after, 0, nil //nolint:nilerr // the room's id alone
	}
	id, given, err := o.string("after")
	if err == nil && given {
		after, err = chat.ParseInviteID("after", id)
	}
	if err != nil {
		return "", after, 0, err
	}
	limit, err = o.limit()
	return room, after, limit, err
}

// InvitesAck is the ack of room:invites.
func InvitesAck(list []chat.Invitation, more bool) []byte {
	b := append(make([]byte, 0, 64+192*len(list)), `[{"ok":true,"invites":[`...)
	for n, i := range list {
		if n > 0 {
			b = append(b, ',')
		}
		b = rawjson.AppendString(append(b, `{"inviteId":`...), i.Hash.ID())
		b = rawjson.AppendString(append(b, `,"by":`...), string(i.By))
		b = rawjson.AppendString(append(b, `,"role":`...), string(i.Role))
		b = strconv.AppendInt(append(b, `,"uses":`...), int64(i.Uses), 10)
		b = append(isotime.Append(append(b, `,"expiresAt":"`...), i.Until), `"}`...)
	}
	b = append(b, ']')
	if more {
		b = rawjson.AppendString(append(b, `,"next":`...), list[len(list)-1].Hash.ID())
	}
	return append(b, `}]`...)
}

// RevokeInvite reads `{ roomId, inviteId }`.
func RevokeInvite(args []byte) (room chat.RoomID, hash chat.InviteHash, err error) {
	o, room, err := objectOfRoom(args)
	if err != nil {
		return "", hash, err
	}
	id, err := o.mustString("inviteId")
	if err == nil {
		hash, err = chat.ParseInviteID("inviteId", id)
	}
	return room, hash, err
}
