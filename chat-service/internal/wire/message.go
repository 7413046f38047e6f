package wire

import (
	"slices"
	"strconv"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/message"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
	"github.com/starling-chat/starling/platform/rawjson"
	"github.com/starling-chat/starling/proto/fault"
	"github.com/starling-chat/starling/proto/isotime"
)

// objectOfMessage reads the first argument, an object with a roomId and a messageId.
func objectOfMessage(args []byte) (o object, room chat.RoomID, id chat.MessageID, err error) {
	if o, room, err = objectOfRoom(args); err != nil {
		return o, "", id, err
	}
	raw, err := o.mustString("messageId")
	if err != nil {
		return o, "", id, err
	}
	id, err = chat.ParseMessageID(raw)
	return o, room, id, err
}

// extras reads `data?, format?, replyTo?, mentions?`; nil = none of them is there. Most messages have none, and cost nothing.
func (o object) extras() (*chat.Extras, error) {
	for _, f := range o {
		if rawjson.Is(f.key, "data") || rawjson.Is(f.key, "format") || rawjson.Is(f.key, "replyTo") || rawjson.Is(f.key, "mentions") {
			return o.readExtras()
		}
	}
	return nil, nil //nolint:nilnil // most messages have none
}

func (o object) readExtras() (*chat.Extras, error) {
	var x chat.Extras
	some := false
	if raw, given := o.get("data"); given {
		data, err := checkObject(raw, message.MaxDataDepth)
		if err != nil {
			return nil, err
		}
		x.Data, some = slices.Clone(data), true // the event's bytes are not kept
	}
	format, given, err := o.string("format")
	if err == nil && given {
		x.Format, err = message.ParseFormat(format)
		some = some || x.Format != message.Plain
	}
	if err != nil {
		return nil, err
	}
	if to, given, err := o.replyTo(); err != nil {
		return nil, err
	} else if given {
		x.ReplyTo, some = &chat.Reply{ID: to}, true
	}
	mentions, err := o.mentions()
	if err != nil {
		return nil, err
	}
	if mentions != nil && (mentions.Room || len(mentions.Users) > 0) {
		x.Mentioned, x.MentionsRoom, some = mentions.Users, mentions.Room, true
	}
	if !some {
		return nil, nil //nolint:nilnil // most messages have none
	}
	return &x, nil
}

// replyTo reads `replyTo`: a message's id, or an object with it.
func (o object) replyTo() (id chat.MessageID, given bool, err error) {
	raw, given := o.get("replyTo")
	if !given {
		return id, false, nil
	}
	if inner, isObject := splitObject(raw); isObject {
		if raw, given = inner.get("id"); !given {
			raw = []byte(null)
		}
	}
	if raw[0] != '"' {
		return id, true, fault.New(fault.Invalid, "replyTo must be a message's id")
	}
	if id, err = chat.ParseMessageID(unquote(raw)); err != nil {
		err = fault.New(fault.Invalid, "replyTo must be a message's id")
	}
	return id, true, err
}

// mentions reads `mentions: { users?, room? }`; nil = it is not there.
func (o object) mentions() (*rules.Mentions, error) {
	raw, given := o.get("mentions")
	if !given {
		return nil, nil //nolint:nilnil // see above
	}
	inner, isObject := splitObject(raw)
	if !isObject {
		return nil, fault.New(fault.Invalid, "mentions must be an object")
	}
	var m rules.Mentions
	switch room, _ := inner.get("room"); string(room) {
	case "true":
		m.Room = true
	case "false", null, "":
	default:
		return nil, fault.New(fault.Invalid, "mentions.room must be true or false")
	}
	list, err := inner.list("users")
	if err != nil {
		return nil, fault.New(fault.Invalid, "mentions.users must be an array")
	}
	for _, e := range list {
		if e[0] != '"' {
			return nil, fault.New(fault.Invalid, "mentions.users must be an array of strings")
		}
		user, err := chat.ParseUserID(unquote(e))
		if err != nil {
			return nil, fault.New(fault.Invalid, "mentions.users must be users' ids")
		}
		if !slices.Contains(m.Users, user) {
			m.Users = append(m.Users, user)
		}
		if len(m.Users) > message.MaxMentions {
			break // it is refused as too large
		}
	}
	return &m, nil
}

