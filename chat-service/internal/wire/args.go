package wire

import (
	"errors"
	"math"
	"strconv"

	"github.com/google/uuid"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/message"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
	"github.com/starling-chat/starling/platform/rawjson"
	"github.com/starling-chat/starling/proto/fault"
)

// The functions below read the arguments of one client event each. What is wrong is fault Invalid and names the
// field; unknown fields are ignored.

// MessageSend reads `{ roomId, content, type?, clientMsgId?, data?, format?, replyTo?, mentions? }`.
func MessageSend(args []byte) (usecases.Draft, error) {
	o, err := firstObject(args)
	if err != nil {
		return usecases.Draft{}, err
	}
	var d usecases.Draft
	if d.Room, err = o.room(); err != nil {
		return d, err
	}
	if d.Content, err = o.mustString("content"); err != nil {
		return d, err
	}
	if d.Type, _, err = o.string("type"); err != nil {
		return d, err
	}
	var given bool
	if d.ClientMsgID, given, err = o.string("clientMsgId"); err == nil && given && d.ClientMsgID == "" {
		err = fault.New(fault.Invalid, "clientMsgId must not be empty")
	}
	if err != nil {
		return d, err
	}
	d.Extras, err = o.extras()
	return d, err
}

// RoomOnly reads a room id given as a string, or inside `{ roomId }`.
func RoomOnly(args []byte) (chat.RoomID, error) {
	r, err := RoomJoin(args)
	return r.Room, err
}

// RoomJoin reads `roomId` or `{ roomId, since?, limit?, invite? }`.
func RoomJoin(args []byte) (usecases.JoinRequest, error) {
	var r usecases.JoinRequest
	elements, err := splitArgs(args)
	if err != nil {
		return r, err
	}
	if len(elements) == 0 {
		return r, fault.New(fault.Invalid, "roomId must be a string")
	}
	o, isObject := splitObject(elements[0])
	if !isObject {
		if elements[0][0] != '"' {
			return r, fault.New(fault.Invalid, "roomId must be a string")
		}
		r.Room, err = chat.ParseRoomID(unquote(elements[0]))
		return r, err
	}
	if r.Room, err = o.room(); err != nil {
		return r, err
	}
	if r.Since, err = o.sequence("since"); err != nil {
		return r, err
	}
	if r.Invite, _, err = o.string("invite"); err != nil {
		return r, err
	}
	r.Limit, err = o.limit()
	return r, err
}

// MessageRead reads `{ roomId, messageId }`.
func MessageRead(args []byte) (chat.RoomID, chat.MessageID, error) {
	_, room, id, err := objectOfMessage(args)
	return room, id, err
}

// Receipt reads `{ roomId, messageId }` or `{ roomId, seq }`.
func Receipt(args []byte) (r usecases.Receipt, err error) {
	o, room, err := objectOfRoom(args)
	if err != nil {
		return r, err
	}
	r.Room = room
	if _, named := o.get("messageId"); !named {
		seq, err := o.sequence("seq")
		if err == nil && seq != nil {
			r.Seq, r.BySeq = *seq, true
			return r, nil
		}
		if err != nil {
			return r, err
		}
	}
	_, _, r.Message, err = objectOfMessage(args)
	return r, err
}

// MarkUnread reads `{ roomId, seq }`.
func MarkUnread(args []byte) (room chat.RoomID, seq uint64, err error) {
	o, room, err := objectOfRoom(args)
	if err != nil {
		return "", 0, err
	}
	from, err := o.sequence("seq")
	if err == nil && from == nil {
		err = fault.New(fault.Invalid, "seq must be a whole number from 0")
	}
	if err != nil {
		return "", 0, err
	}
	return room, *from, nil
}

// MessageReaders reads `{ roomId, messageId?, after?, limit? }`.
func MessageReaders(args []byte) (chat.RoomID, usecases.ReadersPage, error) {
	var p usecases.ReadersPage
	o, room, err := objectOfRoom(args)
	if err != nil {
		return "", p, err
	}
	raw, given, err := o.string("messageId")
	if err != nil {
		return "", p, err
	}
	if given {
		id, err := chat.ParseMessageID(raw)
		if err != nil {
			return "", p, err
		}
		p.Message = &id
	}
	after, _, err := o.string("after")
	if err != nil {
		return "", p, err
	}
	p.After = chat.UserID(after)
	p.Limit, err = o.limit()
	return room, p, err
}

