package wire

import (
	"strconv"
	"strings"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
	"github.com/starling-chat/starling/platform/rawjson"
	"github.com/starling-chat/starling/proto/fault"
)

// RoomList reads nothing, or `{ after?, limit?, kinds? }`. Anything else is nothing, and so is an object without these fields.
func RoomList(args []byte) (page usecases.RoomsPage, err error) {
	elements, err := splitArgs(args)
	if err != nil || len(elements) == 0 || elements[0][0] != '{' {
		return page, err
	}
	o, _ := splitObject(elements[0])
	if page.Limit, err = o.limit(); err != nil {
		return page, err
	}
	after, given, err := o.string("after")
	if err != nil {
		return page, err
	}
	if given {
		if page.After, err = ParseRoomsCursor(after); err != nil {
			return page, err
		}
	}
	kinds, err := o.list("kinds")
	for _, kind := range kinds {
		if kind[0] != '"' {
			return page, fault.New(fault.Invalid, "kinds must be an array of strings")
		}
		page.Kinds = append(page.Kinds, access.Kind(unquote(kind)))
	}
	if page.Limit == 0 && (given || kinds != nil) {
		page.Limit = usecases.MaxRoomsPage
	}
	return page, err
}

// RoomsCursor gives a cursor as clients get it, "" for none: the microseconds since 1970 at which the room was active last, and the room's id.
func RoomsCursor(c usecases.RoomsCursor) string {
	if c == (usecases.RoomsCursor{}) {
		return ""
	}
	return strconv.FormatInt(c.Active.UnixMicro(), 10) + ":" + string(c.Room)
}

// ParseRoomsCursor is the way back from RoomsCursor, and takes no "".
func ParseRoomsCursor(s string) (c usecases.RoomsCursor, err error) {
	micros, room, _ := strings.Cut(s, ":")
	n, err := strconv.ParseUint(micros, 10, 53)
	if err == nil {
		c.Active = time.UnixMicro(int64(n))
		c.Room, err = chat.ParseRoomID(room)
	}
	if err != nil {
		return c, fault.New(fault.Invalid, "after must be the next of another page")
	}
	return c, nil
}

// RoomListAck is the ack of room:list.
func RoomListAck(l *usecases.RoomList) []byte {
	b := append(make([]byte, 0, 128+480*len(l.List)), `[{"ok":true,"rooms":[`...)
	for i := range l.List {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendSummary(b, &l.List[i])
	}
	b = strconv.AppendUint(append(b, `],"useq":`...), l.Useq, 10)
	if next := RoomsCursor(l.Next); next != "" {
		b = rawjson.AppendString(append(b, `,"next":`...), next)
	}
	return append(b, `}]`...)
}

func appendSummary(b []byte, r *usecases.RoomSummary) []byte {
	b = rawjson.AppendString(append(b, `{"roomId":`...), string(r.Room))
	b = rawjson.AppendString(append(b, `,"name":`...), r.Name)
	b = rawjson.AppendString(append(b, `,"kind":`...), string(r.Kind))
	b = rawjson.AppendString(append(b, `,"role":`...), string(r.Role))
	b = strconv.AppendUint(append(b, `,"seq":`...), r.Head, 10)
	b = appendMarker(appendUnread(b, r.Marker), r.Marker)
	b = appendPrefs(append(b, `,"prefs":`...), r.Prefs)
	b = append(b, `,"lastMessage":`...)
	if r.Last == nil {
		b = append(b, null...)
	} else {
		b = appendMessage(b, r.Last)
	}
	return append(b, '}')
}
