package wire

import (
	"time"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
	"github.com/starling-chat/starling/platform/rawjson"
	"github.com/starling-chat/starling/proto/fault"
	"github.com/starling-chat/starling/proto/isotime"
)

// RoomPrefs reads `{ roomId, muted?, hidden?, pinned? }`.
func RoomPrefs(args []byte) (p chat.SetPrefs, err error) {
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
	b := rawjson.AppendString(append(make([]byte, 0, 112), `[{"ok":true,"invite":`...), invite)
	b = until.UTC().AppendFormat(append(b, `,"expiresAt":"`...), isotime.Layout)
	return append(b, `"}]`...)
}
