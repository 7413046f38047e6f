package wire

import (
	"strconv"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/platform/rawjson"
	"github.com/starling-chat/starling/proto/fault"
	"github.com/starling-chat/starling/proto/isotime"
)

// RoomUpdate reads `{ roomId, profile?, settings?, ifVersion? }`. What is absent stays; a null takes it away.
func RoomUpdate(args []byte) (u rules.Update, err error) {
	o, err := firstObject(args)
	if err != nil {
		return u, err
	}
	if u.Room, err = o.room(); err != nil {
		return u, err
	}
	if u.Patch, err = o.patch(); err != nil {
		return u, err
	}
	version, err := o.sequence("ifVersion")
	if err == nil && version != nil {
		if u.IfVersion = *version; u.IfVersion == 0 {
			err = fault.New(fault.Invalid, "ifVersion must be a whole number from 1")
		}
	}
	return u, err
}

// patch reads `profile?: { name?, topic?, avatarUrl?, data? }, settings?: { send?, slowModeMs?, maxMembers? }`.
func (o object) patch() (p chat.Patch, err error) {
	profile, err := o.inner("profile")
	if err != nil {
		return p, err
	}
	for _, f := range []struct {
		name string
		to   **string
	}{{"name", &p.Name}, {"topic", &p.Topic}, {"avatarUrl", &p.AvatarURL}} {
		if *f.to, err = profile.change(f.name, "profile."); err != nil {
			return p, err
		}
	}
	if profile.has("data") {
		var content []byte
		if raw, given := profile.get("data"); given {
			if content, err = Data(raw); err != nil {
				return p, err
			}
		}
		p.Data = &content
	}
	settings, err := o.inner("settings")
	if err != nil {
		return p, err
	}
	send, err := settings.change("send", "settings.")
	if err != nil {
		return p, err
	}
	if send != nil {
		role := access.Role(*send)
		if role == access.RoleMember {
			role = "" // as without the setting
		}
		p.Send = &role
	}
	if ms, err := settings.whole("slowModeMs"); err != nil {
		return p, err
	} else if ms != nil {
		p.SlowMode = new(time.Duration(*ms) * time.Millisecond)
	}
	p.MaxMembers, err = settings.whole("maxMembers")
	return p, err
}

// inner reads an optional object.
func (o object) inner(name string) (object, error) {
	raw, given := o.get(name)
	if !given {
		return nil, nil
	}
	fields, isObject := splitObject(raw)
	if !isObject {
		return nil, fault.Newf(fault.Invalid, "%s must be an object", name)
	}
	return fields, nil
}

// has tells that a member is there, if only as null.
func (o object) has(name string) bool {
	for _, f := range o {
		if rawjson.Is(f.key, name) {
			return true
		}
	}
	return false
}

// change reads an optional string; nil = it is absent, and a null is the empty one.
func (o object) change(name, where string) (*string, error) {
	if !o.has(name) {
		return nil, nil
	}
	s, _, err := o.string(name)
	if err != nil {
		return nil, fault.Newf(fault.Invalid, "%s%s must be a string", where, name)
	}
	return &s, nil
}

// maxWhole bounds what whole reads; what is larger is out of everybody's bounds.
const maxWhole = 1 << 40

// whole reads an optional whole number; nil = it is absent, and a null is 0.
func (o object) whole(name string) (*int, error) {
	if !o.has(name) {
		return nil, nil
	}
	raw, given := o.get(name)
	if !given {
		return new(0), nil
	}
	n, ok := rawjson.Whole(raw)
	if !ok {
		return nil, fault.Newf(fault.Invalid, "settings.%s must be a whole number", name)
	}
	return new(int(min(n, maxWhole))), nil
}

// UpdateAck is the ack of room:update.
func UpdateAck(version uint64) []byte {
	b := strconv.AppendUint([]byte(`[{"ok":true,"version":`), version, 10)
	return append(b, `}]`...)
}

// updatedArgs writes `[{ profile, settings, version, roomId, seq, by }]`: what the room is now, the same for everybody.
func updatedArgs(e chat.RoomEvent, f chat.RoomUpdated) []byte {
	b := append(make([]byte, 0, 256+len(f.Details.Profile.Data)), `[{"profile":`...)
	b = appendProfile(b, e.Room, &f.Details.Profile)
	b = appendSettings(append(b, `,"settings":`...), &f.Details.Settings)
	b = strconv.AppendUint(append(b, `,"version":`...), f.Details.Version, 10)
	return append(appendBy(appendRoom(b, e), f.By), `}]`...)
}

// archivedArgs writes `[{ archivedAt, roomId, seq, by }]`.
func archivedArgs(e chat.RoomEvent, f chat.RoomArchived) []byte {
	b := isotime.Append([]byte(`[{"archivedAt":"`), f.At)
	return append(appendBy(appendRoom(append(b, '"'), e), f.By), `}]`...)
}

// deletedArgs writes `[{ roomId, seq, by }]`.
func deletedArgs(e chat.RoomEvent, f chat.RoomDeleted) []byte {
	b := rawjson.AppendString([]byte(`[{"roomId":`), string(e.Room))
	b = strconv.AppendUint(append(b, `,"seq":`...), e.Seq, 10)
	return append(appendBy(b, f.By), `}]`...)
}