// MessageHistory reads `{ roomId, before?, after?, around?, limit? }`.
func MessageHistory(args []byte) (chat.RoomID, usecases.Page, error) {
	var p usecases.Page
	o, room, err := objectOfRoom(args)
	if err != nil {
		return "", p, err
	}
	if p.Before, err = o.sequence("before"); err != nil {
		return "", p, err
	}
	if p.After, err = o.sequence("after"); err != nil {
		return "", p, err
	}
	if p.Around, err = o.place("around"); err != nil {
		return "", p, err
	}
	p.Limit, err = o.limit()
	return room, p, err
}

// RoomMessage reads `{ roomId, …anything }` and writes what the room gets: the same with sender and timestamp (ms since
// the epoch) of ours.
func RoomMessage(args []byte, sender chat.UserID, timestamp int64) (chat.RoomID, []byte, error) {
	o, room, err := objectOfRoom(args)
	if err != nil {
		return "", nil, err
	}
	return room, signed(o, len(args), sender, timestamp), nil
}

// ChatMessage reads `{ id?, …anything }`; id is a new UUIDv7 in canonical form when the client gave none. The arguments
// for the others carry sender and timestamp. The id is returned as raw JSON.
func ChatMessage(args []byte, sender chat.UserID, timestamp int64) (id, forOthers []byte, err error) {
	o, err := firstObject(args)
	if err != nil {
		return nil, nil, err
	}
	id, given := o.get("id")
	if given {
		switch c := id[0]; {
		case c != '"' && c != '-' && (c < '0' || c > '9'):
			return nil, nil, fault.New(fault.Invalid, "id must be a string or a number")
		case len(id) > maxClientID:
			return nil, nil, fault.Newf(fault.Invalid, "id must have at most %d bytes", maxClientID)
		}
	} else {
		fresh, err := uuid.NewV7()
		if err != nil {
			return nil, nil, err
		}
		id = rawjson.AppendString(nil, fresh.String())
	}
	return id, signed(o, len(args), sender, timestamp), nil
}

// maxClientID bounds the raw id of chat:message, which is sent back.
const maxClientID = 512

// Anything checks arguments that are passed on as they are.
func Anything(args []byte) ([]byte, error) {
	elements, err := splitArgs(args)
	if err != nil {
		return nil, err
	}
	if len(elements) == 0 {
		return []byte("[]"), nil
	}
	return args, nil
}

// Data checks the data of a notification, which is kept and passed on as it is.
func Data(data []byte) ([]byte, error) {
	return checkObject(data, maxDataDepth)
}

// MessageData is Data for a message's.
func MessageData(data []byte) ([]byte, error) { return checkObject(data, message.MaxDataDepth) }

// checkObject checks that JSON is an object.
func checkObject(data []byte, depth int) ([]byte, error) {
	switch err := rawjson.Valid(data, depth); {
	case errors.Is(err, rawjson.ErrTooDeep):
		return nil, fault.New(fault.Invalid, "data is nested too deeply")
	case err != nil || data[rawjson.SkipSpace(data, 0)] != '{':
		return nil, fault.New(fault.Invalid, "data must be an object")
	}
	return data, nil
}

// maxDataDepth is what clients may nest in events.
const maxDataDepth = 32

// NotificationList reads `{ before?, limit? }`; no argument at all is fine.
func NotificationList(args []byte) (before *usecases.NotificationID, limit int, err error) {
	elements, err := splitArgs(args)
	if err != nil || len(elements) == 0 || string(elements[0]) == null {
		return nil, 0, err
	}
	o, isObject := splitObject(elements[0])
	if !isObject {
		return nil, 0, errNoObject()
	}
	raw, given, err := o.string("before")
	if err != nil {
		return nil, 0, err
	}
	if given {
		id, err := uuid.Parse(raw)
		if err != nil {
			return nil, 0, fault.New(fault.Invalid, "before must be a notification's id")
		}
		before = &id
	}
	limit, err = o.limit()
	return before, limit, err
}