// place reads an optional sequence, or the id of the message that has it.
func (o object) place(name string) (*uint64, error) {
	raw, given := o.get(name)
	if !given || raw[0] != '"' {
		return o.sequence(name)
	}
	id, err := chat.ParseMessageID(unquote(raw))
	if err != nil {
		return nil, fault.Newf(fault.Invalid, "%s must be a message's id or a sequence", name)
	}
	return new(chat.SeqOf(id)), nil
}

// MessageEdit reads `{ roomId, messageId, content?, data?, mentions?, ifChanged? }`. What is absent stays; data and mentions of null go.
func MessageEdit(args []byte) (e rules.Edit, err error) {
	var o object
	if o, e.Room, e.Message, err = objectOfMessage(args); err != nil {
		return e, err
	}
	content, given, err := o.string("content")
	if err != nil {
		return e, err
	}
	if given {
		e.Content = &content
	}
	if o.has("data") {
		var data []byte
		if raw, given := o.get("data"); given {
			if data, err = checkObject(raw, message.MaxDataDepth); err != nil {
				return e, err
			}
		}
		e.Data = new(slices.Clone(data))
	}
	if e.Mentions, err = o.mentions(); err != nil {
		return e, err
	}
	if e.Mentions == nil && o.has("mentions") {
		e.Mentions = &rules.Mentions{}
	}
	version, err := o.sequence("ifChanged")
	if err == nil && version != nil {
		if e.IfChanged = *version; e.IfChanged == 0 {
			err = fault.New(fault.Invalid, "ifChanged must be a whole number from 1")
		}
	}
	return e, err
}

// MessageGet reads `{ roomId, messageIds }`.
func MessageGet(args []byte) (room chat.RoomID, ids []chat.MessageID, err error) {
	o, room, err := objectOfRoom(args)
	if err != nil {
		return "", nil, err
	}
	list, err := o.list("messageIds")
	if err != nil {
		return "", nil, err
	}
	if len(list) == 0 {
		return "", nil, fault.New(fault.Invalid, "messageIds must be an array of messages' ids")
	}
	for _, e := range list {
		if e[0] != '"' {
			return "", nil, fault.New(fault.Invalid, "messageIds must be an array of strings")
		}
		id, err := chat.ParseMessageID(unquote(e))
		if err != nil {
			return "", nil, fault.New(fault.Invalid, "messageIds must be messages' ids")
		}
		ids = append(ids, id)
	}
	return room, ids, nil
}

// MessageChanges reads `{ roomId, since, limit? }`.
func MessageChanges(args []byte) (room chat.RoomID, since uint64, limit int, err error) {
	o, room, err := objectOfRoom(args)
	if err != nil {
		return "", 0, 0, err
	}
	from, err := o.sequence("since")
	if err == nil && from == nil {
		err = fault.New(fault.Invalid, "since must be a whole number from 0")
	}
	if err != nil {
		return "", 0, 0, err
	}
	limit, err = o.limit()
	return room, *from, limit, err
}

// SeqAck is the ack of an event that changes a message.
func SeqAck(seq uint64) []byte {
	return append(strconv.AppendUint([]byte(`[{"ok":true,"seq":`), seq, 10), `}]`...)
}

// MessagesAck is the ack of message:get.
func MessagesAck(list []chat.Message, more bool) []byte {
	b := append(make([]byte, 0, sizeHint(list)), `[{"ok":true,"messages":`...)
	b = appendMessages(b, list)
	if more {
		b = append(b, `,"hasMore":true`...)
	}
	return append(b, `}]`...)
}

