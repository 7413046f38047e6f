package wire

import (
	"strconv"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/platform/rawjson"
)

// The events of users' logs.
const (
	roomAdded   = "me:room-added"
	roomRemoved = "me:room-removed"
	logReset    = "me:reset"

	prefsChanged = "me:prefs"
	markerMoved  = "me:marker"
	mentioned    = "me:mention"
)

// appendUseq writes `[{"useq":…`.
func appendUseq(b []byte, useq uint64) []byte {
	return strconv.AppendUint(append(b, `[{"useq":`...), useq, 10)
}

// addedArgs writes `[{ useq, room, by? }]`.
func addedArgs(useq uint64, f *chat.RoomAdded) []byte {
	b := appendUseq(make([]byte, 0, 320+len(f.Room.Profile.Data)), useq)
	b = appendRoomInfo(append(b, `,"room":`...), &f.Room)
	return append(appendBy(b, f.By), `}]`...)
}

// removedArgs writes `[{ useq, roomId, reason }]`.
func removedArgs(useq uint64, f chat.RoomRemoved) []byte {
	b := appendUseq(make([]byte, 0, 80+len(f.Room)), useq)
	b = rawjson.AppendString(append(b, `,"roomId":`...), string(f.Room))
	return append(rawjson.AppendString(append(b, `,"reason":`...), f.Reason), `}]`...)
}

// prefsArgs writes `[{ useq, roomId, prefs }]`.
func prefsArgs(useq uint64, f chat.PrefsChanged) []byte {
	b := appendUseq(make([]byte, 0, 96+len(f.Room)), useq)
	b = rawjson.AppendString(append(b, `,"roomId":`...), string(f.Room))
	return append(appendPrefs(append(b, `,"prefs":`...), f.Prefs), `}]`...)
}

// mentionedArgs writes `[{ useq, roomId, message }]`.
func mentionedArgs(useq uint64, m *chat.Message) []byte {
	b := appendUseq(make([]byte, 0, 512+len(m.Content)), useq)
	b = rawjson.AppendString(append(b, `,"roomId":`...), string(m.Room))
	return append(appendMessage(append(b, `,"message":`...), m), `}]`...)
}

// markerArgs writes `[{ useq, roomId, seq, n, unread, mentions, at }]`.
func markerArgs(useq uint64, f chat.MarkerMoved) []byte {
	b := appendUseq(make([]byte, 0, 128+len(f.Room)), useq)
	b = rawjson.AppendString(append(b, `,"roomId":`...), string(f.Room))
	b = strconv.AppendUint(append(b, `,"seq":`...), f.Marker.Seq, 10)
	b = strconv.AppendUint(append(b, `,"n":`...), f.Marker.N, 10)
	b = appendUnread(b, f.Marker)
	return append(strconv.AppendUint(append(b, `,"at":`...), f.At, 10), `}]`...)
}

// MarkerAck is the ack of message:read and room:mark-unread.
func MarkerAck(m chat.Marker) []byte {
	return append(appendUnread(appendMarker([]byte(`[{"ok":true`), m), m), `}]`...)
}

// appendMarker writes a marker as a further member.
func appendMarker(b []byte, m chat.Marker) []byte {
	b = strconv.AppendUint(append(b, `,"marker":{"seq":`...), m.Seq, 10)
	return append(strconv.AppendUint(append(b, `,"n":`...), m.N, 10), '}')
}

// appendUnread writes how much is unread, and mentions the user, as further members.
func appendUnread(b []byte, m chat.Marker) []byte {
	b = strconv.AppendUint(append(b, `,"unread":`...), m.Unread, 10)
	return strconv.AppendInt(append(b, `,"mentions":`...), int64(m.Mentions), 10)
}

func appendPrefs(b []byte, p chat.Prefs) []byte {
	b = strconv.AppendBool(append(b, `{"muted":`...), p.Muted)
	b = strconv.AppendBool(append(b, `,"hidden":`...), p.Hidden)
	return append(strconv.AppendBool(append(b, `,"pinned":`...), p.Pinned), '}')
}