// NotificationRead reads `{ ids }`.
func NotificationRead(args []byte) ([]usecases.NotificationID, error) {
	o, err := firstObject(args)
	if err != nil {
		return nil, err
	}
	raw, given := o.get("ids")
	if !given || raw[0] != '[' {
		return nil, fault.New(fault.Invalid, "ids must be an array of strings")
	}
	elements := split(raw)
	ids := make([]usecases.NotificationID, 0, len(elements))
	for _, e := range elements {
		if e[0] != '"' {
			return nil, fault.New(fault.Invalid, "ids must be an array of strings")
		}
		id, err := uuid.Parse(unquote(e))
		if err != nil {
			return nil, fault.New(fault.Invalid, "ids must be notifications' ids")
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// signed writes `[{ …o, sender, timestamp }]`.
func signed(o object, size int, sender chat.UserID, timestamp int64) []byte {
	override := make([]byte, 0, 64+len(sender))
	override = append(override, `"sender":`...)
	override = rawjson.AppendString(override, string(sender))
	override = append(override, `,"timestamp":`...)
	override = strconv.AppendInt(override, timestamp, 10)
	dst := append(make([]byte, 0, size+len(override)+8), '[')
	dst = o.splice(dst, func(key []byte) bool { return rawjson.Is(key, "sender") || rawjson.Is(key, "timestamp") }, override)
	return append(dst, ']')
}

// RequestKey reads `{ key? }`, which the first argument of an event that changes something may have; "" = it has none.
func RequestKey(args []byte) (string, error) {
	elements, err := splitArgs(args)
	if err != nil || len(elements) == 0 {
		return "", err
	}
	o, _ := splitObject(elements[0])
	key, given, err := o.string("key")
	if err != nil || !given {
		return "", err
	}
	return rules.ParseKey(key)
}

func errNoObject() error { return fault.New(fault.Invalid, "the argument must be an object") }

func firstObject(args []byte) (object, error) {
	elements, err := splitArgs(args)
	if err != nil {
		return nil, err
	}
	if len(elements) == 0 {
		return nil, errNoObject()
	}
	o, ok := splitObject(elements[0])
	if !ok {
		return nil, errNoObject()
	}
	return o, nil
}

// objectOfRoom reads the first argument, an object with a roomId.
func objectOfRoom(args []byte) (object, chat.RoomID, error) {
	o, err := firstObject(args)
	if err != nil {
		return nil, "", err
	}
	room, err := o.room()
	return o, room, err
}

func (o object) room() (chat.RoomID, error) {
	s, err := o.mustString("roomId")
	if err != nil {
		return "", err
	}
	return chat.ParseRoomID(s)
}

func (o object) string(name string) (s string, given bool, err error) {
	raw, given := o.get(name)
	if !given {
		return "", false, nil
	}
	if raw[0] != '"' {
		return "", true, fault.Newf(fault.Invalid, "%s must be a string", name)
	}
	return unquote(raw), true, nil
}

func (o object) mustString(name string) (string, error) {
	s, given, err := o.string(name)
	if err == nil && !given {
		err = fault.Newf(fault.Invalid, "%s must be a string", name)
	}
	return s, err
}

// sequence reads an optional whole number from 0.
func (o object) sequence(name string) (*uint64, error) {
	raw, given := o.get(name)
	if !given {
		return nil, nil
	}
	n, ok := rawjson.Whole(raw)
	if !ok {
		return nil, fault.Newf(fault.Invalid, "%s must be a whole number from 0", name)
	}
	return &n, nil
}

// limit reads an optional whole number from 1; 0 = not given.
func (o object) limit() (int, error) {
	raw, given := o.get("limit")
	if !given {
		return 0, nil
	}
	n, ok := rawjson.Whole(raw)
	if !ok || n < 1 {
		return 0, fault.New(fault.Invalid, "limit must be a whole number from 1")
	}
	return int(min(n, math.MaxInt32)), nil
}
