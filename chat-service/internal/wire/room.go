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

// RoomCreate reads `{ kind, roomId?, profile?, settings?, members?: [{ userId, role? }] }`.
func RoomCreate(args []byte) (r usecases.CreateRequest, err error) {
	o, err := firstObject(args)
	if err != nil {
		return r, err
	}
	kind, err := o.mustString("kind")
	if err != nil {
		return r, err
	}
	r.Kind = access.Kind(kind)
	id, given, err := o.string("roomId")
	if err == nil && given {
		r.Room, err = chat.ParseRoomID(id)
	}
	if err != nil {
		return r, err
	}
	patch, err := o.patch()
	if err != nil {
		return r, err
	}
	details, err := patch.Apply(chat.RoomDetails{})
	if err != nil {
		return r, err
	}
	r.Profile, r.Settings = details.Profile, details.Settings
	r.Members, err = o.members()
	return r, err
}

// members reads `members?: [{ userId, role? }]`.
func (o object) members() ([]rules.Invited, error) {
	elements, err := o.list("members")
	if err != nil {
		return nil, err
	}
	members := make([]rules.Invited, 0, len(elements))
	for _, e := range elements {
		fields, isObject := splitObject(e)
		if !isObject {
			return nil, fault.New(fault.Invalid, "members must be an array of objects")
		}
		user, err := fields.user()
		if err != nil {
			return nil, err
		}
		role, _, err := fields.string("role")
		if err != nil {
			return nil, err
		}
		members = append(members, rules.Invited{User: user, Role: access.Role(role)})
	}
	return members, nil
}

// list reads an optional array.
func (o object) list(name string) ([][]byte, error) {
	raw, given := o.get(name)
	if !given {
		return nil, nil
	}
	if raw[0] != '[' {
		return nil, fault.Newf(fault.Invalid, "%s must be an array", name)
	}
	return split(raw), nil
}

// user reads `userId`.
func (o object) user() (chat.UserID, error) {
	s, err := o.mustString("userId")
	if err != nil {
		return "", err
	}
	return chat.ParseUserID(s)
}

// users reads `userIds`, an array of strings.
func (o object) users() ([]chat.UserID, error) {
	elements, err := o.list("userIds")
	if err != nil {
		return nil, err
	}
	if len(elements) == 0 {
		return nil, fault.New(fault.Invalid, "userIds must be an array of users' ids")
	}
	users := make([]chat.UserID, 0, len(elements))
	for _, e := range elements {
		if e[0] != '"' {
			return nil, fault.New(fault.Invalid, "userIds must be an array of strings")
		}
		user, err := chat.ParseUserID(unquote(e))
		if err != nil {
			return nil, err
		}
		users = append(users, user)
	}
	return users, nil
}

// RoomOpen reads `{ userIds }`.
func RoomOpen(args []byte) ([]chat.UserID, error) {
	o, err := firstObject(args)
	if err != nil {
		return nil, err
	}
	return o.users()
}

// RoomMemberList reads `roomId` or `{ roomId, after?, limit?, query? }`.
func RoomMemberList(args []byte) (room chat.RoomID, page usecases.MembersPage, err error) {
	if room, err = RoomOnly(args); err != nil {
		return "", page, err
	}
	o, err := firstObject(args)
	if err != nil {
		return room, page, nil //nolint:nilerr // the room's id alone
	}
	after, _, err := o.string("after")
	if err != nil {
		return "", page, err
	}
	page.After = chat.UserID(after)
	if page.Query, _, err = o.string("query"); err != nil {
		return "", page, err
	}
	page.Limit, err = o.limit()
	return room, page, err
}

// MemberListAck is the ack of room:members. next is the user from which the next page goes on.
func MemberListAck(l *usecases.MemberList) []byte {
	b := append(make([]byte, 0, 64+128*len(l.List)), `[{"ok":true,"members":[`...)
	for i, m := range l.List {
		if i > 0 {
			b = append(b, ',')
		}
		b = rawjson.AppendString(append(b, `{"userId":`...), string(m.User))
		b = rawjson.AppendString(append(b, `,"name":`...), m.Name)
		b = rawjson.AppendString(append(b, `,"role":`...), string(m.Role))
		b = append(isotime.Append(append(b, `,"joinedAt":"`...), m.JoinedAt), `"}`...)
	}
	b = strconv.AppendInt(append(b, `],"count":`...), int64(l.Count), 10)
	if l.HasMore {
		b = rawjson.AppendString(append(b, `,"next":`...), string(l.List[len(l.List)-1].User))
	}
	return append(b, `}]`...)
}

