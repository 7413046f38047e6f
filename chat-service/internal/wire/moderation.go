package wire

import (
	"time"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
	"github.com/starling-chat/starling/platform/rawjson"
	"github.com/starling-chat/starling/proto/fault"
)

// RoomLeave reads `roomId` or `{ roomId, successor? }`.
func RoomLeave(args []byte) (room chat.RoomID, successor chat.UserID, err error) {
	if room, err = RoomOnly(args); err != nil {
		return "", "", err
	}
	o, err := firstObject(args)
	if err != nil {
		return room, "", nil //nolint:nilerr // the room's id alone
	}
	heir, given, err := o.string("successor")
	if err == nil && given {
		successor, err = chat.ParseUserID(heir)
	}
	return room, successor, err
}

// RoomMembers reads `{ roomId, userIds, role?, reason? }`.
func RoomMembers(args []byte) (room chat.RoomID, users []chat.UserID, role access.Role, reason string, err error) {
	o, err := firstObject(args)
	if err != nil {
		return "", nil, "", "", err
	}
	if room, err = o.room(); err != nil {
		return "", nil, "", "", err
	}
	if users, err = o.users(); err != nil {
		return "", nil, "", "", err
	}
	word, _, err := o.string("role")
	if err != nil {
		return "", nil, "", "", err
	}
	reason, _, err = o.string("reason")
	return room, users, access.Role(word), reason, err
}

// RoomSetRole reads `{ roomId, userId, role }`.
func RoomSetRole(args []byte) (room chat.RoomID, user chat.UserID, role access.Role, err error) {
	o, err := firstObject(args)
	if err != nil {
		return "", "", "", err
	}
	if room, err = o.room(); err != nil {
		return "", "", "", err
	}
	if user, err = o.user(); err != nil {
		return "", "", "", err
	}
	word, err := o.mustString("role")
	return room, user, access.Role(word), err
}

// RoomRestrict reads `{ roomId, userId, until?, reason? }`; without until there is no end.
func RoomRestrict(args []byte) (r rules.Restrict, err error) {
	o, err := firstObject(args)
	if err != nil {
		return r, err
	}
	if r.Room, err = o.room(); err != nil {
		return r, err
	}
	if r.Who, err = o.user(); err != nil {
		return r, err
	}
	if r.Until, err = o.until(); err != nil {
		return r, err
	}
	r.Why, _, err = o.string("reason")
	return r, err
}

// until reads a time in ISO 8601, or in milliseconds since 1970.
func (o object) until() (time.Time, error) {
	raw, given := o.get("until")
	if !given {
		return access.Forever(), nil
	}
	if ms, ok := rawjson.Whole(raw); ok {
		return bounded(time.UnixMilli(int64(min(ms, 1<<52)))), nil
	}
	if raw[0] == '"' {
		if t, err := time.Parse(time.RFC3339, unquote(raw)); err == nil {
			return bounded(t), nil
		}
	}
	return time.Time{}, fault.New(fault.Invalid, "until must be a time in ISO 8601, or in milliseconds since 1970")
}

// bounded makes what is beyond the calendar have no end.
func bounded(t time.Time) time.Time {
	if t = t.UTC().Truncate(time.Millisecond); t.After(access.Forever()) {
		return access.Forever()
	}
	return t
}

// MembersAck is the ack of room:add and room:remove.
func MembersAck(r usecases.ActResult) []byte {
	b := append(make([]byte, 0, 64+40*(len(r.Done)+len(r.Failed))), `[{"ok":true,"done":[`...)
	for i, user := range r.Done {
		if i > 0 {
			b = append(b, ',')
		}
		b = rawjson.AppendString(b, string(user))
	}
	b = append(b, `],"failed":[`...)
	for i, f := range r.Failed {
		if i > 0 {
			b = append(b, ',')
		}
		b = rawjson.AppendString(append(b, `{"userId":`...), string(f.User))
		b = append(rawjson.AppendString(append(b, `,"reason":`...), string(f.Reason)), '}')
	}
	return append(b, `]}]`...)
}
