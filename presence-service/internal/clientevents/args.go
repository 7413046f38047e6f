package clientevents

import (
	"bytes"
	"encoding/json"

	"github.com/starling-chat/starling/presence-service/internal/presence"
	"github.com/starling-chat/starling/proto/fault"
	"github.com/starling-chat/starling/proto/limits"
)

// getArgs is the argument of presence:get: either is set.
type getArgs struct {
	users []presence.UserID
	room  string
}

// parseGet reads `[{userIds: […]}]` or `[{roomId: …}]`; unknown fields are ignored.
func parseGet(raw []byte) (getArgs, error) {
	var args []json.RawMessage
	if len(raw) > 0 && json.Unmarshal(raw, &args) != nil {
		return getArgs{}, fault.New(fault.Invalid, "arguments must be a JSON array")
	}
	var fields map[string]json.RawMessage
	if len(args) == 0 || json.Unmarshal(args[0], &fields) != nil || fields == nil {
		return getArgs{}, fault.New(fault.Invalid, "the argument must be an object with userIds or roomId")
	}
	users, room := fields["userIds"], fields["roomId"]
	switch {
	case given(users) && given(room):
		return getArgs{}, fault.New(fault.Invalid, "give userIds or roomId, not both")
	case given(users):
		return parseUsers(users)
	case given(room):
		return parseRoom(room)
	}
	return getArgs{}, fault.New(fault.Invalid, "userIds or roomId is required")
}

func given(raw json.RawMessage) bool { return raw != nil && !bytes.Equal(raw, []byte("null")) }

func parseUsers(raw json.RawMessage) (getArgs, error) {
	var ids []*string // null is no string
	if json.Unmarshal(raw, &ids) != nil {
		return getArgs{}, fault.New(fault.Invalid, "userIds must be an array of strings")
	}
	if len(ids) == 0 || len(ids) > presence.MaxAsked {
		return getArgs{}, fault.Newf(fault.Invalid, "userIds must have 1 to %d entries", presence.MaxAsked)
	}
	users := make([]presence.UserID, len(ids))
	for i, id := range ids {
		if id == nil {
			return getArgs{}, fault.New(fault.Invalid, "userIds must be an array of strings")
		}
		var err error
		if users[i], err = presence.ParseUserID(*id); err != nil {
			return getArgs{}, fault.Newf(fault.Invalid, "userIds: %v", err)
		}
	}
	return getArgs{users: users}, nil
}

func parseRoom(raw json.RawMessage) (getArgs, error) {
	var room string
	if json.Unmarshal(raw, &room) != nil {
		return getArgs{}, fault.New(fault.Invalid, "roomId must be a string")
	}
	if !limits.ValidRoomID(room) {
		return getArgs{}, fault.Newf(fault.Invalid, "roomId must be 1 to %d printable characters", limits.RoomIDChars)
	}
	return getArgs{room: room}, nil
}