// ChangesAck is the ack of message:changes.
func ChangesAck(v usecases.ChangesView) []byte {
	b := append(make([]byte, 0, sizeHint(v.Messages)), `[{"ok":true,"messages":`...)
	b = appendMessages(b, v.Messages)
	b = strconv.AppendUint(append(b, `,"upTo":`...), v.UpTo, 10)
	b = strconv.AppendBool(append(b, `,"hasMore":`...), v.HasMore)
	return append(b, `}]`...)
}

// EditsAck is the ack of message:edits.
func EditsAck(list []usecases.FormerMessage) []byte {
	b := []byte(`[{"ok":true,"versions":[`)
	for i, f := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(append(b, `{"seq":`...), f.Version, 10)
		b = rawjson.AppendString(append(b, `,"content":`...), f.Content)
		if len(f.Data) > 0 {
			b = append(append(b, `,"data":`...), f.Data...)
		}
		b = append(appendTime(b, "at", f.At), '}')
	}
	return append(b, `]}]`...)
}

// editedArgs writes `[{ roomId, seq, message }]`.
func editedArgs(e chat.RoomEvent, m *chat.Message) []byte {
	b := append(make([]byte, 0, 512+len(m.Content)), `[{"roomId":`...)
	b = rawjson.AppendString(b, string(e.Room))
	b = strconv.AppendUint(append(b, `,"seq":`...), e.Seq, 10)
	return append(appendMessage(append(b, `,"message":`...), m), `}]`...)
}

// deletedMessageArgs writes `[{ roomId, seq, messageId, by, deletedAt }]`.
func deletedMessageArgs(e chat.RoomEvent, f chat.MessageDeleted) []byte {
	b := appendBy(appendOfMessage(nil, e, f.Message), f.By)
	return append(appendTime(b, "deletedAt", f.At), `}]`...)
}

func appendSender(b []byte, s chat.Sender) []byte {
	b = rawjson.AppendString(append(b, `{"id":`...), string(s.ID))
	return append(rawjson.AppendString(append(b, `,"name":`...), s.Name), '}')
}

// appendTime writes a time as a further member of an object.
func appendTime(b []byte, name string, t time.Time) []byte {
	b = append(append(append(b, `,"`...), name...), `":"`...)
	return append(isotime.Append(b, t), '"')
}

// appendExtras writes what a message has beside, as further members.
func appendExtras(b []byte, x *chat.Extras) []byte {
	if x.Format != message.Plain {
		b = rawjson.AppendString(append(b, `,"format":`...), x.Format)
	}
	if len(x.Data) > 0 {
		b = append(append(b, `,"data":`...), x.Data...)
	}
	if r := x.ReplyTo; r != nil {
		b = appendSender(append(appendUUID(append(b, `,"replyTo":{"id":"`...), r.ID), `","sender":`...), r.Sender)
		b = append(rawjson.AppendString(append(b, `,"preview":`...), r.Preview), '}')
	}
	if len(x.Mentioned) > 0 || x.MentionsRoom {
		b = append(b, `,"mentions":{"users":[`...)
		for i, user := range x.Mentioned {
			if i > 0 {
				b = append(b, ',')
			}
			b = rawjson.AppendString(b, string(user))
		}
		b = append(strconv.AppendBool(append(b, `],"room":`...), x.MentionsRoom), '}')
	}
	if len(x.Reactions) > 0 {
		b = appendReactions(append(b, `,"reactions":`...), x.Reactions, x.Mine)
	}
	if !x.PinnedAt.IsZero() {
		b = appendTime(b, "pinnedAt", x.PinnedAt)
	}
	if !x.EditedAt.IsZero() {
		b = appendTime(b, "editedAt", x.EditedAt)
	}
	if !x.DeletedAt.IsZero() {
		b = rawjson.AppendString(append(appendTime(b, "deletedAt", x.DeletedAt), `,"deletedBy":`...), string(x.DeletedBy))
	}
	return b
}