// RoomAck is the ack of room:create.
func RoomAck(r *chat.RoomInfo) []byte {
	b := append(make([]byte, 0, 256+len(r.Profile.Data)), `[{"ok":true,"room":`...)
	return append(appendRoomInfo(b, r), `}]`...)
}

// RoomOpenAck is the ack of room:open.
func RoomOpenAck(r *chat.RoomInfo, created bool) []byte {
	b := append(make([]byte, 0, 256+len(r.Profile.Data)), `[{"ok":true,"room":`...)
	b = append(appendRoomInfo(b, r), `,"created":`...)
	return append(strconv.AppendBool(b, created), `}]`...)
}

// RoomGetAck is the ack of room:get; what follows the room is a member's own.
func RoomGetAck(r *chat.RoomInfo, s access.Standing, own usecases.Own) []byte {
	b := append(make([]byte, 0, 256+len(r.Profile.Data)), `[{"ok":true,"room":`...)
	b = appendRoomInfo(b, r)
	if s.Counts() {
		b = rawjson.AppendString(append(b, `,"role":`...), string(s.Role))
		b = appendMarker(b, own.Marker)
		b = appendPrefs(append(b, `,"prefs":`...), own.Prefs)
	}
	return append(b, `}]`...)
}

func appendRoomInfo(b []byte, r *chat.RoomInfo) []byte {
	b = append(b, `{"roomId":`...)
	b = rawjson.AppendString(b, string(r.Room))
	b = append(b, `,"kind":`...)
	b = rawjson.AppendString(b, string(r.Kind))
	b = appendProfile(append(b, `,"profile":`...), r.Room, &r.Profile)
	b = appendSettings(append(b, `,"settings":`...), &r.Settings)
	b = append(b, `,"version":`...)
	b = strconv.AppendUint(b, r.Version, 10)
	b = append(b, `,"createdAt":"`...)
	b = append(isotime.Append(b, r.CreatedAt), '"')
	b = appendArchived(b, r.ArchivedAt)
	b = append(b, `,"memberCount":`...)
	return append(strconv.AppendInt(b, int64(r.Members), 10), '}')
}

// appendProfile writes `{ name?, topic?, avatarUrl?, data? }`.
func appendProfile(b []byte, room chat.RoomID, p *chat.Profile) []byte {
	b = append(b, '{')
	start := len(b)
	for _, f := range []struct{ key, value string }{
		{`"name":`, p.Name}, {`"topic":`, p.Topic}, {`"avatarUrl":`, p.AvatarURL},
	} {
		if f.value == "" || f.value == string(room) {
			continue
		}
		if len(b) > start {
			b = append(b, ',')
		}
		b = rawjson.AppendString(append(b, f.key...), f.value)
	}
	if len(p.Data) > 0 {
		if len(b) > start {
			b = append(b, ',')
		}
		b = append(append(b, `"data":`...), p.Data...)
	}
	return append(b, '}')
}

// appendSettings writes `{ send, slowModeMs?, maxMembers? }`.
func appendSettings(b []byte, s *chat.Settings) []byte {
	send := s.Send
	if send == "" {
		send = access.RoleMember
	}
	b = rawjson.AppendString(append(b, `{"send":`...), string(send))
	if s.SlowMode > 0 {
		b = strconv.AppendInt(append(b, `,"slowModeMs":`...), s.SlowMode.Milliseconds(), 10)
	}
	if s.MaxMembers > 0 {
		b = strconv.AppendInt(append(b, `,"maxMembers":`...), int64(s.MaxMembers), 10)
	}
	return append(b, '}')
}

// appendArchived writes `,"archivedAt":…`, unless the room is not archived.
func appendArchived(b []byte, at time.Time) []byte {
	if at.IsZero() {
		return b
	}
	b = isotime.Append(append(b, `,"archivedAt":"`...), at)
	return append(b, '"')
}
